"""The question whether a client may read or publish, asked over HTTP as MediaMTX asks it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from streamwarden.devkit.relay.rtsp import RtspCredentials
from streamwarden.errors import ConfigError

_log = logging.getLogger(__name__)


_TIMEOUT_S = 10.0  # MediaMTX's readTimeout


_BASIC = ('Basic realm="streamwarden relay"',)


_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Who wants what: the fields of MediaMTX v1.20's hook (internal/auth/manager.go)."""

    ip: str
    credentials: RtspCredentials
    action: Literal["read", "publish"]
    path: str
    id: UUID
    query: str
    user_agent: str
    method: str = ""
    authorization: str = ""
    """The request's header as it came, for those who check a digest."""

    def to_json(self) -> Mapping[str, str]:
        """Return the body of the hook's POST."""
        return {
            "ip": self.ip,
            "user": self.credentials.user,
            "password": self.credentials.password,
            "token": self.credentials.token,
            "action": self.action,
            "path": self.path,
            "protocol": "rtsp",
            "id": str(self.id),
            "query": self.query,
            "userAgent": self.user_agent,
        }

    def __repr__(self) -> str:
        return f"AccessRequest({self.action} {self.path})"


class Authenticator(Protocol):
    """Says yes or no; any failure to find out is a no.

    ``challenges`` are what a client that presented nothing is asked for; where ``always_challenges``,
    one that presented the wrong thing is asked again.
    """

    challenges: Sequence[str]
    always_challenges: bool

    async def allows(self, access: AccessRequest) -> bool:
        """Return whether ``access`` is granted."""


class AllowAll:
    """Lets everyone in: a relay without a hook."""

    challenges: Sequence[str] = _BASIC
    always_challenges = False

    async def allows(self, access: AccessRequest) -> bool:  # noqa: ARG002 - the Gate's shape
        """Return True."""
        return True


class AuthHook:
    """Asks ``url``: 200 to 299 allow, all else denies, and so does silence for ten seconds.

    Like MediaMTX's path manager it asks one question at a time: a slow hook holds up everyone.
    """

    challenges: Sequence[str] = _BASIC
    always_challenges = False

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise ConfigError("the auth hook's address must be an http or https URL")
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def allows(self, access: AccessRequest) -> bool:
        """Return whether the hook answered with a status from 200 to 299 in time."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_s):
                    status = await self._post(json.dumps(access.to_json()).encode())
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                # Of the error only its kind is told: the hook's address may hold a password.
                _log.warning("auth hook failed for %r: %s", access, type(error).__name__)
                return False
        return 200 <= status <= 299  # noqa: PLR2004 - MediaMTX's range

    async def _post(self, body: bytes) -> int:
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=True if self._tls else None, limit=8192
        )
        try:
            writer.write(self._head(len(body)) + body)
            await writer.drain()
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("an endless status line") from error
        finally:
            writer.close()
        if not (found := _STATUS_LINE.match(line)):
            raise ValueError("not an HTTP answer")
        return int(found[1])

    def _head(self, length: int) -> bytes:
        return (
            f"POST {self._target} HTTP/1.1\r\nHost: {self._netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
            "Connection: close\r\n\r\n"
        ).encode("latin-1")
