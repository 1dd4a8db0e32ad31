"""Which address a request came from, behind proxies that are trusted and those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import falcon

_MOST_HOPS: Final = 16
_MOST_CHARS: Final = 1024
_V6_PREFIX: Final = 64
"""Of an IPv6 address: one customer has at least that much to choose from (RFC 6177)."""

_Address = IPv4Address | IPv6Address


class Proxies:
    """The proxies whose X-Forwarded-For is believed, by address or network."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(each) for each in networks]

    def __contains__(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """Return who asks: from right to left, the first that is no proxy of ours.

        Each proxy appends the address that it saw, so only what trusted ones wrote is believed: from
        the first stranger on, everything to the left is the stranger's own word.
        """
        seen = _read(peer)
        if seen is None:
            return peer
        hops = forwarded_for.split(",")[-_MOST_HOPS:] if len(forwarded_for) <= _MOST_CHARS else []
        for hop in reversed(hops):
            if seen not in self:
                break
            named = _read(hop.strip())
            if named is None:
                break
            seen = named
        return str(seen)


NO_PROXIES: Final = Proxies()


def client_address(req: falcon.Request, proxies: Proxies) -> str:
    """Return the address that ``req`` came from."""
    return proxies.client(req.remote_addr or "", req.get_header("X-Forwarded-For") or "")


def neighbourhood(address: str) -> str:
    """Return what stands for everyone who can choose among such addresses: IPv6 by its /64."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _V6_PREFIX), strict=False))
    return address


def _read(text: str) -> _Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
