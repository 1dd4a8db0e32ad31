"""Addresses of cameras that serve RTSP: parsed strictly, and allowed by ``SOURCE_NETWORKS``.

MediaMTX (Go's ``net/url``, and gortsplib's own rule for ``@``) and FFmpeg parse the same text again, so
a URL that two parsers may read differently is refused.

Cameras are usually in private networks, so these are the default. Loopback, link-local and similar
addresses would have the media server call this machine, a neighbour's service or a cloud's metadata;
they are allowed only by an entry inside that special network, not by a wider one that contains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit

from streamwarden.auth.rtsp_urls import RTSP_PORTS, Address, Resolve, address_of, resolve
from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.credentials import CameraCredentials

_Network = IPv4Network | IPv6Network

MAX_SOURCE_CHARS: Final = 1024
_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!&'()*+,;=%-]+")
"""RFC 3986 without ``#`` and ``$``: MediaMTX substitutes ``$G1`` and ``$MTX_QUERY`` from readers."""
_EMPTY_PASSWORD: Final = "$MTX_QUERY"  # noqa: S105 - it stands for no password
"""MediaMTX 1.20.1 refuses a user without a password. When it connects it replaces this by the reader's
query, and a path that is not on demand is pulled for no reader: with an empty one."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%[01][0-9A-Fa-f]|%7[Ff]")
_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_NUMBER = re.compile(r"([0-9]+|0[xX][0-9A-Fa-f]*)")
"""A last label like this makes the host an address for some parsers (127.1, 0x7f000001)."""
_SPECIAL: Final[tuple[tuple[_Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("127.0.0.0/8", "this machine itself"),
        ("0.0.0.0/8", "no host"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/96", "this machine itself, or no host"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a reserved address"),
        ("ff00::/8", "a multicast address"),
        # Translations of IPv4 addresses (RFC 6052, 8215, 4380, 3056), and a cloud's metadata.
        ("64:ff9b::/96", "a translated address"),
        ("64:ff9b:1::/48", "a translated address"),
        ("2001::/32", "a translated address"),
        ("2002::/16", "a translated address"),
        ("fd00:ec2::/32", "a cloud's own services"),
    )
)


MASK: Final = "***"
_NAMED_VALUE = re.compile(r"(?<=[/?&;,=])([^/?&;,=]+)=([^&;?]*)")
_SECRET_NAME = re.compile(
    r".*(pass|pwd|psw|secret|token|auth|credential|signature|api[_-]?key|stream[_-]?key).*"
    r"|.*pas|pw|key|sig|sid|session(id)?|hash|code|pin|otp"
)
"""Parameters of cameras' addresses that let in, such as ``/user=admin&password=x`` or ``?auth=x``."""


def masked_rest(rest: str) -> str:
    """Return a path and query with the values of such parameters masked, the same where there are none.

    A value ends at ``&``, ``;`` or ``?``: a slash may be part of a password.
    """
    shown, place = [], 0
    while (found := _NAMED_VALUE.search(rest, place)) is not None:
        name = unquote(found[1]).strip().lower()
        if _SECRET_NAME.fullmatch(name.rpartition(".")[2]) and found[2]:
            shown += [rest[place : found.start(2)], MASK]
            place = found.end(2)
        else:
            shown.append(rest[place : found.end(1)])
            place = found.end(1)
    return "".join(shown) + rest[place:]


def shown_source(text: str) -> str:
    """Return a stored address without secrets, for who administers or owns the camera."""
    parts = urlsplit(text)
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{masked_rest(rest)}"


def source_host(text: str) -> str:
    """Return scheme, host and port alone, for a guest: the path may tell of a secret."""
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class SourceNotAllowed(InvalidInput):
    """The camera's address is not allowed."""

    code = "source_not_allowed"


class SourceUnresolved(InvalidInput):
    """The camera's name does not resolve."""

    code = "source_unresolved"


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """The URL of a camera's stream. ``host`` is a name in lower case or an IP address."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query as given."""

    def __str__(self) -> str:
        """Return the URL, without credentials."""
        return f"{self.scheme}://{self._authority(self.host)}{self.rest}"

    @property
    def masked(self) -> SourceUrl:
        """The URL as it is stored and shown: without the secrets in its path and query."""
        return replace(self, rest=masked_rest(self.rest))

    def with_secrets(self, credentials: CameraCredentials | None) -> SourceUrl:
        """Return the URL with the secrets that were masked in it; others belong to another URL."""
        rest = "" if credentials is None else credentials.rest
        return replace(self, rest=rest) if rest and masked_rest(rest) == self.rest else self

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454); credentials belong to one origin."""
        return self.scheme, self.host, self.port

    @property
    def is_address(self) -> bool:
        """True where the host is an IP address, not a name."""
        return is_address(self.host)

    def at(self, address: str) -> str:
        """Return the URL with an IP address in place of the name, without credentials."""
        return f"{self.scheme}://{self._authority(address)}{self.rest}"

    def for_media_server(self, address: str, credentials: CameraCredentials | None) -> str:
        """Return the URL that MediaMTX pulls: with ``address``, or with the name where TLS needs it."""
        host = self.host if self.scheme == "rtsps" else address
        userinfo = ""
        if credentials is not None and credentials.username:
            password = quote(credentials.password, safe="") or _EMPTY_PASSWORD
            userinfo = f"{quote(credentials.username, safe='')}:{password}@"
        whole = self.with_secrets(credentials)
        return f"{self.scheme}://{userinfo}{self._authority(host)}{whole.rest}"

    def _authority(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == RTSP_PORTS[self.scheme] else f"{shown}:{self.port}"


@dataclass(frozen=True, slots=True)
class SourceTargets:
    """The hosts that cameras may be pulled from.

    ``allowed`` are networks, addresses and names; ``own`` are the hosts of streamwarden itself.
    """

    allowed: tuple[str, ...]
    own: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of ``host``, all of them allowed, IPv4 first.

        Raises:
            SourceNotAllowed: one of them is not allowed.
            SourceUnresolved: the name has no address now.
        """
        if host in self.own and host not in self.allowed and address_of(host) is None:
            raise _own_refused("that name and its address themselves")
        found = sorted(self._resolved(host), key=lambda each: (each.version, int(each)))
        own = {each for name in self.own for each in self._own_addresses(name)}
        for address in found:
            self._check(host, address, own)
        return tuple(str(each) for each in found)

    def _resolved(self, host: str) -> set[Address]:
        literal = address_of(host)
        if literal is not None:
            return {literal}
        try:
            found = {address_of(each) for each in self.resolve(host)}
        except (OSError, UnicodeError):
            found = set()
        if not found or None in found:
            raise SourceUnresolved("the host of source_url cannot be resolved", field="source_url")
        return {each for each in found if each is not None}

    def _own_addresses(self, name: str) -> set[Address]:
        try:
            return self._resolved(name)
        except SourceUnresolved:
            return set()  # its name was compared above

    def _check(self, host: str, address: Address, own: set[Address]) -> None:
        if address in own and not self._names(address):
            raise _own_refused("that address itself")
        for special, what in _SPECIAL:
            if _within(address, special):
                if not any(
                    _inside(entry, special) and address in entry for entry in self._networks()
                ):
                    raise _refused(what)
                return
        if host not in self.allowed and not any(
            _within(address, entry) for entry in self._networks()
        ):
            raise _refused("a network that is not listed there")

    def _names(self, address: Address) -> bool:
        """Return whether an entry is exactly this address."""
        return any(entry.num_addresses == 1 and address in entry for entry in self._networks())

    def _networks(self) -> Iterator[_Network]:
        for entry in self.allowed:
            try:
                yield ip_network(entry)
            except ValueError:
                continue  # a name


def parse_source(text: str) -> tuple[SourceUrl, CameraCredentials | None]:
    """Return the URL, and the credentials in it.

    Raises:
        InvalidInput: not a URL of a camera, or ambiguous. The message repeats no part of it.
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
    return url, _credentials_of_userinfo(userinfo)


def is_address(host: str) -> bool:
    """Return whether ``host`` is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def bad_source(what: str) -> InvalidInput:
    """Return the error. The URL may hold a password, so ``what`` repeats no part of it."""
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


def _credentials_of_userinfo(userinfo: str) -> CameraCredentials | None:
    if not userinfo:
        return None
    name, _, password = userinfo.partition(":")
    try:
        found = CameraCredentials(*(unquote_to_bytes(part).decode() for part in (name, password)))
    except UnicodeDecodeError:
        raise bad_source("holds a user name or password that is not UTF-8") from None
    return found


def _within(address: Address, network: _Network) -> bool:
    return address.version == network.version and address in network


def _inside(entry: _Network, special: _Network) -> bool:
    if isinstance(entry, IPv4Network):
        return isinstance(special, IPv4Network) and entry.subnet_of(special)
    return isinstance(special, IPv6Network) and entry.subnet_of(special)


def _refused(what: str) -> SourceNotAllowed:
    error = bad_source(f"leads to {what}; STREAMWARDEN_SOURCE_NETWORKS says what is allowed")
    return SourceNotAllowed(str(error), field=error.field)


def _own_refused(entries: str) -> SourceNotAllowed:
    error = bad_source(
        f"points to one of streamwarden's own hosts; list {entries} in STREAMWARDEN_SOURCE_NETWORKS "
        "(a network that contains it is not enough)"
    )
    return SourceNotAllowed(str(error), field=error.field)
