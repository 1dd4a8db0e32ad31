"""The HTTP roles' collaborators in memory, as the Protocols of ``http`` have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.messages import RecorderState, StartStream, StreamStatus
from streamwarden.errors import ExportNotFound, Unavailable
from streamwarden.http.role_client import StreamedResponse, StreamingClient
from streamwarden.model import Segment
from streamwarden.storage.recording_index import SegmentRepository

EPOCH = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


class FakeGateway(StreamGateway):
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


class FakeIndex(SegmentRepository):
    """Segments by camera and id."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, UUID], Segment] = {}

    def put(self, camera_id: UUID, segment_id: UUID, path: str) -> None:
        """Enter a segment whose file is at ``path``."""
        self.rows[camera_id, segment_id] = Segment(
            id=segment_id,
            camera_id=camera_id,
            owner="alice",
            run=1,
            number=1,
            started_at=EPOCH,
            ended_at=EPOCH,
            media_ms=0,
            size_bytes=0,
            path=path,
        )

    def get(self, camera_id: UUID, segment_id: UUID) -> Segment | None:
        return self.rows.get((camera_id, segment_id))


class FakeFile(StreamedResponse):
    """A file that the streaming role would send."""

    def __init__(
        self, status: int = 200, *, data: bytes = b"video", headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        own = {"Content-Type": "video/mp4", "Content-Length": str(len(data))}
        self.headers = own | dict(headers or {})
        self.closed = False
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), 2):
            yield self._data[start : start + 2]

    def close(self) -> None:
        self.closed = True


class FakeStreaming(StreamingClient):
    """The streaming role as the API sees it; ``failure`` is raised by every call while it is set.

    With ``loses_answers`` a call takes effect and its answer does not arrive.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.running: set[UUID] = set()
        self.failure: Exception | None = None
        self.loses_answers = False
        self.file = FakeFile()
        self.window: Mapping[str, object] = {
            "parts": [
                {
                    "name": "r3-000004.mp4",
                    "init_bytes": 1261,
                    "offset": 1261 + n * 500,
                    "bytes": 500,
                    "media_ms": 1000,
                    "started_at": f"2026-01-02T03:04:0{n}.000Z",
                }
                for n in range(4)
            ],
            "sequence": 77,
            "discontinuities": 3,
            "target_s": 1,
        }
        self.exported: dict[UUID, dict[str, Any]] = {}
        self.ops: dict[str, Mapping[str, object]] = {}
        self.pieces = [(100 + 100 * n, 1_000) for n in range(1, 31)]
        self.nonsense: Mapping[str, object] | None = None

    def start(
        self,
        *,
        owner: str,
        camera_id: UUID,
        rtsp_url: str,
        segment_seconds: int,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        self._note(
            "start",
            owner=owner,
            camera_id=camera_id,
            rtsp_url=rtsp_url,
            segment_seconds=segment_seconds,
            request_id=request_id,
        )
        self.running.add(camera_id)
        return self._answer(camera_id, segment_seconds)

    def stop(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        self._note("stop", camera_id=camera_id, request_id=request_id)
        self.running.discard(camera_id)
        return self._answer(camera_id)

    def status(self, camera_id: UUID) -> Mapping[str, object]:
        self._note("status", camera_id=camera_id)
        return self._answer(camera_id)

    def statuses(self) -> list[Mapping[str, object]]:
        self._note("statuses")
        return [self._answer(camera_id) for camera_id in sorted(self.running)]

    def open_file(
        self,
        camera_id: UUID,
        segment_id: UUID,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
        at_ms: int = 0,
    ) -> FakeFile:
        self._note(
            "open_file",
            camera_id=camera_id,
            segment_id=segment_id,
            method=method,
            headers=dict(headers or {}),
            **({"at_ms": at_ms} if at_ms else {}),
            request_id=request_id,
        )
        return self.file

    def live(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        self._note("live", camera_id=camera_id, request_id=request_id)
        return self.nonsense or self.window

    def open_live(
        self,
        camera_id: UUID,
        name: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> FakeFile:
        self._note("open_live", camera_id=camera_id, file=name, method=method, headers=headers)
        del request_id
        return self.file

    def snapshot(
        self,
        camera_id: UUID,
        width: int,
        *,
        max_age_s: int | None = None,
        user_id: str = "",
        request_id: str | None = None,
    ) -> tuple[bytes, str]:
        bound = {} if max_age_s is None else {"max_age_s": max_age_s}
        self._note(
            "snapshot",
            camera_id=camera_id,
            width=width,
            user_id=user_id,
            request_id=request_id,
            **bound,
        )
        return b"\xff\xd8picture", "Fri, 02 Jan 2026 03:04:05 GMT"

    def add_export(
        self,
        camera_id: UUID,
        *,
        user_id: str,
        from_: str,
        to: str,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        self._note("add_export", camera_id=camera_id, from_=from_, to=to, request_id=request_id)
        made: dict[str, Any] = {
            "id": str(uuid4()),
            "state": "queued",
            "progress": 0.0,
            "from": from_,
            "to": to,
            "bytes": None,
            "error": None,
            "created_at": from_,
            "expires_at": to,
            "covers": [{"from": from_, "to": to}],
            "user_id": user_id,
        }
        self.exported[UUID(made["id"])] = made
        return made

    def exports(self, camera_id: UUID) -> Mapping[str, object]:
        self._note("exports", camera_id=camera_id)
        return {"items": list(self.exported.values())}

    def export(self, camera_id: UUID, export_id: UUID) -> Mapping[str, object]:
        self._note("export", camera_id=camera_id, export_id=export_id)
        if export_id not in self.exported:
            raise ExportNotFound("this camera has no such export")
        return self.exported[export_id]

    def cancel_export(
        self, camera_id: UUID, export_id: UUID, *, request_id: str | None = None
    ) -> Mapping[str, object]:
        self._note("cancel_export", camera_id=camera_id, export_id=export_id, by=request_id)
        self.exported[export_id]["state"] = "cancelled"
        return self.exported[export_id]

    def export_proof(
        self, camera_id: UUID, export_id: UUID, *, request_id: str | None = None
    ) -> bytes:
        self._note("export_proof", camera_id=camera_id, export_id=export_id, by=request_id)
        return b"statement\nsignature\n"

    def open_export(
        self,
        camera_id: UUID,
        export_id: UUID,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> FakeFile:
        self._note("open_export", camera_id=camera_id, export_id=export_id, method=method)
        del headers, request_id
        return self.file

    def summary(self) -> Mapping[str, object]:
        self._note("summary")
        return self.ops["summary"]

    def supervision(self) -> Mapping[str, object]:
        self._note("supervision")
        return self.ops["supervision"]

    def restart_child(self, child: str, *, request_id: str | None = None) -> Mapping[str, object]:
        self._note("restart_child", child=child, request_id=request_id)
        return self.ops["child"]

    def fragments(
        self, camera_id: UUID, segment_id: UUID, *, request_id: str | None = None
    ) -> list[tuple[int, int]]:
        self._note("fragments", camera_id=camera_id, segment_id=segment_id)
        del request_id
        return self.pieces

    def _note(self, name: str, **arguments: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append((name, arguments))

    def _answer(self, camera_id: UUID, segment_seconds: int | None = None) -> Mapping[str, object]:
        if self.loses_answers:
            raise Unavailable("the streaming role did not answer")
        if self.nonsense is not None:
            return self.nonsense
        return {
            "camera_id": str(camera_id),
            "status": "starting" if camera_id in self.running else "stopped",
            "since": "2026-01-02T03:04:05.678Z",
            "run": 0,
            "respawns": 0,
            "restarts": 0,
            "segment_seconds": segment_seconds,
            "last_error": None,
            "next_retry_at": None,
            "last_segment": None,
        }
