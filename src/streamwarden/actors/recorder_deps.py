"""What a recorder is given: what to record, and what to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import RunInbox
from streamwarden.actors.ports import CameraArchive, CameraRuns, RecordingInstruments
from streamwarden.actors.spawning import Spawning
from streamwarden.actors.status import Shown
from streamwarden.clock import Clock
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor, WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderDeps:
    """What one recorder works with."""

    archive: CameraArchive
    adopt: Callable[[UUID, RunInbox], CameraRuns]
    spawning: Spawning
    shown: Shown
    disk: SerialExecutor
    callers: WorkerPool
    timers: Timers
    clock: Clock
    instruments: RecordingInstruments
    meter: GapMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a stream was asked for: with which URL, in which request, and when (monotonic)."""

    url: str | None = field(default=None, repr=False)
    request_id: str | None = None
    wished_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSpec:
    """What one recorder is to record.

    Every second from ``wanted_at`` on counts. ``wished_s`` is when a user asked (monotonic), for the
    time to the first segment; None for later incarnations. ``restarts`` is how many of those were
    needed.
    """

    camera_id: UUID
    segment_seconds: int
    wanted_at: datetime
    url: str | None = field(default=None, repr=False)
    request_id: str | None = None
    wished_s: float | None = None
    restarts: int = 0
