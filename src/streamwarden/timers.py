"""Timers: one thread that calls functions when they are due.

Actors must not sleep; they set a timer. Its callback runs on the timers' thread, so it only puts a
message into an inbox.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

SWEEP_ABOVE: Final = 64
"""Cancelled timers stay in the heap until due. Above this number they are removed once a majority."""


class Timer:
    """A pending call. ``cancel`` is final unless the callback is already running."""

    __slots__ = ("_callback", "_on_cancel")

    def __init__(self, callback: Callable[[], None], on_cancel: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback
        self._on_cancel = on_cancel

    @property
    def pending(self) -> bool:
        """Whether the callback has been neither called nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Drop the callback. No effect if it has been called or cancelled."""
        if self._callback is not None:
            self._callback = None
            self._on_cancel()

    def fire(self) -> None:
        """Call the callback, at most once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """A heap of timers and the thread that fires them; an exception in a callback is logged."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._cancelled = 0
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` on the timers' thread after ``delay_s`` seconds."""
        timer = Timer(callback, self._count_cancelled)
        entry = (time.monotonic() + max(0.0, delay_s), next(self._order), timer)
        with self._changed:
            if self._closed:
                timer.cancel()
                return timer
            heapq.heappush(self._heap, entry)
            if self._heap[0] is entry:
                self._changed.notify()
        return timer

    def close(self) -> None:
        """Drop all timers and end the thread."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _count_cancelled(self) -> None:
        # A recorder cancels nearly every timer it sets. Without this, cancelled long timers would stay in
        # the heap until they are due.
        with self._changed:
            self._cancelled += 1
            if self._cancelled > SWEEP_ABOVE and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].pending]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def _run(self) -> None:
        while (timer := self._next_due()) is not None:
            try:
                timer.fire()
            except BaseException:  # on SystemExit the thread would end, and with it every timer
                log.exception("timer_failed")

    def _next_due(self) -> Timer | None:
        with self._changed:
            while not self._closed:
                if not self._heap:
                    self._changed.wait()
                    continue
                wait_s = self._heap[0][0] - time.monotonic()
                if wait_s <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))
        return None
