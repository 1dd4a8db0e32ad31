"""The queue of requests that wait for a thread: each client in its turn.

A client that sends many requests at once has at most its part of the threads, and waits behind its own
requests, not others behind them.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any


class _Job:
    """A queued request; it leaves its place among the client's running ones once."""

    def __init__(self, task: Any, client: Hashable, queue: FairQueue) -> None:  # noqa: ANN401 - waitress has no types
        self._task = task
        self._queue = queue
        self.client = client
        self._left = False

    def service(self) -> None:
        """Answer the request; called by one of waitress's threads."""
        self._queue.running.job = self
        try:
            self._task.service()
        finally:
            self._queue.running.job = None
            self.leave()

    def leave(self) -> None:
        """Count no more as running: another request of this client may begin."""
        if not self._left:
            self._left = True
            self._queue.left(self.client)

    def cancel(self) -> None:
        """Close the connection unanswered."""
        self._task.cancel()


class FairQueue:
    """Takes the place of a dispatcher's deque; all but `leave_early` and `left` are called under its lock.

    Its length is the number of requests that may begin now: those of clients with fewer than ``most``
    running. ``changed`` is the dispatcher's condition.
    """

    def __init__(
        self,
        most: int,
        *,
        client_of: Callable[[Any], Hashable],
        changed: threading.Condition,
    ) -> None:
        self._most = most
        self._client_of = client_of
        self._changed = changed
        self._waiting: OrderedDict[Hashable, deque[_Job]] = OrderedDict()
        self._running = Counter[Hashable]()
        self._ready = 0
        self.running = threading.local()

    def __len__(self) -> int:
        """Return how many requests may begin."""
        return self._ready

    def append(self, task: Any) -> None:  # noqa: ANN401 - waitress has no types
        """Queue a request."""
        client = self._client_of(task)
        jobs = self._waiting.setdefault(client, deque())
        jobs.append(_Job(task, client, self))
        if len(jobs) <= self._most - self._running[client]:
            self._ready += 1

    def popleft(self) -> _Job:
        """Return the first request of the client whose turn it is; there is one."""
        client = next(each for each in self._waiting if self._running[each] < self._most)
        jobs = self._waiting.pop(client)
        job = jobs.popleft()
        if jobs:
            self._waiting[client] = jobs  # last in the round
        self._running[client] += 1
        self._ready -= 1
        return job

    def client(self) -> Hashable:
        """Return whose request the calling thread answers, None where that did not come from here."""
        job: _Job | None = getattr(self.running, "job", None)
        return None if job is None else job.client

    def leave_early(self) -> None:
        """Let the calling thread's request count no more: it only waits for its client to read."""
        job: _Job | None = getattr(self.running, "job", None)
        if job is not None:
            job.leave()

    def left(self, client: Hashable) -> None:
        """Note that one of a client's requests does not run any more."""
        with self._changed:
            self._running[client] -= 1
            waiting = self._waiting.get(client, ())
            if len(waiting) > self._most - self._running[client] - 1:
                self._ready += 1
                self._changed.notify()
            if not self._running[client]:
                del self._running[client]
