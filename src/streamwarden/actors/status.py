"""A recorder's status: the one place where its state changes.

The last known status of every camera: what HTTP reads instead of asking actors.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

import structlog

from streamwarden.actors.messages import LastError, LastSegment, RecorderState, StreamStatus
from streamwarden.actors.ports import RecordingInstruments
from streamwarden.clock import Clock
from streamwarden.model import Cause


class BoardEntry:
    """One camera's place on the board, held by the newest incarnation of its recorder."""

    def __init__(self, board: StatusBoard, camera_id: UUID) -> None:
        self._board = board
        self._camera_id = camera_id

    def put(self, status: StreamStatus) -> None:
        """Show ``status``, unless a later incarnation holds the entry."""
        self._board.put(self, status)

    def last(self) -> StreamStatus:
        """Return what is shown now."""
        return self._board.get(self._camera_id)


class StatusBoard:
    """A snapshot, one entry a camera. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._holders: dict[UUID, BoardEntry] = {}
        self._shown: dict[UUID, StreamStatus] = {}
        self._lock = threading.Lock()
        self._since = clock.now()

    def take_over(self, camera_id: UUID) -> BoardEntry:
        """Return the camera's entry; whoever held it before can no longer write."""
        entry = BoardEntry(self, camera_id)
        with self._lock:
            self._holders[camera_id] = entry
        return entry

    def put(self, holder: BoardEntry, status: StreamStatus) -> None:
        """Show ``status`` if ``holder`` still holds the camera's entry."""
        with self._lock:
            if self._holders.get(status.camera_id) is holder:
                self._shown[status.camera_id] = status

    def get(self, camera_id: UUID) -> StreamStatus:
        """Return the camera's status; ``stopped`` where nothing was ever wanted."""
        shown = self._shown.get(camera_id)
        if shown is not None:
            return shown
        return StreamStatus(camera_id=camera_id, status=RecorderState.STOPPED, since=self._since)

    def all(self) -> list[StreamStatus]:
        """Return every status that there is, by camera id."""
        with self._lock:
            shown = list(self._shown.values())
        return sorted(shown, key=lambda status: status.camera_id)

    def remove(self, camera_id: UUID) -> None:
        """Forget a camera that no longer exists."""
        with self._lock:
            self._holders.pop(camera_id, None)
            self._shown.pop(camera_id, None)


class Changes(TypedDict, total=False):
    """What may change along with, or without, the state."""

    run: int
    respawns: int
    respawn_causes: Mapping[Cause, int]
    restarts: int
    segment_seconds: int
    next_retry_at: datetime | None
    last_segment: LastSegment
    last_error: LastError


class Shown:
    """Keeps the status, shows it on the board, logs each change of state once, counts it once.

    ``request_id`` names the request that asked for the recording, in every line of the log.
    """

    def __init__(
        self,
        *,
        camera_id: UUID,
        board: BoardEntry,
        instruments: RecordingInstruments,
        clock: Clock,
        request_id: str | None = None,
    ) -> None:
        self._camera = str(camera_id)
        self._board = board
        self._instruments = instruments
        self._clock = clock
        self._log = structlog.get_logger(__name__).bind(camera=self._camera, request_id=request_id)
        self._told: RecorderState | None = None
        self.status: StreamStatus = board.last()

    def state(self, state: RecorderState, **changes: Unpack[Changes]) -> None:
        """Go to ``state``."""
        before = self.status.status
        self.status = replace(self.status, status=state, **changes)
        if state is not self._told:
            self._told = state
            self.status = replace(self.status, since=self._clock.now())
            self._instruments.state(self._camera, state)
            self._log.info("recorder_state", state=state, before=before, run=self.status.run)
        self._board.put(self.status)

    def update(self, **changes: Unpack[Changes]) -> None:
        """Change what is shown, in the same state."""
        self.status = replace(self.status, **changes)
        self._board.put(self.status)

    def respawned(self, cause: Cause) -> None:
        """Count an FFmpeg that follows one lost to ``cause``."""
        causes = self.status.respawn_causes
        self._instruments.respawned(self._camera, cause)
        self.update(
            respawns=self.status.respawns + 1,
            respawn_causes={**causes, cause: causes.get(cause, 0) + 1},
        )

    def error(self, cause: Cause, message: str) -> None:
        """Show why something failed."""
        error = LastError(cause=cause, message=message, at=self._clock.now())
        self._log.warning("recorder_error", cause=cause, detail=message, run=self.status.run)
        self.update(last_error=error)
