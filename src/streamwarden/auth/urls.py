"""RTSP URLs that carry a token: how they are made, judged, and kept out of logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from streamwarden.auth import jwts
from streamwarden.errors import InvalidInput

MAX_URL_CHARS = 4096
PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}")
"""Of a stream at the media server, without its leading slash."""
_QUERY = re.compile(r"(token=[A-Za-z0-9._~-]*)?")
RTSP_PORTS = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, 4.2."""
_URL_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
_HIDDEN = "***"


def internal_url(base: str, path: str, token: str) -> str:
    """Return what FFmpeg reads: ``{base}/{path}?token=...``."""
    return _with_token(base, path, token)


def publish_url(base: str, path: str, token: str) -> str:
    """Return what a camera pushes to: ``{base}/{path}?token=...``."""
    return _with_token(base, path, token)


def token_expiry(url: str) -> float | None:
    """Return when the URL's token claims to expire, in seconds since 1970.

    Unverified, so only for asking whether to mint a new one. None where there is no readable token.
    """
    try:
        fields = parse_qsl(urlsplit(url).query, max_num_fields=32)
    except ValueError:
        return None
    tokens = [value for name, value in fields if name == "token"]
    return jwts.unverified_expiry(tokens[0]) if len(tokens) == 1 else None


@dataclass(frozen=True, slots=True)
class Target:
    """Where an RTSP URL leads: a host in lower case, and a port (the scheme's own where it has none)."""

    host: str
    port: int


def check_rtsp_url(url: str) -> Target:
    """Return where ``url`` leads; raise InvalidInput(field="rtsp_url") unless it is one of ours.

    Only rtsp and rtsps, no user part, a stream's path, and nothing in the query but one token. The
    characters are checked before the URL is taken apart: urlsplit drops tabs and line ends, FFmpeg
    does not.
    """
    if len(url) > MAX_URL_CHARS:
        raise bad_url(f"has more than {MAX_URL_CHARS} characters")
    if not _URL_CHARS.fullmatch(url):
        raise bad_url("holds characters that a URL may not hold")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad_url("is not a URL") from None
    if parts.scheme not in RTSP_PORTS:
        raise bad_url("must be rtsp:// or rtsps://")
    if "@" in parts.netloc:
        raise bad_url("must hold no user or password")
    if not host:
        raise bad_url("names no host")
    if not PATH.fullmatch(parts.path[1:]) or not _QUERY.fullmatch(parts.query) or "#" in url:
        raise bad_url("must end with a stream's path and its token")
    return Target(host, RTSP_PORTS[parts.scheme] if port is None else port)


def redact(text: str) -> str:
    """Return ``text`` without tokens, passwords in URLs, bearer values and the like."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return ``redact`` that also hides these very values, wherever they turn up."""
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not known:
        return redact
    pattern = re.compile("|".join(re.escape(secret) for secret in known))
    return lambda text: redact(pattern.sub(_HIDDEN, text))


_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A JWT, whole or cut short: its header is JSON, so its text starts with the base64url of '{"'.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"), _HIDDEN),
    # The password of a URL's user part; up to the last @, as FFmpeg and urllib both read it.
    (re.compile(r"(://[^\s/?#:@]*:)[^\s/?#]*(?=@)"), rf"\g<1>{_HIDDEN}"),
    # A query's token, also of a query that is itself quoted.
    (re.compile(r"(?i)((?:token|jwt)(?:=|%3D))[A-Za-z0-9._~%+/=*-]+"), rf"\g<1>{_HIDDEN}"),
    # A libpq conninfo's or a query's password.
    (re.compile(r"""(?i)((?:password|passwd|secret)=)[^\s&#"'<>]+"""), rf"\g<1>{_HIDDEN}"),
    (re.compile(r"""(?i)(\b(?:bearer|basic)\s{1,8})[^\s"',]+"""), rf"\g<1>{_HIDDEN}"),
    (
        re.compile(r"""(?i)(\bx-internal-token["']?\s{0,8}[:=,]\s{0,8}["']?)[^\s"',]+"""),
        rf"\g<1>{_HIDDEN}",
    ),
)


def _with_token(base: str, path: str, token: str) -> str:
    return f"{base.rstrip('/')}/{quote(path)}?token={quote(token, safe='')}"


def bad_url(what: str) -> InvalidInput:
    """Return the refusal; the URL may hold a token, so no part of it is repeated."""
    return InvalidInput(f"rtsp_url {what}", field="rtsp_url")
