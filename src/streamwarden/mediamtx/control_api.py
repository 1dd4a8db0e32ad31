"""A client of MediaMTX's control API (v1.20.1, ``/v3``): sessions, and paths that it pulls.

The devkit's relay has the same API. Session lists hold live tokens, path lists and MediaMTX's error
texts hold cameras' passwords: no part of them is logged or repeated.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.errors import StreamwardenError, Unavailable
from streamwarden.mediamtx.control_secret import control_headers
from streamwarden.model import Transport

KINDS: Final = ("rtspsessions", "rtspssessions", "webrtcsessions")
_ABSENT_FOR_S: Final = 60.0
"""A kind that is disabled is asked for again after this time: MediaMTX may have been started anew."""
_PATHS: Final = "/v3/config/paths"
_PER_PAGE: Final = 500
_MAX_PAGES: Final = 200
_MAX_BYTES: Final = 16 * 1024 * 1024


class MediaServerUnavailable(Unavailable):
    """The control API does not answer, or answers unlike MediaMTX."""

    code = "media_server_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSession:
    """A session; ``state`` is ``idle``, ``read`` or ``publish``. The query may hold a token."""

    kind: str
    id: str
    state: str
    path: str
    query: str = field(repr=False)
    created: datetime
    address: str = ""


@dataclass(frozen=True, slots=True)
class MediaPath:
    """A configured path. ``source`` is a URL, maybe with credentials, or a keyword."""

    name: str
    source: str = field(repr=False)
    transport: str = ""


@dataclass(frozen=True, slots=True)
class PathState:
    """A path as it is now: since when it is ready, as MediaMTX writes it, None where it is not.

    ``pulled``: MediaMTX receives its stream from a camera, and does not wait for a publisher.
    """

    name: str
    ready_since: str | None
    pulled: bool


class PathRefused(StreamwardenError):
    """MediaMTX refuses a path or its source; the same call will fail again."""

    code = "media_path_refused"


@dataclass(frozen=True, slots=True)
class MediaAuthentication:
    """How MediaMTX decides who may do what; ``open_actions`` are those that need no credential."""

    method: str
    hook: str
    open_actions: tuple[str, ...] = ()


class MediaMtxClient:
    """A client of one media server, which INTERNAL_TOKEN's `control_secret` opens. Not thread-safe."""

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 2.0,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = control_headers(internal_token)
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1)
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)
        self._absent: dict[str, float] = {}

    def sessions(self) -> list[MediaSession]:
        """Return every session of RTSP and WebRTC.

        Raises:
            MediaServerUnavailable: the list is not known.
        """
        return [
            session
            for kind in KINDS
            if time.monotonic() >= self._absent.get(kind, 0.0)
            for body in self._pages(kind)
            for session in _read(kind, body)
        ]

    def kick(self, session: MediaSession) -> bool:
        """End a session; return False where it has ended already. Raises MediaServerUnavailable."""
        status, _ = self._call("POST", f"/v3/{session.kind}/kick/{quote(session.id, safe='')}")
        if status == HTTPStatus.NOT_FOUND:
            return False
        if status != HTTPStatus.OK:
            raise MediaServerUnavailable(f"the media server answered {status} to a session kick")
        return True

    def paths(self) -> list[MediaPath]:
        """Return every configured path, those of its file and those set by this API.

        Raises:
            MediaServerUnavailable: the list is not known.
        """
        return [
            MediaPath(_text(item, "name"), _text(item, "source"), _text(item, "rtspTransport"))
            for body in self._pages("config/paths")
            for item in _items(body)
        ]

    def pull(self, path: str, source: str, transport: Transport) -> None:
        """Set ``path`` to be pulled from ``source`` always, not on demand.

        MediaMTX's ``replace`` also adds; replacing a path by the same one interrupts nothing.

        Raises:
            PathRefused: MediaMTX refuses this path or URL.
            MediaServerUnavailable: the path may or may not have been set.
        """
        settings = {"source": source, "rtspTransport": transport, "sourceOnDemand": False}
        status, _ = self._call("POST", f"{_PATHS}/replace/{quote(path)}", settings=settings)
        if status == HTTPStatus.BAD_REQUEST:
            raise PathRefused("the media server does not take this path or its source")
        if status != HTTPStatus.OK:
            raise MediaServerUnavailable(
                f"the media server answered {status} to a change of a path"
            )

    def authentication(self) -> MediaAuthentication:
        """Return the settings ``authMethod``, ``authHTTPAddress`` and ``authHTTPExclude``.

        Raises:
            MediaServerUnavailable: they are not known.
        """
        status, found = self._call("GET", "/v3/config/global/get")
        if status != HTTPStatus.OK:
            raise MediaServerUnavailable(f"the media server answered {status} to its settings")
        excluded = found.get("authHTTPExclude")
        return MediaAuthentication(
            _text(found, "authMethod"),
            _text(found, "authHTTPAddress"),
            tuple(
                _text(item, "action")
                for item in (excluded if isinstance(excluded, list) else ())
                if isinstance(item, dict)
            ),
        )

    def path_states(self) -> list[PathState]:
        """Return every path that is known now, ready or not.

        Raises:
            MediaServerUnavailable: the list is not known.
        """
        return [_state_of(item) for body in self._pages("paths") for item in _items(body)]

    def call_again(self, path: str) -> None:
        """Let a pulled path begin anew, which ends MediaMTX's pause of 5 s after a failure.

        Any change of its configuration does that. A new value of this field does nothing else: the path
        is not on demand. Raises MediaServerUnavailable.
        """
        settings = {"sourceOnDemandCloseAfter": f"{10_000 + secrets.randbelow(10_000)}ms"}
        status, _ = self._call("PATCH", f"{_PATHS}/patch/{quote(path)}", settings=settings)
        if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
            raise MediaServerUnavailable(
                f"the media server answered {status} to a change of a path"
            )

    def forget(self, path: str) -> None:
        """Remove ``path``. Idempotent. Raises MediaServerUnavailable."""
        status, _ = self._call("DELETE", f"{_PATHS}/delete/{quote(path)}")
        if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise MediaServerUnavailable(
                f"the media server answered {status} to the removal of a path"
            )

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _pages(self, kind: str) -> Iterator[Mapping[str, object]]:
        for page in range(_MAX_PAGES):
            status, body = self._call(
                "GET", f"/v3/{kind}/list?itemsPerPage={_PER_PAGE}&page={page}"
            )
            if status == HTTPStatus.NOT_FOUND and kind in KINDS:
                # This kind is disabled, or the server is the devkit's relay.
                self._absent[kind] = time.monotonic() + _ABSENT_FOR_S
                return
            if status != HTTPStatus.OK:
                raise MediaServerUnavailable(f"the media server answers {status} to a list")
            yield body
            if page + 1 >= _whole(body, "pageCount"):
                return

    def _call(
        self, method: str, path: str, *, settings: Mapping[str, object] | None = None
    ) -> tuple[int, Mapping[str, object]]:
        try:
            answer = self._pool.request(
                method,
                self._base + path,
                json=settings,
                headers=self._headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                data = answer.read(_MAX_BYTES + 1)
            finally:
                answer.release_conn()
        except (HTTPError, OSError) as error:
            # Only the type: the error's text may quote the URL.
            raise MediaServerUnavailable(
                f"the media server does not answer ({type(error).__name__})"
            ) from error
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise MediaServerUnavailable(
                "the media server refuses the control secret (401): its authHTTPAddress does not reach "
                "the api role, or INTERNAL_TOKEN is another one there"
            )
        # Bodies of other statuses are not read: a kind of sessions that is disabled is a 404 in plain text.
        return answer.status, _object(data) if answer.status == HTTPStatus.OK else {}


def _object(data: bytes) -> Mapping[str, object]:
    if len(data) > _MAX_BYTES:
        raise MediaServerUnavailable("the media server's answer is too large")
    try:
        found = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MediaServerUnavailable("the media server's answer is no JSON object")
    return found


def _read(kind: str, body: Mapping[str, object]) -> Iterator[MediaSession]:
    for item in _items(body):
        if not isinstance(item.get("id"), str):
            raise MediaServerUnavailable("the media server's list has a session without an id")
        yield MediaSession(
            kind=kind,
            id=item["id"],
            state=_text(item, "state"),
            path=_text(item, "path"),
            query=_text(item, "query"),
            created=_moment(_text(item, "created")),
            address=_text(item, "remoteAddr"),
        )


def _items(body: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    items = body.get("items")
    if not isinstance(items, list):
        raise MediaServerUnavailable("the media server's list has no items")
    for item in items:
        if not isinstance(item, dict):
            raise MediaServerUnavailable("the media server's list has an invalid item")
        yield item


def _state_of(item: Mapping[str, object]) -> PathState:
    source = item.get("source")
    return PathState(
        name=_text(item, "name"),
        ready_since=_text(item, "readyTime") or "ready" if item.get("ready") is True else None,
        pulled=isinstance(source, dict) and source.get("type") == "rtspSource",
    )


def _text(item: Mapping[str, object], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _whole(body: Mapping[str, object], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 0


def _moment(text: str) -> datetime:
    """Parse a time of RFC 3339; Go writes nanoseconds, and the offset of any other zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)  # the oldest time there is: every denial covers it
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
