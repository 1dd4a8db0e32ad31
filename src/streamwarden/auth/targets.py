"""Where FFmpeg may be sent: hosts that are configured, and what their names turn into.

The media server of ``RTSP_INTERNAL_URL`` is allowed by definition, whatever its name resolves to: it
usually is a private address, and who can change that name's answer already stands where recordings
come from. A further host that is a name must resolve to public addresses alone, or to addresses that
``RTSP_ALLOWED_HOSTS`` lists too: a name that turns into loopback, link-local or private space that
nobody configured would make FFmpeg knock on doors inside.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from streamwarden.auth.urls import RTSP_PORTS, Target, bad_url, check_rtsp_url
from streamwarden.errors import Unavailable

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
