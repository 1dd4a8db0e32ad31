"""A thread around one selector that goes on whatever happens to one of its many charges."""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import IO, Protocol

import structlog

log = structlog.get_logger(__name__)

Source = IO[bytes] | int


class Charge(Protocol):
    """What the thread looks after."""

    def wait_s(self) -> float | None:
        """Return how long nothing is due; None when only an event can bring work."""

    def turn(self) -> None:
        """Do what is due; called after each wait."""

    def over(self) -> bool:
        """Return whether the thread may end."""


class WatchLoop:
    """Runs reactions, commands and turns in its own thread, one after the other.

    ``enqueue`` and ``join`` are for any thread, the rest for its own alone.
    """

    def __init__(self, name: str) -> None:
        self._commands: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._ended = False
        # Its number may belong to somebody else's file once the eventfd is closed.
        self._wake_lock = threading.Lock()
        self._name = name
        self._thread: threading.Thread | None = None

    def start(self, charge: Charge) -> None:
        """Begin."""
        self._thread = threading.Thread(
            target=self._run, args=(charge,), name=self._name, daemon=True
        )
        self._thread.start()

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the thread; after the thread's end it is dropped."""
        with self._wake_lock:
            if not self._ended:
                self._commands.append(command)
                os.eventfd_write(self._wake, 1)

    def join(self, deadline_s: float) -> None:
        """Wait for the thread's end, at most so long."""
        if self._thread is not None:
            self._thread.join(deadline_s)

    def register(self, source: Source, react: Callable[[], None]) -> None:
        """Call ``react`` whenever ``source`` can be read."""
        self._selector.register(source, selectors.EVENT_READ, react)

    def unregister(self, source: Source) -> None:
        """Call nobody any more. Harmless when repeated."""
        closed = not isinstance(source, int) and source.closed
        if not closed and source in self._selector.get_map():
            self._selector.unregister(source)

    def guarded(self, step: Callable[[], None]) -> None:
        """Run ``step``; its failure is logged, and everything else goes on."""
        try:
            step()
        except Exception:
            log.exception("watch_step_failed", thread=self._name)

    def _run(self, charge: Charge) -> None:
        while not charge.over():
            self.guarded(partial(self._react, charge))
            self.guarded(charge.turn)
        with self._wake_lock:
            self._ended = True
            self._selector.close()
            os.close(self._wake)

    def _react(self, charge: Charge) -> None:
        for key, _ in self._selector.select(charge.wait_s()):
            self.guarded(key.data)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        while self._commands:
            self.guarded(self._commands.popleft())
