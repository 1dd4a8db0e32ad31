"""RTSP URLs that carry a token: built, checked against allowed hosts, and redacted from logs.

The host of ``RTSP_INTERNAL_URL`` is always allowed, also where it resolves to a private address, as it
usually does: a person who can change that name's address already controls the source of the recordings.
A further host that is a name must resolve to public addresses only, or to addresses that
``RTSP_ALLOWED_HOSTS`` lists too; otherwise FFmpeg could be sent to loopback, link-local or private
addresses that are not configured.
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
from streamwarden.model import STREAM_PATH

Resolve = Callable[[str], Collection[str]]
"""Returns the addresses of a name; raises OSError."""
Address = IPv4Address | IPv6Address

MAX_URL_CHARS = 4096
RTSP_PORTS = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, 4.2."""
_USUAL_PORTS: Final = frozenset({554, 322, 8554, 8322})
"""The ports of RTSP and of MediaMTX: those of a host that is allowed without a port."""
_QUERY = re.compile(r"(token=[A-Za-z0-9._~-]*)?")
_URL_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
_HIDDEN = "***"


def internal_url(base: str, path: str, token: str) -> str:
    """Return the URL that FFmpeg reads: ``{base}/{path}?token=...``."""
    return _with_token(base, path, token)


def publish_url(base: str, path: str, token: str) -> str:
    """Return the URL that a camera publishes to: ``{base}/{path}?token=...``."""
    return _with_token(base, path, token)


def token_expiry(url: str) -> float | None:
    """Return the unverified ``exp`` of the URL's token, in seconds since 1970.

    Only for the decision whether to ask for a new token. None where no token can be read.
    """
    try:
        fields = parse_qsl(urlsplit(url).query, max_num_fields=32)
    except ValueError:
        return None
    tokens = [value for name, value in fields if name == "token"]
    return jwts.unverified_expiry(tokens[0]) if len(tokens) == 1 else None


@dataclass(frozen=True, slots=True)
class RtspTarget:
    """The host of an RTSP URL in lower case, and its port (the scheme's default where it has none)."""

    host: str
    port: int


def check_rtsp_url(url: str) -> RtspTarget:
    """Return the host and port of ``url``; raise InvalidInput(field="rtsp_url") for any other URL.

    Allowed are rtsp and rtsps, no user part, a stream's path, and at most a token in the query. The
    characters are checked before the URL is parsed: urlsplit drops tabs and line ends, FFmpeg does not.
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
    if not STREAM_PATH.fullmatch(parts.path[1:]) or not _QUERY.fullmatch(parts.query) or "#" in url:
        raise bad_url("must end with a stream's path and its token")
    return RtspTarget(host, RTSP_PORTS[parts.scheme] if port is None else port)


def redact(text: str) -> str:
    """Return ``text`` without tokens, passwords, bearer values and similar secrets."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a ``redact`` that also hides these values everywhere."""
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not known:
        return redact
    pattern = re.compile("|".join(re.escape(secret) for secret in known))
    return lambda text: redact(pattern.sub(_HIDDEN, text))


_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A JWT, whole or truncated: its header is JSON, so it begins with the base64url of '{"'.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"), _HIDDEN),
    # The password in a URL's user part, up to the last @, as FFmpeg and urllib parse it.
    (re.compile(r"(://[^\s/?#:@]*:)[^\s/?#]*(?=@)"), rf"\g<1>{_HIDDEN}"),
    # A token in a query, also in a percent-encoded one.
    (re.compile(r"(?i)((?:token|jwt)(?:=|%3D))[A-Za-z0-9._~%+/=*-]+"), rf"\g<1>{_HIDDEN}"),
    # A password in a libpq connection string or in a query.
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
    """Return the error. The URL may hold a token, so ``what`` repeats no part of it."""
    return InvalidInput(f"rtsp_url {what}", field="rtsp_url")


def resolve(name: str) -> Collection[str]:
    """Return the addresses to which this machine resolves a name."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return {str(each[4][0]).partition("%")[0] for each in found}


@dataclass(frozen=True, slots=True)
class RtspTargets:
    """The hosts that FFmpeg may read from.

    ``own`` is RTSP_INTERNAL_URL; ``allowed`` are hosts with or without a port, and networks.
    """

    own: str
    allowed: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def check(self, url: str) -> None:
        """Raise unless FFmpeg may read ``url``.

        FFmpeg resolves the name again and may get another address. A server there would receive one
        RTSP request for one path with a token for that path.

        Raises:
            InvalidInput: the host is not allowed; the field is ``rtsp_url``.
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

    def _names(self, target: RtspTarget) -> bool:
        """Return whether the list has exactly this name or address, with this port."""
        return any(
            host == target.host
            and (target.port in _USUAL_PORTS if port is None else port == target.port)
            for host, port in map(split_host, self.allowed)
        )

    def _lists(self, target: RtspTarget, addresses: Iterable[Address]) -> bool:
        """Return whether the list has every address, alone or in a network, for a usual port."""
        if self._names(target):
            return True
        networks = [ip_network(each) for each in self.allowed if "/" in each]
        inside = all(any(each in network for network in networks) for each in addresses)
        return inside and target.port in _USUAL_PORTS

    def _check_resolved(self, target: RtspTarget) -> None:
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
    """Return ``text`` as an address, IPv4 where it is an IPv4-mapped one; None for a name."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
