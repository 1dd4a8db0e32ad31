"""RTSP messages (RFC 2326) as far as a TCP relay needs them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

REASONS: Mapping[int, str] = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


# Path names that MediaMTX accepts (internal/conf/path.go).
_PATH_NAME = re.compile(r"[0-9a-zA-Z_\-/.~:]{1,512}")


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


_REQUEST_LINE = re.compile(r"([A-Z_]{1,32}) (\S+) RTSP/1\.\d")


_NUMBER = re.compile(r"[0-9]{1,9}")


_LAST_CHANNEL = 255  # one byte


_INTERLEAVED = re.compile(r"interleaved=(\d{1,3})-(\d{1,3})$")


class MalformedRequest(ValueError):
    """An unusable request; the client gets ``status`` and is disconnected."""

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its URL may hold a token and is not in the repr."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name; the last of repeated headers counts."""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; ``close`` ends the connection once it is sent."""

    status: int
    headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """A header with several values is sent as several lines."""
    body: bytes = b""
    close: bool = False

    def encode(self, cseq: str | None) -> bytes:
        """Encode it (RFC 2326 section 7), with the request's CSeq."""
        lines = [f"RTSP/1.0 {self.status} {REASONS.get(self.status, 'Status')}"]
        if cseq is not None:
            lines.append(f"CSeq: {cseq}")
        for name, value in self.headers.items():
            values = [value] if isinstance(value, str) else value
            lines += [f"{name}: {one}" for one in values]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The target of a request: ``path`` without its leading slash, ``query`` unchanged."""

    path: str
    query: str = field(repr=False)
    track: int | None = None


@dataclass(frozen=True, slots=True)
class RtspCredentials:
    """A client's credentials; empty if it sent none."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def absent(self) -> bool:
        """Whether there are none; only then MediaMTX sends a challenge."""
        return not (self.user or self.password or self.token)


def parse_head(head: bytes) -> Request:
    """Read a request line and its headers, without the blank line that ends them."""
    lines = head.decode("latin-1").split("\r\n")
    if not (words := _REQUEST_LINE.fullmatch(lines[0])):
        raise MalformedRequest("not an RTSP request line")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequest("a header without a colon")
        headers[name.strip().lower()] = value.strip()
    return Request(words[1], words[2], headers)


def body_length(request: Request, limit_bytes: int) -> int:
    """Return the announced length of the body."""
    value = request.headers.get("content-length", "0")
    if not _NUMBER.fullmatch(value):
        raise MalformedRequest("Content-Length is not a number")
    if int(value) > limit_bytes:
        raise MalformedRequest("the body is too large", status=413)
    return int(value)


def parse_target(url: str) -> RequestTarget:
    """Parse the URL of any method but a reader's SETUP; a trailing slash is ignored.

    FFmpeg appends to the whole URL, after the query; GStreamer to the path (see gortsplib's
    ``getPathAndQuery``).
    """
    path, query = _split(url)
    if query.endswith("/"):
        query = query[:-1]
    elif path.endswith("/"):
        path = path[:-1]
    return RequestTarget(_checked(path), query)


def parse_track_target(url: str) -> RequestTarget:
    """Read the URL of a reader's SETUP: ``/trackID=N`` after the query or after the path."""
    path, query = _split(url)
    rest, found, number = query.rpartition("/trackID=")
    if found:
        return RequestTarget(_checked(path), rest, _track(number))
    rest, found, number = path.rpartition("/trackID=")
    if found:
        return RequestTarget(_checked(rest), query, _track(number))
    raise MalformedRequest("no trackID in the URL")


def interleaved_channel(transport: str, default: int) -> int | None:
    """Return the RTP channel for a Transport header, None if it is not TCP. RTCP has the next channel.

    The first is even, as in every known client, so that parity distinguishes RTP from RTCP.
    """
    for offer in transport.split(","):
        words = [word.strip() for word in offer.split(";")]
        if words[0].upper() == "RTP/AVP/TCP":
            return _channel(words, default)
    return None


def credentials_of(request: Request, query: str) -> RtspCredentials:
    """Find user, password and token where MediaMTX v1.20 finds them (internal/auth/manager.go)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    user = password = ""
    if scheme.lower() == "basic":
        user, password = _basic(value)
    elif scheme.lower() == "digest" and (found := re.search(r'username="([^"]*)"', value)):
        user = found[1]
    return RtspCredentials(user, password, password or _query_token(query))


def _split(url: str) -> tuple[str, str]:
    if not url.startswith(("rtsp://", "rtsps://")):
        raise MalformedRequest("not an RTSP URL")
    whole, _, query = url.partition("?")
    authority_and_path = whole.partition("://")[2]
    return unquote(authority_and_path.partition("/")[2]), query


def _checked(path: str) -> str:
    if not _PATH_NAME.fullmatch(path) or path.startswith("/") or path.endswith("/"):
        raise MalformedRequest("not a path name")
    return path


def _track(number: str) -> int:
    if not _NUMBER.fullmatch(number):
        raise MalformedRequest("trackID is not a number")
    return int(number)


def _channel(words: list[str], default: int) -> int | None:
    for word in words:
        if found := _INTERLEAVED.match(word):
            first, second = int(found[1]), int(found[2])
            return (
                first
                if first % 2 == 0 and second == first + 1 and second <= _LAST_CHANNEL
                else None
            )
    return default


def _basic(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""  # as MediaMTX: an invalid header counts as none
    return user, password


def _query_token(query: str) -> str:
    if ";" in query or _BAD_ESCAPE.search(query):
        return ""  # as MediaMTX: Go's ParseQuery rejects the whole query, so there is no token
    values = parse_qs(query, keep_blank_values=True)
    for name in ("token", "jwt"):
        if len(values.get(name, [])) == 1:
            return values[name][0]
    return ""
