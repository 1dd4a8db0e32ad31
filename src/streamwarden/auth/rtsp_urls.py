"""RTSP URLs that carry a token: how they are made, judged, and kept out of logs.

Where FFmpeg may be sent: hosts that are configured, and what their names turn into.

The media server of ``RTSP_INTERNAL_URL`` is allowed by definition, whatever its name resolves to: it
usually is a private address, and who can change that name's answer already stands where recordings
come from. A further host that is a name must resolve to public addresses alone, or to addresses that
``RTSP_ALLOWED_HOSTS`` lists too: a name that turns into loopback, link-local or private space that
nobody configured would make FFmpeg knock on doors inside.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from streamwarden.auth import jwts
from streamwarden.errors import InvalidInput, Unavailable

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


Resolve = Callable[[str], Collection[str]]
"""Returns a name's addresses; raises OSError."""


_USUAL_PORTS: Final = frozenset({554, 322, 8554, 8322})
"""RTSP's own and MediaMTX's: those of a host that is allowed without a port."""


Address = IPv4Address | IPv6Address


def resolve(name: str) -> Collection[str]:
    """Return the addresses that this machine finds for a name."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return {str(each[4][0]).partition("%")[0] for each in found}


@dataclass(frozen=True, slots=True)
class RtspTargets:
    """``own`` is RTSP_INTERNAL_URL; ``allowed`` are hosts with or without a port, and networks."""

    own: str
    allowed: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def check(self, url: str) -> None:
        """Raise unless FFmpeg may be given ``url``.

        Between this look at a name and FFmpeg's own its answer may change. What could then be
        reached is sent an RTSP request for one path with a token for that path, and nothing else.

        Raises:
            InvalidInput: not there; field ``rtsp_url``.
            Unavailable: its name cannot be resolved now.
        """
        target = check_rtsp_url(url)
        if target.port == 0:
            raise bad_url("names no port")
        own = urlsplit(self.own)
        if target.host == own.hostname:
            if target.port != (own.port or RTSP_PORTS[own.scheme]):
                raise bad_url("names a port that is not configured")
            return
        literal = address_of(target.host)
        if literal is not None:
            if not self._lists(target, [literal]):
                raise bad_url("names a host that is not configured")
        elif not self._names(target):
            raise bad_url("names a host that is not configured")
        else:
            self._check_resolved(target)

    def _names(self, target: Target) -> bool:
        """Tell whether the host is listed by this very name (or address), and the port with it."""
        return any(
            host == target.host
            and (target.port in _USUAL_PORTS if port is None else port == target.port)
            for host, port in map(split_host, self.allowed)
        )

    def _lists(self, target: Target, addresses: Iterable[Address]) -> bool:
        """Tell whether every address is listed, alone or in a network, for a usual port."""
        if self._names(target):
            return True
        networks = [ip_network(each) for each in self.allowed if "/" in each]
        inside = all(any(each in network for network in networks) for each in addresses)
        return inside and target.port in _USUAL_PORTS

    def _check_resolved(self, target: Target) -> None:
        try:
            found = [address_of(each) for each in self.resolve(target.host)]
        except (OSError, UnicodeError):
            raise Unavailable("the host of rtsp_url cannot be resolved") from None
        for address in found:
            if address is None or not (address.is_global or self._is_listed(address)):
                raise bad_url("names a host that turns into an address that is not configured")
        if not found:
            raise Unavailable("the host of rtsp_url cannot be resolved")

    def _is_listed(self, address: Address) -> bool:
        for entry in self.allowed:
            if "/" in entry and address in ip_network(entry):
                return True
            if address_of(split_host(entry)[0]) == address:
                return True
        return False


def split_host(entry: str) -> tuple[str, int | None]:
    """Return the host of ``host``, ``host:port`` or ``[v6]:port``, and the port if there is one."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, int(rest[1:]) if rest[1:] else None
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, int(port)
    return entry, None


def address_of(text: str) -> Address | None:
    """Return the address that ``text`` is, an IPv4 one where it is mapped; None for a name."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
