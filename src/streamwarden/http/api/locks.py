"""One change of a camera's stream at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from streamwarden.errors import Unavailable

_STRIPES = 256


class StreamLocks:
    """A lock a camera, from a fixed number: two cameras that share one only wait for each other.

    ``put_back`` restores what its own caller has seen, so two callers must not overlap.
    """

    def __init__(self, wait_s: float = 2.0) -> None:
        self._wait_s = wait_s
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    @contextmanager
    def changing(self, camera_id: UUID) -> Iterator[None]:
        """Hold the camera's lock; raise Unavailable if another change takes long."""
        lock = self._locks[camera_id.int % _STRIPES]
        if not lock.acquire(timeout=self._wait_s):
            raise Unavailable("another change of this stream is still going on", retry_after_s=2)
        try:
            yield
        finally:
            lock.release()
