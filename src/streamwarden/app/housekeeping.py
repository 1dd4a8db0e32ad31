"""What the streaming role notes every few seconds: that it is alive, and what is free on its disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog

from streamwarden.actors.workers import WorkerPool
from streamwarden.clock import Clock
from streamwarden.media.record_root import RecordRoot
from streamwarden.metrics.recording import RecordingMetrics
from streamwarden.storage.journal import Journal
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0


class Housekeeping:
    """Works in the disk's pool; one piece at a time, the next ``EVERY_S`` after the last."""

    def __init__(
        self,
        *,
        root: RecordRoot,
        metrics: RecordingMetrics,
        disk: WorkerPool,
        timers: Timers,
    ) -> None:
        self._root = root
        self._metrics = metrics
        self._disk = disk
        self._timers = timers
        self._due()

    def _due(self) -> None:
        self._disk.run(self._work, self._done)

    def _work(self) -> None:
        self._root.heartbeat()
        self._metrics.free_bytes(free_bytes(self._root.path))

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            log.warning("housekeeping_failed", error=str(result))
        self._timers.after(EVERY_S, self._due)


def index_waiting(journal: Journal, clock: Clock) -> tuple[int, float]:
    """Return how many rows wait for the index, and the age of the oldest in seconds, 0 for none."""
    since = journal.waiting_since()
    lag_s = (clock.now() - since).total_seconds() if since else 0.0
    return journal.waiting, max(0.0, lag_s)


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write under ``folder``."""
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize
