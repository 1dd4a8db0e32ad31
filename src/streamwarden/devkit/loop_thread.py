"""An event loop on a thread of its own, for servers that tests and the demo start and stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_CALL_S = 5.0


class LoopThread:
    """One event loop, from construction to ``end``. Its methods are for other threads."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name=name)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T], timeout_s: float = _CALL_S) -> _T:
        """Run ``work`` on the loop and return its result; raise TimeoutError when it takes too long."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def end(self) -> None:
        """Cancel what still runs and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    # One more turn, in which the transports that were closed last close their sockets.
    loop.run_until_complete(asyncio.sleep(0))
