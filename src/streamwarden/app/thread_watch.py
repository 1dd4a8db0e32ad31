"""The watch over the threads on which everything depends: whether they still answer.

It asks each for an answer every few seconds, through the queue that its work comes from. A thread that
hangs in a call, or has ended, does not answer. The figure that the metrics show is read at the scrape, so
it grows also if this thread itself has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

import structlog

from streamwarden.errors import Unavailable

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
STUCK_S: Final = 15.0
"""A loaded machine delays an answer by seconds; a stall of a camera is judged after eight."""

Ask = Callable[[Callable[[], None]], object]
"""Has a thread call a function, as soon as it comes to it."""


@dataclass(slots=True)
class Watched:
    """One thread: when the question that it has not answered was asked, and when the last answer came."""

    ask: Ask
    answered_s: float
    asked_s: float | None = None
    stuck: bool = False

    def silent_s(self, now: float) -> float:
        """Return for how long an answer has been owed."""
        return max(0.0, now - (self.answered_s if self.asked_s is None else self.asked_s))


class ThreadWatch:
    """Asks the threads, by name, and says which are stuck. ``start`` and ``stop`` once."""

    def __init__(self, threads: Mapping[str, Ask], *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._threads = {name: Watched(ask, now()) for name, ask in threads.items()}
        self._beat_s = now()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="thread-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def silences(self) -> dict[str, Callable[[], float]]:
        """Return, for each thread, a function that returns for how many seconds it has not answered."""
        return {name: partial(self._silent_s, watched) for name, watched in self._threads.items()}

    def check(self) -> None:
        """Raise Unavailable if a thread is stuck."""
        now = self._now()
        stuck = [name for name, one in self._threads.items() if one.silent_s(now) >= STUCK_S]
        if stuck:
            raise Unavailable(f"no answer from {', '.join(sorted(stuck))}")

    def beat(self) -> None:
        """Judge every thread, and ask those anew that have answered."""
        now = self._now()
        # A program that was stopped has not been silent.
        late_s = max(0.0, now - self._beat_s - 2 * EVERY_S)
        self._beat_s = now
        for name, watched in self._threads.items():
            watched.answered_s += late_s
            if watched.asked_s is not None:
                watched.asked_s += late_s
                self._judge(name, watched, watched.silent_s(now))
                continue
            if watched.stuck:
                watched.stuck = False
                log.info("thread_answers_again", thread=name)
            watched.asked_s = now
            watched.ask(partial(self._answered, watched))

    def _silent_s(self, watched: Watched) -> float:
        return watched.silent_s(self._now())

    def _answered(self, watched: Watched) -> None:
        watched.answered_s, watched.asked_s = self._now(), None

    def _judge(self, name: str, watched: Watched, silent_s: float) -> None:
        if silent_s >= STUCK_S and not watched.stuck:
            watched.stuck = True
            log.error("thread_stuck", thread=name, seconds=round(silent_s, 1))

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self.beat()
            except Exception:
                log.exception("thread_watch_failed")
