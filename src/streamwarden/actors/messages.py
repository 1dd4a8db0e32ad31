"""What the actors of the streaming role tell each other, and what the world may ask of them.

Imperatives ask (``StartStream``), past participles report (``SegmentListed``). Every report names the
run it speaks of; a report about a run that is no longer the actor's own is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class RecorderState(StrEnum):
    """What a recorder is doing, judged by its own output."""

    STARTING = "starting"
    """A run has been asked for and has not yet written media."""
    RUNNING = "running"
    """The open segment's file is growing."""
    STALLED = "stalled"
    """The run lives and its file no longer grows; it is being killed."""
    BACKOFF = "backoff"
    """No run; the next one follows after a pause."""
    STOPPING = "stopping"
    """Asked to stop; the last segment is being finished."""
    STOPPED = "stopped"
    """Nothing is wanted."""
    PARKED = "parked"
    """The actor has crashed too often; tried again once an hour, or by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """Why the last run ended, or why none could start."""

    cause: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSegment:
    """The newest segment on disk."""

    started_at: datetime
    ended_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One camera's recording as the HTTP contract shows it.

    ``run`` counts the camera's FFmpeg lives from 1 (0: none yet), ``respawns`` those that followed a
    loss. ``segment_seconds`` is None where nothing was ever wanted.
    """

    camera_id: UUID
    status: RecorderState
    since: datetime
    run: int = 0
    respawns: int = 0
    segment_seconds: int | None = None
    last_error: LastError | None = None
    next_retry_at: datetime | None = None
    last_segment: LastSegment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStream:
    """Record this camera from now on. Harmless when repeated: a new URL is kept for the next spawn.

    ``rtsp_url`` holds a short-lived read token, so it stays out of the repr.
    """

    camera_id: UUID
    owner: str
    rtsp_url: str | None
    segment_seconds: int
    request_id: str | None = None

    def __repr__(self) -> str:
        return f"StartStream(camera_id={self.camera_id}, segment_seconds={self.segment_seconds})"
