"""One JSON call to another role: bounded in time and size, and every failure said in our words.

An answer on its way: its head is here, its body is read piece by piece.

What the streaming role asks of the API role: a fresh read token for a respawn.

What the API role asks of the streaming role.

The API as a user calls it: what a page's buttons do, for the demo and for scripts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode
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

_ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
"""The status of ten thousand cameras; beyond it something else is answering."""


class NoAnswer(Exception):
    """The other role did not answer, or not as one of ours does. Whether it acted is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON object with its status."""

    status: int
    body: Mapping[str, object]

    @property
    def code(self) -> str:
        """The problem's code, empty where there is none."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Calls one role. ``internal_token`` goes along with every call and into no message.

    Of two with a comma between them, as while it is being changed, the first is shown.
    """

    base_url: str
    internal_token: str = field(repr=False)
    pool: urllib3.PoolManager = field(repr=False)
    timeout: urllib3.Timeout

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
    ) -> Answer:
        """Return the answer, whatever its status; raise NoAnswer if there is none of ours."""
        encoded = None if body is None else json.dumps(body).encode()
        try:
            response = self.open(method, path, self.headers(request_id), body=encoded)
            try:
                data = response.read(_ANSWER_LIMIT_BYTES + 1)
            finally:
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__) from error
        return Answer(status=response.status, body=_object(data))

    def open(
        self, method: str, path: str, headers: Mapping[str, str], *, body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and return the answer with its body unread.

        Nothing is retried and no redirect followed: the one who asked knows whether to ask again,
        and the token is for this address alone.
        """
        return self.pool.request(
            method,
            self.base_url.rstrip("/") + path,
            body=body,
            headers=headers,
            timeout=self.timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close every connection."""
        self.pool.clear()

    def headers(self, request_id: str | None) -> dict[str, str]:
        """Return what every call carries."""
        headers = {
            "X-Internal-Token": self.internal_token.partition(",")[0],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        return headers


def caller_of(
    base_url: str,
    internal_token: str,
    *,
    connect_timeout_s: float,
    read_timeout_s: float,
    connections: int,
) -> Caller:
    """Return a caller with connections of its own, of which at most ``connections`` are kept."""
    return Caller(
        base_url=base_url,
        internal_token=internal_token,
        pool=urllib3.PoolManager(num_pools=1, maxsize=connections),
        timeout=urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s),
    )


def read_answer(status: int, data: bytes) -> Answer:
    """Return what an answer that was read says; without a body where it is no JSON object."""
    try:
        return Answer(status=status, body=_object(data))
    except NoAnswer:
        return Answer(status=status, body={})


def _object(data: bytes) -> Mapping[str, object]:
    if len(data) > _ANSWER_LIMIT_BYTES:
        raise NoAnswer("an answer larger than any of ours")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("no JSON") from error
    if not isinstance(value, dict):
        raise NoAnswer("no JSON object")
    return value


_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """``close`` must be called. ``said_of`` returns what is raised if the body breaks off."""

    status: int
    headers: Mapping[str, str]
    response: urllib3.BaseHTTPResponse
    said_of: Callable[[Exception], Exception]

    def chunks(self) -> Iterator[bytes]:
        """Yield the body."""
        try:
            yield from self.response.stream(_CHUNK_BYTES)
        except (HTTPError, OSError) as error:
            raise self.said_of(error) from error

    def close(self) -> None:
        """Give the connection up: what has not been read would be in the next answer's way.

        That of an answer which was read to its end has long been given back.
        """
        self.response.close()
        self.response.release_conn()


_OK: Final = 200


_FORBIDDEN: Final = 403


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


class ReadTokenClient:
    """Calls ``POST /api/v1/m2m/read-token``. Any thread may."""

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 4.0,
        connections: int = 8,
    ) -> None:
        self._caller = caller_of(
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
            answer = self._caller.call("POST", "/api/v1/m2m/read-token", body)
        except NoAnswer as error:
            raise ReadTokenUnavailable(f"the APIServer does not answer: {error}") from error
        if answer.status == _FORBIDDEN:
            raise ReadTokenRefused("the camera is no longer active or wanted")
        if answer.status != _OK:
            why = f"status {answer.status} {answer.code}".rstrip()
            raise ReadTokenUnavailable(f"the APIServer gives no read token: {why}")
        return _token(answer)

    def close(self) -> None:
        """Close every connection."""
        self._caller.close()


def _token(answer: Answer) -> ReadToken:
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


_LOG = structlog.get_logger(__name__)


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


def _refused(method: str, path: str, answer: Answer) -> StreamwardenError:
    refusal = by_code(answer.status, answer.code, str(answer.body.get("detail", "")))
    if refusal is not None:
        return refusal
    return _unavailable(method, path, f"status {answer.status} {answer.code}".rstrip())


def _broke_off(_error: Exception) -> StreamingUnavailable:
    return StreamingUnavailable("the file broke off on its way")


def _unavailable(method: str, path: str, why: str) -> StreamingUnavailable:
    # Why is for the operator; a user can only try again.
    _LOG.warning("streaming_call_failed", method=method, path=path, why=why)
    return StreamingUnavailable("the StreamingServer does not answer")


_CONNECT_S, _ANSWER_S = 2.0, 10.0


_MOST_BYTES = 8 * 1024 * 1024


class ApiRefused(StreamwardenError):
    """The API answered with a problem; ``code`` is its stable code, ``status`` the HTTP status."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class ApiClient:
    """Calls the API with one user's bearer token; may be used from any thread."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=4,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_ANSWER_S),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def cameras(self) -> list[Mapping[str, Any]]:
        """Return every camera that the user may see, oldest first."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
            page = self._call("GET", f"/api/v1/camera?{urlencode(query)}")
            found += page["items"]
            if (cursor := page["next_cursor"]) is None:
                return found

    def add_camera(self, *, name: str, owner: str) -> Mapping[str, Any]:
        """Add a camera (role admin) and return it."""
        return self._call("POST", "/api/v1/camera", {"name": name, "owner": owner})

    def connect(self, camera_id: UUID) -> Mapping[str, Any]:
        """Have the camera recorded."""
        return self._call("POST", f"/api/v1/camera/{camera_id}/stream/connect", {})

    def disconnect(self, camera_id: UUID) -> Mapping[str, Any]:
        """Have the camera recorded no longer."""
        return self._call("POST", f"/api/v1/camera/{camera_id}/stream/disconnect", {})

    def status(self, camera_id: UUID) -> Mapping[str, Any]:
        """Return what the camera's recorder is doing."""
        return self._call("GET", f"/api/v1/camera/{camera_id}/stream/status")

    def publish_url(self, camera_id: UUID) -> str:
        """Return a URL with a fresh token that the camera may publish to."""
        answer = self._call("GET", f"/api/v1/camera/{camera_id}/publish_rtsp_url")
        return str(answer["publish_rtsp_url"])

    def recordings(
        self, camera_id: UUID, *, from_: str | None = None, limit: int = 100
    ) -> list[Mapping[str, Any]]:
        """Return the first segments and gaps since ``from_`` (RFC 3339), in time order."""
        query = {"limit": str(limit)} | ({"from": from_} if from_ else {})
        page = self._call("GET", f"/api/v1/camera/{camera_id}/recordings?{urlencode(query)}")
        items: list[Mapping[str, Any]] = page["items"]
        return items

    def put_setting(self, key: str, value: object) -> None:
        """Change a setting of the product (role admin)."""
        self._call("PUT", f"/api/v1/settings/{quote(key, safe='')}", {"value": value})

    def _call(
        self, method: str, target: str, body: Mapping[str, object] | None = None
    ) -> Mapping[str, Any]:
        """Return the answer's JSON.

        Raises:
            ApiRefused: The API said no.
            Unavailable: It did not answer, or answered 503.
        """
        status, raw = self._exchange(method, target, body)
        answer = _object_or_empty(raw)
        if status < HTTPStatus.BAD_REQUEST:
            return answer
        code, detail = str(answer.get("code", "unknown")), str(answer.get("detail", ""))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable(f"the API cannot do that now: {code}: {detail}")
        raise ApiRefused(status, code, detail)

    def _exchange(
        self, method: str, target: str, body: Mapping[str, object] | None
    ) -> tuple[int, bytes]:
        headers, encoded = self._headers, None
        if body is not None:
            headers = headers | {"Content-Type": "application/json"}
            encoded = json.dumps(body).encode()
        try:
            answer = self._pool.request(
                method, f"{self._base}{target}", body=encoded, headers=headers,
                preload_content=False, redirect=False,
            )  # fmt: skip
            try:
                return answer.status, answer.read(_MOST_BYTES)
            finally:
                answer.drain_conn()
                answer.release_conn()
        except HTTPError as error:
            raise Unavailable(f"the API does not answer: {type(error).__name__}") from error


def _object_or_empty(raw: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(raw) if raw else {}
    except ValueError:
        answer = {}
    return answer if isinstance(answer, dict) else {}
