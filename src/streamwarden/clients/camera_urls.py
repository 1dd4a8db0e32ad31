"""Where a camera is: its URL, with user and password taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from streamwarden.clients.digest import Login
from streamwarden.errors import InvalidInput

PORTS: Final[Mapping[str, int]] = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, section 4.2."""
_MAX_URL_CHARS: Final = 2048


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """Where a camera is. ``clean`` holds no user and no password; with ``login`` it has its own."""

    clean: str
    login: Login | None = None

    @property
    def host(self) -> str:
        """The name or address."""
        return urlsplit(self.clean).hostname or ""

    @property
    def port(self) -> int:
        """The port, the scheme's own where none is written."""
        parts = urlsplit(self.clean)
        return parts.port or PORTS[parts.scheme]

    @property
    def secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.clean.startswith("rtsps://")

    def with_login(self) -> str:
        """Return the URL that FFmpeg takes: user and password are part of it. Never to be shown."""
        if self.login is None:
            return self.clean
        shown = f"{quote(self.login.user, safe='')}:{quote(self.login.password, safe='')}"
        return self.clean.replace("://", f"://{shown}@", 1)


def parse_camera_url(text: str) -> CameraUrl:
    """Take a camera's URL apart, user and password out of it; raises InvalidInput without its text."""
    if len(text) > _MAX_URL_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput("a URL is at most 2048 printable ASCII characters without a blank")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("this is no URL") from None
    if parts.scheme not in PORTS:
        raise InvalidInput("a camera's URL begins with rtsp:// or rtsps://")
    if not host:
        raise InvalidInput("the URL names no host")
    netloc = parts.netloc.rpartition("@")[2]
    clean = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    if parts.username is None:
        return CameraUrl(clean)
    return CameraUrl(clean, Login(unquote(parts.username), unquote(parts.password or "")))
