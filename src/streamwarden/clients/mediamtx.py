"""MediaMTX's control API (v1.20.1, ``/v3``): which sessions there are, and ending one.

The devkit's relay answers the same calls. Session lists hold live tokens: nothing of them is logged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.errors import Unavailable

KINDS: Final = ("rtspsessions", "webrtcsessions")
_PER_PAGE: Final = 500
_MOST_PAGES: Final = 200
_MOST_BYTES: Final = 16 * 1024 * 1024


class MediaServerUnavailable(Unavailable):
    """The media server's control API does not answer, or not as MediaMTX does."""

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


class MediaMtxClient:
    """Calls one media server. One thread at a time."""

    def __init__(
        self, base_url: str, *, connect_timeout_s: float = 1.0, read_timeout_s: float = 2.0
    ) -> None:
        self._base = base_url.rstrip("/")
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1)
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)

    def sessions(self) -> list[MediaSession]:
        """Return every session of RTSP and WebRTC.

        Raises:
            MediaServerUnavailable: there is no telling.
        """
        return [session for kind in KINDS for session in self._list(kind)]

    def kick(self, session: MediaSession) -> bool:
        """End a session; False where it is gone already. Raises MediaServerUnavailable."""
        status, _ = self._call("POST", f"/v3/{session.kind}/kick/{quote(session.id, safe='')}")
        if status == HTTPStatus.NOT_FOUND:
            return False
        if status != HTTPStatus.OK:
            raise MediaServerUnavailable(f"the media server answers {status} to a kick")
        return True

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _list(self, kind: str) -> Iterator[MediaSession]:
        for page in range(_MOST_PAGES):
            status, body = self._call(
                "GET", f"/v3/{kind}/list?itemsPerPage={_PER_PAGE}&page={page}"
            )
            if status == HTTPStatus.NOT_FOUND:
                return  # this kind is switched off there, or it is the relay
            if status != HTTPStatus.OK:
                raise MediaServerUnavailable(f"the media server answers {status} to a list")
            yield from _read(kind, body)
            if page + 1 >= _whole(body, "pageCount"):
                return

    def _call(self, method: str, path: str) -> tuple[int, Mapping[str, object]]:
        try:
            answer = self._pool.request(
                method,
                self._base + path,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                data = answer.read(_MOST_BYTES + 1)
            finally:
                answer.release_conn()
        except (HTTPError, OSError) as error:
            # Of the error only its kind is told: its text may quote the address.
            raise MediaServerUnavailable(
                f"the media server does not answer ({type(error).__name__})"
            ) from error
        return answer.status, _object(data)


def _object(data: bytes) -> Mapping[str, object]:
    if len(data) > _MOST_BYTES:
        raise MediaServerUnavailable("the media server's answer is too large")
    try:
        found = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MediaServerUnavailable("the media server's answer is no JSON object")
    return found


def _read(kind: str, body: Mapping[str, object]) -> Iterator[MediaSession]:
    items = body.get("items")
    if not isinstance(items, list):
        raise MediaServerUnavailable("the media server's list has no items")
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            raise MediaServerUnavailable("the media server's list has a session without an id")
        yield MediaSession(
            kind=kind,
            id=item["id"],
            state=_text(item, "state"),
            path=_text(item, "path"),
            query=_text(item, "query"),
            created=_moment(_text(item, "created")),
        )


def _text(item: Mapping[str, object], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _whole(body: Mapping[str, object], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 0


def _moment(text: str) -> datetime:
    """Read a time of RFC 3339; Go writes nanoseconds, and a zone other than UTC with its offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)  # as old as can be: no rule passes it over
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
