"""Rate limits by user or client address, and the address of a client behind trusted proxies.

The generic cell rate algorithm (ITU-T I.371, annex A): a key may make a minute's calls at once and
regains them evenly. One number a key, bounded in memory, on the monotonic clock and without a thread:
the library `limits` has none of these.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import falcon

from streamwarden.errors import TooManyRequests
from streamwarden.http.operations import RateClass

WINDOW_S: Final = 60.0
MOST_KEYS: Final = 10_000
HEAVY_PER_MINUTE: Final = 600
"""A wall of cameras is some hundred pictures a minute; a playlist of a day counts as thirty calls."""
SHARES_PER_MINUTE: Final = 60
_SHARED_KEY: Final = ""
"""Shared bucket once `MOST_KEYS` is reached. No user or address is empty."""
_MOST_HOPS: Final = 16
_MOST_CHARS: Final = 1024
_V6_PREFIX: Final = 64
"""One customer has at least this prefix to choose addresses from (RFC 6177)."""
_Address = IPv4Address | IPv6Address


class Proxies:
    """The proxies whose X-Forwarded-For is trusted, by address or network."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(each) for each in networks]

    def __contains__(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def trust(self, peer: str) -> bool:
        """Whether ``peer`` is the address of one of them."""
        address = _read(peer)
        return address is not None and address in self

    def client(self, peer: str, forwarded_for: str) -> str:
        """Return the client's address: from right to left, the first that is no trusted proxy.

        Each proxy appends the address of its peer, so only entries of trusted proxies count: entries
        to the left of the first other address are claims of that client.
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
    """Return the client's address of a request."""
    return proxies.client(req.remote_addr or "", req.get_header("X-Forwarded-For") or "")


def neighbourhood(address: str) -> str:
    """Return the key of an address: IPv4 itself, IPv6 its /64, from which a client may choose."""
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


class RateLimit:
    """A limit of calls per minute for each key. Any thread."""

    def __init__(
        self,
        per_minute: int,
        *,
        now: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._each_s = WINDOW_S / per_minute
        self._now = now
        self._most_keys = most_keys
        self._paid_until: dict[str, float] = {}
        self._forget_after = 0.0
        self._lock = threading.Lock()

    def charge(self, key: str, calls: int) -> None:
        """Count further calls for one that was allowed, and turned out to be so much work."""
        now = self._now()
        with self._lock:
            if key in self._paid_until:
                self._paid_until[key] = max(self._paid_until[key], now) + calls * self._each_s

    def take(self, key: str) -> float:
        """Count one call and return 0, or return the seconds until one is allowed and count none."""
        now = self._now()
        with self._lock:
            if key not in self._paid_until and len(self._paid_until) >= self._most_keys:
                key = self._room_for(key, now)
            until = max(self._paid_until.get(key, now), now) + self._each_s
            wait_s = until - now - WINDOW_S
            if wait_s > self._each_s * 1e-6:  # not for a rounding error in the minute's last call
                return wait_s
            self._paid_until[key] = until
            return 0.0

    def _room_for(self, key: str, now: float) -> str:
        """Drop keys that have regained all calls; at most once a second, as it reads every key."""
        if now >= self._forget_after:
            self._forget_after = now + 1.0
            self._paid_until = {k: until for k, until in self._paid_until.items() if until > now}
        return key if len(self._paid_until) < self._most_keys else _SHARED_KEY

    def __len__(self) -> int:
        return len(self._paid_until)


class RateLimits:
    """The rate limits of the user API. Internal ports have none: a limit there would stop recordings."""

    def __init__(
        self,
        *,
        connects: int,
        signings: int,
        failed_sign_ins: int,
        heavy: int = HEAVY_PER_MINUTE,
        shares: int = SHARES_PER_MINUTE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of_user: dict[RateClass, RateLimit] = {
            "connect": RateLimit(connects, now=now),
            "sign": RateLimit(signings, now=now),
            "heavy": RateLimit(heavy, now=now),
            "share": RateLimit(shares, now=now),
        }
        self._failed = RateLimit(failed_sign_ins, now=now)

    def call(self, rate_class: RateClass, user: str) -> None:
        """Count a call of ``user``; raise TooManyRequests."""
        _allow(self._of_user[rate_class].take(user), "you have called this too often")

    def charge(self, rate_class: RateClass, user: str, calls: int) -> None:
        """Count a call of ``user`` as so many more, for what it has read."""
        self._of_user[rate_class].charge(user, calls)

    def failed_sign_in(self, address: str) -> None:
        """Count a sign-in that failed; raise TooManyRequests."""
        wait_s = self._failed.take(neighbourhood(address))
        _allow(wait_s, "too many sign-ins have failed from your address")


def _allow(wait_s: float, detail: str) -> None:
    if wait_s > 0:
        raise TooManyRequests(detail, retry_after_s=max(1, math.ceil(wait_s)))
