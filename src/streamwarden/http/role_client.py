"""HTTP calls between the roles: JSON and files, bounded in time and size.

Nothing is retried and no redirect is followed: only the caller knows whether a call may be repeated,
and the internal token is for one address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote
from uuid import UUID

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.errors import (
    Denied,
    StreamingUnavailable,
    StreamwardenError,
    Unavailable,
    by_code,
)

log = structlog.get_logger(__name__)
_OK: Final = 200
_ACCEPTED: Final = 202
_FORBIDDEN: Final = 403
_FILE_STATUSES: Final = frozenset({200, 206, 304, 404, 416})
_CHUNK_BYTES: Final = 64 * 1024
_JSON_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""The status of ten thousand cameras; a larger answer comes from some other program."""
_WHOLE_LIMIT_BYTES: Final = 16 * 1024 * 1024
_PICTURE_TIMEOUT_S: Final = 12.0
"""The request waits there for its turn, and for FFmpeg."""
_PROOF_TIMEOUT_S: Final = 5.0


class NoAnswer(Exception):
    """The other role did not answer, or not in JSON. Whether it acted is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonResponse:
    """A JSON object with its status."""

    status: int
    body: Mapping[str, object]

    @property
    def code(self) -> str:
        """The problem's code, empty where there is none."""
        return str(self.body.get("code", ""))


@dataclass(slots=True, kw_only=True)
class StreamedResponse:
    """A response whose body is read piece by piece; ``close`` must be called.

    ``failure`` makes the error that is raised if the body breaks off.
    """

    status: int
    headers: Mapping[str, str]
    response: urllib3.BaseHTTPResponse = field(repr=False)
    failure: Callable[[Exception], Exception] = field(repr=False)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body; it is what WSGI iterates, and closes however that ends."""
        try:
            yield from self.response.stream(_CHUNK_BYTES)
        except (HTTPError, OSError) as error:
            raise self.failure(error) from error

    def close(self) -> None:
        """Drop the connection: unread bytes would precede the next response on it.

        A connection whose response was read to its end has been given back already.
        """
        self.response.close()
        self.response.release_conn()


class RoleClient:
    """Calls one role, on kept connections of which there are at most ``connections``. Any thread.

    ``internal_token`` is sent with every call and appears in no message. Of two with a comma between
    them, as during a rotation, the first is sent.
    """

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 2.0,
        read_timeout_s: float = 5.0,
        connections: int = 16,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._internal_token = internal_token.partition(",")[0]
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=connections)

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
    ) -> JsonResponse:
        """Return the answer with any status; raise NoAnswer if it is no JSON object."""
        try:
            status, data = self._read(method, path, body, request_id, limit=_JSON_LIMIT_BYTES + 1)
        except (HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__) from error
        return JsonResponse(status=status, body=_json_object(data))

    def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        request_id: str | None,
        *,
        limit: int,
        timeout: urllib3.Timeout | None = None,
    ) -> tuple[int, bytes]:
        encoded = None if body is None else json.dumps(body).encode()
        response = self._open(method, path, self._headers(request_id), encoded, timeout)
        try:
            return response.status, response.read(limit)
        finally:
            response.close()
            response.release_conn()

    def _open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: urllib3.Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and return the response with its body unread."""
        return self._pool.request(
            method,
            self._base_url + path,
            body=body,
            headers=headers,
            timeout=timeout or self._timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _headers(self, request_id: str | None) -> dict[str, str]:
        headers = {
            "X-Internal-Token": self._internal_token,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        return headers


def _json_object(data: bytes) -> Mapping[str, object]:
    if len(data) > _JSON_LIMIT_BYTES:
        raise NoAnswer("an answer that is too large")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("no JSON") from error
    if not isinstance(value, dict):
        raise NoAnswer("no JSON object")
    return value


class StreamingClient(RoleClient):
    """The API role's calls of the streaming role; each raises StreamingUnavailable without an answer."""

    def start(
        self,
        *,
        owner: str,
        camera_id: UUID,
        rtsp_url: str,
        segment_seconds: int,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        """Start to record the camera; return its status.

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
        """Stop recording the camera; return its status."""
        body = {"camera_id": str(camera_id)}
        return self._object("POST", "/streams/stop", body, request_id=request_id)

    def restart(self, camera_id: UUID, *, request_id: str | None = None) -> Mapping[str, object]:
        """Replace the camera's FFmpeg, make before break; return its status."""
        return self._object("POST", f"/streams/{camera_id}/restart", {}, request_id=request_id)

    def status(self, camera_id: UUID) -> Mapping[str, object]:
        """Return the camera's status, ``stopped`` for one that was never wanted."""
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
        at_ms: int = 0,
    ) -> StreamedResponse:
        """Ask for a segment's file; ``headers`` are those of a conditional or range request.

        Its decode times are later by ``at_ms``.

        The status is 200, 206, 304, 404 or 416. Raises StreamingUnavailable.
        """
        path = f"/streams/{camera_id}/segments/{segment_id}{f'?at={at_ms}' if at_ms else ''}"
        return self._file(method, path, headers, request_id)

    def open_live(
        self,
        camera_id: UUID,
        name: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> StreamedResponse:
        """Ask for one of a camera's newest files by its name in ``.live``, as `open_file` does."""
        path = f"/streams/{camera_id}/live/{quote(name, safe='')}"
        return self._file(method, path, headers, request_id)

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
    ) -> StreamedResponse:
        """Ask for an export's file, as `open_file` does."""
        path = f"/streams/{camera_id}/exports/{export_id}/file"
        return self._file(method, path, headers, request_id)

    def export_proof(
        self, camera_id: UUID, export_id: UUID, *, request_id: str | None = None
    ) -> bytes:
        """Return an export's proof; raise ExportNotFound, ExportNotReady, ProofNotAvailable."""
        path = f"/streams/{camera_id}/exports/{export_id}/proof"
        return self._bytes(path, request_id, timeout_s=_PROOF_TIMEOUT_S)

    def summary(self) -> Mapping[str, object]:
        """Return the role's summary for operators."""
        return self._object("GET", "/summary")

    def supervision(self) -> Mapping[str, object]:
        """Return the supervision tree."""
        return self._object("GET", "/supervision")

    def restart_child(self, child: str, *, request_id: str | None = None) -> Mapping[str, object]:
        """Restart a recorder by hand; raise ChildNotFound or NotRestartable."""
        path = f"/supervision/{quote(child, safe='')}/restart"
        return self._object("POST", path, {}, request_id=request_id)

    def snapshot(
        self,
        camera_id: UUID,
        width: int,
        *,
        max_age_s: int | None = None,
        user_id: str = "",
        request_id: str | None = None,
    ) -> tuple[bytes, str]:
        """Return a camera's last picture as a JPEG for a user, and its Last-Modified.

        Raises:
            NoPicture: there is none, or it is older than ``max_age_s``.
        """
        bound = "" if max_age_s is None else f"&max_age={max_age_s}"
        path = (
            f"/streams/{camera_id}/snapshot?width={width}{bound}&user_id={quote(user_id, safe='')}"
        )
        found, headers = self._whole(path, request_id, timeout_s=_PICTURE_TIMEOUT_S)
        return found, headers.get("Last-Modified", "")

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

    def formats(
        self, camera_id: UUID, from_: str, to: str, *, request_id: str | None = None
    ) -> dict[str, str]:
        """Return the format of each segment of a range (RFC 3339), as far as it is known, by its id."""
        query = f"from={quote(from_, safe='')}&to={quote(to, safe='')}"
        path = f"/streams/{camera_id}/formats?{query}"
        items = self._object("GET", path, request_id=request_id).get("items")
        try:
            return {str(one["id"]): str(one["format"]) for one in items}  # type: ignore[attr-defined]  # judged below
        except (TypeError, KeyError) as error:
            raise _unavailable("GET", path, "an answer that is no list of formats") from error

    def check(self) -> None:
        """Raise StreamingUnavailable unless the streaming role lives."""
        self._object("GET", "/healthz")

    def _bytes(self, path: str, request_id: str | None, *, timeout_s: float) -> bytes:
        return self._whole(path, request_id, timeout_s=timeout_s)[0]

    def _whole(
        self, path: str, request_id: str | None, *, timeout_s: float
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return body and headers of an answer that is no JSON."""
        timeout = urllib3.Timeout(connect=2.0, read=timeout_s)
        try:
            response = self._open("GET", path, self._headers(request_id), None, timeout)
            try:
                status, data = response.status, response.read(_WHOLE_LIMIT_BYTES)
            finally:
                response.close()
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise _unavailable("GET", path, type(error).__name__) from error
        if status == _OK:
            return data, response.headers
        try:
            problem = _json_object(data)
        except NoAnswer:
            problem = {}
        raise _refused("GET", path, JsonResponse(status=status, body=problem))

    def _file(
        self, method: str, path: str, headers: Mapping[str, str] | None, request_id: str | None
    ) -> StreamedResponse:
        try:
            response = self._open(method, path, {**self._headers(request_id), **(headers or {})})
        except (HTTPError, OSError) as error:
            raise _unavailable(method, path, type(error).__name__) from error
        found = StreamedResponse(
            status=response.status,
            headers=dict(response.headers),
            response=response,
            failure=_truncated,
        )
        if found.status not in _FILE_STATUSES:
            found.close()
            raise _unavailable(method, path, f"status {found.status}")
        return found

    def _object(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
    ) -> Mapping[str, object]:
        try:
            answer = self._call(method, path, body, request_id=request_id)
        except NoAnswer as error:
            raise _unavailable(method, path, str(error)) from error
        if answer.status in {_OK, _ACCEPTED}:
            return answer.body
        raise _refused(method, path, answer)


def _refused(method: str, path: str, answer: JsonResponse) -> StreamwardenError:
    refusal = by_code(answer.status, answer.code, str(answer.body.get("detail", "")))
    if refusal is not None:
        return refusal
    return _unavailable(method, path, f"status {answer.status} {answer.code}".rstrip())


def _truncated(_error: Exception) -> StreamingUnavailable:
    return StreamingUnavailable("the file broke off on its way")


def _unavailable(method: str, path: str, why: str) -> StreamingUnavailable:
    # The reason is for the operator; a user can only try again.
    log.warning("streaming_call_failed", method=method, path=path, why=why)
    return StreamingUnavailable("the streaming role did not answer")


class ReadTokenRefused(Denied):
    """The camera is no longer active or wanted: there is nothing to respawn for."""

    code = "read_token_refused"


class ReadTokenUnavailable(Unavailable):
    """The API role does not answer now; the recorder's own respawn asks again."""

    code = "token_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadToken:
    """An RTSP URL with a read token in it, and when that expires."""

    rtsp_url: str = field(repr=False)
    expires_at: datetime


class ReadTokenClient(RoleClient):
    """The streaming role's call of the API role: a new read token for a respawn."""

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 4.0,
        connections: int = 8,
    ) -> None:
        super().__init__(
            base_url,
            internal_token,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            connections=connections,
        )

    def fetch(self, camera_id: UUID) -> ReadToken:
        """Return a fresh URL for the camera's recorder.

        Raises:
            ReadTokenRefused: the camera is no longer active or wanted.
            ReadTokenUnavailable: no answer, or none that can be used.
        """
        body = {"camera_id": str(camera_id)}
        try:
            answer = self._call("POST", "/api/v1/m2m/read-token", body)
        except NoAnswer as error:
            raise ReadTokenUnavailable(f"the APIServer does not answer: {error}") from error
        if answer.status == _FORBIDDEN:
            raise ReadTokenRefused("the camera is no longer active or wanted")
        if answer.status != _OK:
            why = f"status {answer.status} {answer.code}".rstrip()
            raise ReadTokenUnavailable(f"the APIServer gives no read token: {why}")
        return _token(answer)


def _token(answer: JsonResponse) -> ReadToken:
    url, expires_at = answer.body.get("rtsp_url"), answer.body.get("expires_at")
    if not isinstance(url, str) or not isinstance(expires_at, str):
        raise ReadTokenUnavailable("the APIServer's answer is no read token")
    try:
        moment = datetime.fromisoformat(expires_at)
    except ValueError as error:
        raise ReadTokenUnavailable("the APIServer's answer is no read token") from error
    if moment.tzinfo is None:
        raise ReadTokenUnavailable("the APIServer's answer is no read token")
    return ReadToken(rtsp_url=url, expires_at=moment)
