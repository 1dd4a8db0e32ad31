"""Thread pools for blocking work: disk, HTTP calls, SQL. Results come by callback."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog

log = structlog.get_logger(__name__)


T = TypeVar("T")


class WorkerPool:
    """A pool of a few threads.

    Its queue has no limit of its own; its callers limit what they queue. A recorder queues at most one
    token call, one folder, and the segments that are closed and not stored yet.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def run(self, work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
        """Call ``work`` in a worker thread, then ``reply`` with its result or its exception."""
        self._executor.submit(_carry_out, work, reply)

    def close(self) -> None:
        """Finish the queued work, and end the threads."""
        self._executor.shutdown(wait=True)


class SerialExecutor:
    """Runs work on a shared pool one piece at a time, in the order given. Thread-safe."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
        """Call ``work`` after all earlier work, then ``reply`` with its result or its exception."""
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
    except Exception as error:  # noqa: BLE001 - the caller gets it as its answer
        result = error
    try:
        reply(result)
    except Exception:
        log.exception("reply_failed")


def cores() -> int:
    """Return the number of cores this process may run on."""
    return max(1, len(os.sched_getaffinity(0)))
