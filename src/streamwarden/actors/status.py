"""Recorders' status: the one place where a state changes, and a registry that HTTP reads.

Reading asks no actor: the registry holds the last known status of every camera.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

import structlog

from streamwarden.actors.messages import LastError, RecorderState, StreamStatus
from streamwarden.clock import Clock
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause, LastSegment


class StatusRegistry:
    """Last known status of each camera. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._holders: dict[UUID, RecorderStatus] = {}
        self._statuses: dict[UUID, StreamStatus] = {}
        self._lock = threading.Lock()
        self._since = clock.now()

    def take_over(self, camera_id: UUID, holder: RecorderStatus) -> StreamStatus:
        """Let only ``holder`` write the camera's status from now on; return the present one."""
        with self._lock:
            self._holders[camera_id] = holder
        return self.get(camera_id)

    def put(self, holder: RecorderStatus, status: StreamStatus) -> None:
        """Replace the status, unless a later incarnation has taken over the camera."""
        with self._lock:
            if self._holders.get(status.camera_id) is holder:
                self._statuses[status.camera_id] = status

    def get(self, camera_id: UUID) -> StreamStatus:
        """Return the camera's status; ``stopped`` where nothing was ever wanted."""
        status = self._statuses.get(camera_id)
        if status is not None:
            return status
        return StreamStatus(camera_id=camera_id, status=RecorderState.STOPPED, since=self._since)

    def all(self) -> list[StreamStatus]:
        """Return every status, by camera id."""
        with self._lock:
            statuses = list(self._statuses.values())
        return sorted(statuses, key=lambda status: status.camera_id)

    def remove(self, camera_id: UUID) -> None:
        """Forget a camera that no longer exists."""
        with self._lock:
            self._holders.pop(camera_id, None)
            self._statuses.pop(camera_id, None)


class Changes(TypedDict, total=False):
    """Fields of the status that change along with, or without, the state."""

    run: int
    respawns: int
    respawn_causes: Mapping[Cause, int]
    restarts: int
    segment_seconds: int
    next_retry_at: datetime | None
    last_segment: LastSegment
    last_error: LastError | None


class RecorderStatus:
    """Status of one recorder incarnation: published, logged once and counted once per change of state.

    ``request_id`` names the request that asked for the recording, in every line of the log.
    """

    def __init__(
        self,
        *,
        camera_id: UUID,
        registry: StatusRegistry,
        metrics: RecordingMetrics,
        clock: Clock,
        request_id: str | None = None,
    ) -> None:
        self._camera = str(camera_id)
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._log = structlog.get_logger(__name__).bind(camera=self._camera, request_id=request_id)
        self._entered: RecorderState | None = None
        self.shown: StreamStatus = registry.take_over(camera_id, self)

    def enter(self, state: RecorderState, **changes: Unpack[Changes]) -> None:
        """Go to ``state``."""
        before = self.shown.status
        self.shown = replace(self.shown, status=state, **changes)
        if state is not self._entered:
            self._entered = state
            self.shown = replace(self.shown, since=self._clock.now())
            self._metrics.state(self._camera, state)
            self._log.info("recorder_state", state=state, before=before, run=self.shown.run)
        self._registry.put(self, self.shown)

    def update(self, **changes: Unpack[Changes]) -> None:
        """Change the status without changing the state."""
        self.shown = replace(self.shown, **changes)
        self._registry.put(self, self.shown)

    def respawned(self, cause: Cause) -> None:
        """Count an FFmpeg that follows one lost to ``cause``."""
        causes = self.shown.respawn_causes
        self._metrics.respawned(self._camera, cause)
        self.update(
            respawns=self.shown.respawns + 1,
            respawn_causes={**causes, cause: causes.get(cause, 0) + 1},
        )

    def over(self, *causes: Cause) -> None:
        """Publish that what a run reported for one of ``causes`` is over: the same run records."""
        shown = self.shown.last_error
        if shown is not None and shown.cause in causes:
            self.update(last_error=None)

    def error(self, cause: Cause, message: str) -> None:
        """Publish and log a failure."""
        error = LastError(cause=cause, message=message, at=self._clock.now())
        self._log.warning("recorder_error", cause=cause, detail=message, run=self.shown.run)
        self.update(last_error=error)
