"""A recorder's status: the one place where its state changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

import structlog

from streamwarden.actors.board import BoardEntry
from streamwarden.actors.messages import LastError, LastSegment, RecorderState, StreamStatus
from streamwarden.actors.ports import RecordingInstruments
from streamwarden.causes import Cause
from streamwarden.clock import Clock


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
