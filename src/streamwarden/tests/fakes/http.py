"""The HTTP roles' collaborators in memory, as the Protocols of ``http`` have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from streamwarden.actors.messages import RecorderState, StartStream, StreamStatus

T = TypeVar("T")
EPOCH = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


class FakeGateway:
    """Remembers what it was asked; ``failure`` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.started: list[StartStream] = []
        self.stopped: list[UUID] = []
        self.restarted: list[UUID] = []
        self.known: dict[UUID, StreamStatus] = {}
        self.failure: Exception | None = None

    def start(self, message: StartStream) -> StreamStatus:
        self._fail()
        self.started.append(message)
        return self._now(message.camera_id, RecorderState.STARTING, message.segment_seconds)

    def stop(self, camera_id: UUID) -> StreamStatus:
        self._fail()
        self.stopped.append(camera_id)
        return self._now(camera_id, RecorderState.STOPPED)

    def restart(self, camera_id: UUID) -> StreamStatus:
        self._fail()
        self.restarted.append(camera_id)
        return self.status(camera_id)

    def status(self, camera_id: UUID) -> StreamStatus:
        self._fail()
        unknown = StreamStatus(camera_id=camera_id, status=RecorderState.STOPPED, since=EPOCH)
        return self.known.get(camera_id, unknown)

    def statuses(self) -> list[StreamStatus]:
        self._fail()
        return list(self.known.values())

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _now(
        self, camera_id: UUID, state: RecorderState, segment_seconds: int | None = None
    ) -> StreamStatus:
        status = StreamStatus(
            camera_id=camera_id, status=state, since=EPOCH, segment_seconds=segment_seconds
        )
        self.known[camera_id] = status
        return status


@dataclass(frozen=True, slots=True)
class FakeSegmentPath:
    path: str
    ended_at: datetime = EPOCH


class FakeIndex:
    """Segments by camera and id."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, UUID], FakeSegmentPath] = {}

    def get(self, camera_id: UUID, segment_id: UUID) -> FakeSegmentPath | None:
        return self.rows.get((camera_id, segment_id))
