"""A thread that sweeps: it looks at what is, not at what happened, and mends what is not as it should be.

So whatever one sweep has missed or could not mend, the next one finds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from streamwarden.errors import Unavailable

log = structlog.get_logger(__name__)


_AGAIN_S: Final = (0.5, 1.0, 2.0, 5.0)


_SHARE: Final = 20
"""Looking at very many things takes no more than this part of the time."""


def again_s(failures: int) -> float:
    """Return how long to wait after a failure that so many others have come right before."""
    return _AGAIN_S[min(failures, len(_AGAIN_S) - 1)]


def rest_s(usual_s: float, *, looked_s: float) -> float:
    """Return how long to rest after ``looked_s`` of looking: as usual, or longer if that took long."""
    return max(usual_s, _SHARE * looked_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What the log calls a sweep that somebody did not answer, the end of that, and a bug in one."""

    failed: str
    recovered: str
    bug: str


class SweepThread:
    """Calls ``sweep`` again and again; that returns how long to wait until the next time.

    ``sweep`` may raise Unavailable: this is logged once until it has succeeded again, counted with
    ``on_failure``, and tried again after `again_s`. It runs on this thread alone.
    """

    def __init__(
        self,
        name: str,
        sweep: Callable[[], float],
        *,
        events: Events,
        on_failure: Callable[[], None],
        stops_within_s: float,
    ) -> None:
        self._sweep = sweep
        self._events = events
        self._on_failure = on_failure
        self._stops_within_s = stops_within_s
        self._failures = 0
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that is still waiting for an answer is left to its own timeouts."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(self._stops_within_s)

    def wake(self) -> None:
        """Sweep now, once more if a sweep is under way. Any thread; returns at once."""
        self._woken.set()

    def attempt(self) -> float:
        """Sweep once; return how long to wait until the next time."""
        try:
            pause_s = self._sweep()
        except Unavailable as error:
            return self._failed(error)
        except Exception:  # edge of a thread: the next sweep may succeed
            log.exception(self._events.bug)
            return _AGAIN_S[-1]
        if self._failures:
            log.info(self._events.recovered, failures=self._failures)
        self._failures = 0
        return pause_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(self.attempt())
            self._woken.clear()  # whoever wakes us in between is heard by the sweep that follows

    def _failed(self, error: Unavailable) -> float:
        self._on_failure()
        if self._failures == 0:
            log.warning(self._events.failed, why=error.code, detail=str(error))
        pause_s = again_s(self._failures)
        self._failures += 1
        return pause_s
