"""Where cameras may be pulled from: ``SOURCE_NETWORKS``, and what a name turns into.

Cameras stand in private networks, so these are allowed where nothing is set. What would have the media
server call this machine, its neighbours' services or a cloud's metadata is allowed only if an entry
means exactly that: a wide network that happens to hold it is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from streamwarden.auth.source_urls import bad_source
from streamwarden.auth.targets import Address, Resolve, address_of, resolve
from streamwarden.errors import InvalidInput

_Network = IPv4Network | IPv6Network

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
        # Addresses that stand for IPv4 ones (RFC 6052, 8215, 4380, 3056), and a cloud's metadata.
        ("64:ff9b::/96", "a translated address"),
        ("64:ff9b:1::/48", "a translated address"),
        ("2001::/32", "a translated address"),
        ("2002::/16", "a translated address"),
        ("fd00:ec2::/32", "a cloud's own services"),
    )
)


class SourceNotAllowed(InvalidInput):
    """The camera's address is one that nobody has allowed."""

    code = "source_not_allowed"


class SourceUnresolved(InvalidInput):
    """The camera's name turns into no address now."""

    code = "source_unresolved"


@dataclass(frozen=True, slots=True)
class SourceTargets:
    """``allowed`` are networks, addresses and names; ``own`` the hosts that serve streamwarden itself."""

    allowed: tuple[str, ...]
    own: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return what ``host`` turns into, in a fixed order, IPv4 first; every one is allowed.

        Raises:
            SourceNotAllowed: one of them is not.
            SourceUnresolved: it turns into none now.
        """
        if host in self.own and host not in self.allowed and address_of(host) is None:
            raise _refused("a host of streamwarden's own")
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
            return set()  # compared by its name above

    def _check(self, host: str, address: Address, own: set[Address]) -> None:
        if address in own and not self._names(address):
            raise _refused("a host of streamwarden's own")
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
        """Tell whether an entry is this very address."""
        return any(entry.num_addresses == 1 and address in entry for entry in self._networks())

    def _networks(self) -> Iterator[_Network]:
        for entry in self.allowed:
            try:
                yield ip_network(entry)
            except ValueError:
                continue  # a name


def _within(address: Address, network: _Network) -> bool:
    return address.version == network.version and address in network


def _inside(entry: _Network, special: _Network) -> bool:
    if isinstance(entry, IPv4Network):
        return isinstance(special, IPv4Network) and entry.subnet_of(special)
    return isinstance(special, IPv6Network) and entry.subnet_of(special)


def _refused(what: str) -> SourceNotAllowed:
    said = bad_source(f"leads to {what}; STREAMWARDEN_SOURCE_NETWORKS says what is allowed")
    return SourceNotAllowed(str(said), field=said.field)
