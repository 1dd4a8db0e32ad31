"""Authentication of RTSP clients, by default through the HTTP hook that MediaMTX has."""

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
    """One request for access: the fields of MediaMTX v1.20's hook (internal/auth/manager.go)."""

    ip: str
    credentials: RtspCredentials
    action: Literal["read", "publish", "api"]
    path: str
    id: UUID | None
    query: str
    user_agent: str
    method: str = ""
    authorization: str = ""
    """The request's Authorization header, for a digest check."""

    def to_json(self) -> Mapping[str, str | None]:
        """Return the body of the hook's POST."""
        return {
            "ip": self.ip,
            "user": self.credentials.user,
            "password": self.credentials.password,
            "token": self.credentials.token,
            "action": self.action,
            "path": self.path,
            "protocol": "" if self.action == "api" else "rtsp",
            "id": None if self.id is None else str(self.id),
            "query": self.query,
            "userAgent": self.user_agent,
        }

    def __repr__(self) -> str:
        return f"AccessRequest({self.action} {self.path})"


class Authenticator(Protocol):
    """Decides about access; a failure to decide is a refusal.

    ``challenges`` go to a client without credentials. With ``always_challenges`` they also go to a
    client with wrong ones.
    """

    challenges: Sequence[str]
    always_challenges: bool

    async def allows(self, access: AccessRequest) -> bool:
        """Return whether ``access`` is granted."""


class AllowAll:
    """Grants everything: a relay without a hook."""

    challenges: Sequence[str] = _BASIC
    always_challenges = False

    async def allows(self, access: AccessRequest) -> bool:  # noqa: ARG002 - Authenticator's signature
        """Return True."""
        return True


class AuthHook:
    """Calls the hook at ``url``: 200 to 299 grants, anything else or a timeout of 10 s refuses.

    Like MediaMTX's path manager it sends one request at a time, so a slow hook delays all clients.
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
                # Only the error's type is logged: its text may hold the hook's URL with a password.
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
