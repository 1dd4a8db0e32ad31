"""Addresses of cameras that serve RTSP: read strictly, cleaned of credentials, written for MediaMTX.

What is read here is taken apart again by MediaMTX (Go's ``net/url``, and gortsplib's own rule for
``@``) and by FFmpeg. So nothing is taken that two readers may understand in two ways.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from streamwarden.auth.urls import RTSP_PORTS
from streamwarden.errors import InvalidInput

MAX_SOURCE_CHARS: Final = 1024
MAX_USERNAME_CHARS: Final = 128
MAX_PASSWORD_CHARS: Final = 256

_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!&'()*+,;=%-]+")
"""RFC 3986 without ``#`` and ``$``: MediaMTX fills ``$G1`` and ``$MTX_QUERY`` in, from readers."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%[01][0-9A-Fa-f]|%7[Ff]")
_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_NUMBER = re.compile(r"([0-9]+|0[xX][0-9A-Fa-f]*)")
"""As a name's last label: such a host is an address to some readers (127.1, 0x7f000001)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the camera wants to be shown."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """Where a camera serves its stream. ``host`` is a name in lower case or an IP address."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query, as they were given."""

    def __str__(self) -> str:
        """Write the address without credentials."""
        return f"{self.scheme}://{self._authority(self.host)}{self.rest}"

    @property
    def place(self) -> tuple[str, str, int]:
        """Who is called there; credentials belong to a place."""
        return self.scheme, self.host, self.port

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and no name."""
        return is_address(self.host)

    def at(self, address: str) -> str:
        """Write the address without credentials, with an IP address in place of the name."""
        return f"{self.scheme}://{self._authority(address)}{self.rest}"

    def for_media_server(self, address: str, credentials: Credentials | None) -> str:
        """Write what MediaMTX pulls: at ``address``, but by its name where TLS needs that."""
        host = self.host if self.scheme == "rtsps" else address
        shown = ""
        if credentials is not None:
            shown = (
                f"{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}@"
            )
        return f"{self.scheme}://{shown}{self._authority(host)}{self.rest}"

    def _authority(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == RTSP_PORTS[self.scheme] else f"{shown}:{self.port}"


def parse_source(text: str) -> tuple[SourceUrl, Credentials | None]:
    """Return the address, and the credentials that were written into it.

    Raises:
        InvalidInput: it is none, or one that can be read in two ways. No part of it is repeated.
    """
    _check_characters(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise bad_source("is not a URL") from None
    if parts.scheme not in RTSP_PORTS:
        raise bad_source("must be rtsp:// or rtsps://")
    if port == 0:
        raise bad_source("names no port")
    userinfo, _, _ = parts.netloc.rpartition("@")
    url = SourceUrl(
        scheme=parts.scheme,
        host=_host(parts),
        port=RTSP_PORTS[parts.scheme] if port is None else port,
        rest=_rest(parts),
    )
    return url, _credentials(userinfo)


def check_credentials(credentials: Credentials) -> None:
    """Raise InvalidInput unless MediaMTX can show these to a camera.

    MediaMTX 1.20.1 takes a name and a password or neither; a colon ends the name (RFC 7617, 2).
    """
    _check_text("source_username", credentials.username, MAX_USERNAME_CHARS)
    _check_text("source_password", credentials.password, MAX_PASSWORD_CHARS)
    if ":" in credentials.username:
        raise InvalidInput("source_username must hold no colon", field="source_username")


def is_address(host: str) -> bool:
    """Tell whether ``host`` is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def bad_source(what: str) -> InvalidInput:
    """Return the refusal; the URL may hold a password, so no part of it is repeated."""
    return InvalidInput(f"source_url {what}", field="source_url")


def _check_characters(text: str) -> None:
    if len(text) > MAX_SOURCE_CHARS:
        raise bad_source(f"has more than {MAX_SOURCE_CHARS} characters")
    if "#" in text:
        raise bad_source("must hold no fragment; a # that belongs to it is written %23")
    if not _CHARS.fullmatch(text):
        raise bad_source("holds characters that a URL may not hold, or a $; write them as %XX")
    if _BAD_ESCAPE.search(text):
        raise bad_source("holds a % that is no escape, or one of a control character")
    if text.count("@") > 1:
        raise bad_source("holds more than one @; one that belongs to it is written %40")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise bad_source("names no host")
    netloc = parts.netloc.rpartition("@")[2]
    if netloc.startswith("[") or ":" in host:
        if not netloc.startswith("[") or ":" not in host or not is_address(host) or "%" in host:
            raise bad_source("holds in brackets what is no IPv6 address; a zone is not taken")
        return str(ip_address(host))
    if is_address(host):
        return host
    if not _NAME.fullmatch(host):
        raise bad_source("names no host")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise bad_source("names a host that is neither a name nor an address of four numbers")
    return host


def _rest(parts: SplitResult) -> str:
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    if "@" in rest:
        raise bad_source("holds an @ behind its host; one that belongs to it is written %40")
    if "[" in rest or "]" in rest:
        raise bad_source("holds brackets behind its host; write them as %5B and %5D")
    return rest


def _credentials(userinfo: str) -> Credentials | None:
    if not userinfo:
        return None
    name, _, password = userinfo.partition(":")
    try:
        found = Credentials(*(unquote_to_bytes(part).decode() for part in (name, password)))
    except UnicodeDecodeError:
        raise bad_source("holds a user name or password that is not UTF-8") from None
    return found


def _check_text(name: str, text: str, most_chars: int) -> None:
    if not 1 <= len(text) <= most_chars:
        raise InvalidInput(f"{name} must have 1 to {most_chars} characters", field=name)
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise InvalidInput(f"{name} must hold no control characters", field=name)
