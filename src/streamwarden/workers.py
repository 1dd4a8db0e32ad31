"""A small pool of threads for what must wait: disk, tokens, SQL.

What this process may use of the machine.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog

from streamwarden.actors.ports import Workers

log = structlog.get_logger(__name__)


T = TypeVar("T")


class WorkerPool:
    """Runs blocking work and answers by callback.

    The threads are few; the queue is bounded by its users, each of whom has a bounded number of
    pieces under way: a recorder one token, one folder, and the segments listed and not yet stored.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def run(self, work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
        """Call ``work`` in a worker thread, then ``reply`` with its result or its exception."""
        self._executor.submit(_carry_out, work, reply)

    def close(self) -> None:
        """Finish what is queued, and end the threads."""
        self._executor.shutdown(wait=True)


class InOrder:
    """One camera's work on a shared pool, one piece after the other. Any thread."""

    def __init__(self, pool: Workers) -> None:
        self._pool = pool
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
        """Call ``work`` when all that was given before is done, then ``reply``."""
        with self._lock:
            self._queue.append(partial(_carry_out, work, reply))
            if self._busy:
                return
            self._busy = True
        self._next()

    def _next(self) -> None:
        with self._lock:
            if not self._queue:
                self._busy = False
                return
            piece = self._queue.popleft()
        self._pool.run(piece, lambda _: self._next())


def _carry_out(work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
    result: T | Exception
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - the answer tells the asker, who decides
        result = error
    try:
        reply(result)
    except Exception:
        log.exception("reply_failed")


def cores() -> int:
    """Return how many cores this process may run on."""
    return max(1, len(os.sched_getaffinity(0)))
