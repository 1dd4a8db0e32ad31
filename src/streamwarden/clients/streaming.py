"""What the API role asks of the streaming role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote
from uuid import UUID

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.clients.calls import Answer, NoAnswer, caller_of, read_answer
from streamwarden.clients.refusals import REFUSALS, OtherOwner, StreamingUnavailable
from streamwarden.clients.unread import Unread

__all__ = ["OtherOwner", "StreamingClient", "StreamingUnavailable"]

_LOG = structlog.get_logger(__name__)

_OK: Final = 200
_ACCEPTED: Final = 202
_PICTURE_WITHIN_S: Final = 12.0
"""It waits for its turn there, and for FFmpeg."""
_WHOLE_LIMIT_BYTES: Final = 16 * 1024 * 1024
_PROOF_WITHIN_S: Final = 5.0
_FILE_STATUSES: Final = frozenset({200, 206, 304, 404, 416})


class StreamingClient:
    """Calls the streaming role. Any thread may; connections are kept and shared."""

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 2.0,
        read_timeout_s: float = 5.0,
        connections: int = 16,
    ) -> None:
        self._caller = caller_of(
            base_url,
            internal_token,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            connections=connections,
        )

    def start(
        self,
        *,
        owner: str,
        camera_id: UUID,
        rtsp_url: str,
        segment_seconds: int,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        """Have the camera recorded; return its status as the contract has it.

        Raises:
            StreamingUnavailable: no answer, or not now. It may have started all the same.
            OtherOwner: the camera is being recorded for another owner.
        """
        body = {
            "user_id": owner,
            "camera_id": str(camera_id),
            "rtsp_url": rtsp_url,
            "segment_seconds": segment_seconds,
        }
        return self._object("POST", "/streams/start", body, request_id=request_id)

    def stop(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        """Have the camera recorded no more; return its status."""
        body = {"camera_id": str(camera_id)}
        return self._object("POST", "/streams/stop", body, request_id=request_id)

    def restart(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        """Have the camera's FFmpeg replaced, make before break; return its status."""
        return self._object("POST", f"/streams/{camera_id}/restart", {}, request_id=request_id)

    def status(self, camera_id: UUID) -> Mapping[str, object]:
        """Return the camera's status, ``stopped`` where nothing was ever wanted."""
        return self._object("GET", f"/streams/{camera_id}")

    def statuses(self) -> list[Mapping[str, object]]:
        """Return the status of every camera that the streaming role knows."""
        items = self._object("GET", "/streams").get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _unavailable("GET", "/streams", "an answer that is not a list of streams")
        return items

    def open_file(
        self,
        camera_id: UUID,
        segment_id: UUID,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Unread:
        """Ask for a segment's file; ``headers`` are those of a conditional or range request.

        The status is 200, 206, 304, 404 or 416. Raises StreamingUnavailable.
        """
        path = f"/streams/{camera_id}/segments/{segment_id}"
        return self._open(method, path, headers, request_id)

    def open_live(
        self,
        camera_id: UUID,
        name: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Unread:
        """Ask for one of a camera's newest files by its name in ``.live``, as `open_file` does."""
        path = f"/streams/{camera_id}/live/{quote(name, safe='')}"
        return self._open(method, path, headers, request_id)

    def live(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        """Return the newest parts of a camera's files; raise NotLive while there are none."""
        return self._object("GET", f"/streams/{camera_id}/live", request_id=request_id)

    def add_export(
        self,
        camera_id: UUID,
        *,
        user_id: str,
        from_: str,
        to: str,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        """Order an export of a range (RFC 3339) for a user; return it."""
        body = {"user_id": user_id, "from": from_, "to": to}
        return self._object("POST", f"/streams/{camera_id}/exports", body, request_id=request_id)

    def exports(self, camera_id: UUID) -> Mapping[str, object]:
        """Return a camera's exports as ``items``."""
        return self._object("GET", f"/streams/{camera_id}/exports")

    def export(self, camera_id: UUID, export_id: UUID) -> Mapping[str, object]:
        """Return an export; raise ExportNotFound."""
        return self._object("GET", f"/streams/{camera_id}/exports/{export_id}")

    def cancel_export(
        self, camera_id: UUID, export_id: UUID, *, request_id: str | None = None
    ) -> Mapping[str, object]:
        """End an export, or delete its file; return it."""
        path = f"/streams/{camera_id}/exports/{export_id}"
        return self._object("DELETE", path, request_id=request_id)

    def open_export(
        self,
        camera_id: UUID,
        export_id: UUID,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Unread:
        """Ask for an export's file, as `open_file` does."""
        path = f"/streams/{camera_id}/exports/{export_id}/file"
        return self._open(method, path, headers, request_id)

    def export_proof(
        self, camera_id: UUID, export_id: UUID, *, request_id: str | None = None
    ) -> bytes:
        """Return an export's proof; raise ExportNotFound, ExportNotReady, ProofNotAvailable."""
        path = f"/streams/{camera_id}/exports/{export_id}/proof"
        return self._bytes(path, request_id, within_s=_PROOF_WITHIN_S)

    def summary(self) -> Mapping[str, object]:
        """Return what operators are shown of the role."""
        return self._object("GET", "/summary")

    def supervision(self) -> Mapping[str, object]:
        """Return the supervision tree."""
        return self._object("GET", "/supervision")

    def restart_child(self, child: str, *, request_id: str | None = None) -> Mapping[str, object]:
        """Restart a recorder by hand; raise ChildNotFound or NotRestartable."""
        path = f"/supervision/{quote(child, safe='')}/restart"
        return self._object("POST", path, {}, request_id=request_id)

    def snapshot(self, camera_id: UUID, width: int, *, request_id: str | None = None) -> bytes:
        """Return a camera's last picture as a JPEG; raise NoPicture where there is none."""
        path = f"/streams/{camera_id}/snapshot?width={width}"
        return self._bytes(path, request_id, within_s=_PICTURE_WITHIN_S)

    def _bytes(self, path: str, request_id: str | None, *, within_s: float) -> bytes:
        caller = replace(self._caller, timeout=urllib3.Timeout(connect=2.0, read=within_s))
        try:
            response = caller.open("GET", path, caller.headers(request_id))
            try:
                data = response.read(_WHOLE_LIMIT_BYTES)
            finally:
                response.close()
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise _unavailable("GET", path, type(error).__name__) from error
        if response.status == _OK:
            return data
        raise _refused("GET", path, read_answer(response.status, data))

    def _open(
        self, method: str, path: str, headers: Mapping[str, str] | None, request_id: str | None
    ) -> Unread:
        sent = {**self._caller.headers(request_id), **(headers or {})}
        try:
            response = self._caller.open(method, path, sent)
        except (HTTPError, OSError) as error:
            raise _unavailable(method, path, type(error).__name__) from error
        found = Unread(
            status=response.status,
            headers=dict(response.headers),
            response=response,
            said_of=_broke_off,
        )
        if found.status not in _FILE_STATUSES:
            found.close()
            raise _unavailable(method, path, f"status {found.status}")
        return found

    def fragments(
        self, camera_id: UUID, segment_id: UUID, *, request_id: str | None = None
    ) -> list[tuple[int, int]]:
        """Return where a segment's fragments end in its file, and how long each plays in ms."""
        path = f"/streams/{camera_id}/segments/{segment_id}/fragments"
        items = self._object("GET", path, request_id=request_id).get("items")
        try:
            return [(int(one["end"]), int(one["media_ms"])) for one in items]  # type: ignore[attr-defined]  # judged below
        except (TypeError, KeyError, ValueError) as error:
            raise _unavailable("GET", path, "an answer that is no list of fragments") from error

    def check(self) -> None:
        """Raise StreamingUnavailable unless the streaming role lives."""
        self._object("GET", "/healthz")

    def close(self) -> None:
        """Close every connection."""
        self._caller.close()

    def _object(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        try:
            answer = self._caller.call(method, path, body, request_id=request_id)
        except NoAnswer as error:
            raise _unavailable(method, path, str(error)) from error
        if answer.status in {_OK, _ACCEPTED}:
            return answer.body
        raise _refused(method, path, answer)


def _refused(method: str, path: str, answer: Answer) -> Exception:
    refusal = REFUSALS.get((answer.status, answer.code))
    if refusal is not None:
        return refusal(str(answer.body.get("detail", "")))
    return _unavailable(method, path, f"status {answer.status} {answer.code}".rstrip())


def _broke_off(_error: Exception) -> StreamingUnavailable:
    return StreamingUnavailable("the file broke off on its way")


def _unavailable(method: str, path: str, why: str) -> StreamingUnavailable:
    # Why is for the operator; a user can only try again.
    _LOG.warning("streaming_call_failed", method=method, path=path, why=why)
    return StreamingUnavailable("the StreamingServer does not answer")
