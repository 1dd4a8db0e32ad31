"""Reconcile loops: threads that compare the actual state with the desired one, and correct it.

They are level-triggered: what one pass has missed or could not correct is found by the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from streamwarden.errors import Unavailable, in_full

log = structlog.get_logger(__name__)

_RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 5.0)

_IDLE_RATIO: Final = 20
"""After a slow pass the pause is this many times as long: a loop is busy at most 5 % of the time."""


def retry_delay_s(failures: int) -> float:
    """Return the delay before the next attempt; ``failures`` is the number of failures before this one."""
    return _RETRY_DELAYS_S[min(failures, len(_RETRY_DELAYS_S) - 1)]


def pause_s(usual_s: float, *, took_s: float) -> float:
    """Return the pause after a pass that took ``took_s``: ``usual_s``, or longer after a slow one."""
    return max(usual_s, _IDLE_RATIO * took_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopEvents:
    """Log events of one loop: unavailable, available again, crashed."""

    failed: str
    recovered: str
    bug: str


class ReconcileLoop:
    """Calls ``reconcile`` repeatedly on its own thread; the return value is the pause in seconds.

    When ``reconcile`` raises Unavailable, ``on_failure`` is called and the next attempt follows after
    `retry_delay_s`. Only the first of several failures in a row is logged.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[], float],
        *,
        events: LoopEvents,
        on_failure: Callable[[], None],
        stops_within_s: float,
    ) -> None:
        self._reconcile = reconcile
        self._events = events
        self._on_failure = on_failure
        self._stops_within_s = stops_within_s
        self._failures = 0
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. After ``stops_within_s`` it is left to the timeouts of the call it waits for."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(self._stops_within_s)

    def wake(self) -> None:
        """Reconcile now, or once more after a pass that is under way. Any thread; returns at once."""
        self._woken.set()

    def attempt(self) -> float:
        """Reconcile once; return the pause until the next time."""
        try:
            delay_s = self._reconcile()
        except Unavailable as error:
            return self._failed(error)
        except Exception:  # edge of a thread: the next pass may succeed
            log.exception(self._events.bug)
            return _RETRY_DELAYS_S[-1]
        if self._failures:
            log.info(self._events.recovered, failures=self._failures)
        self._failures = 0
        return delay_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(self.attempt())
            self._woken.clear()  # a wake before this line is served by the pass that follows

    def _failed(self, error: Unavailable) -> float:
        self._on_failure()
        if self._failures == 0:
            log.warning(self._events.failed, why=error.code, detail=in_full(error))
        delay_s = retry_delay_s(self._failures)
        self._failures += 1
        return delay_s
