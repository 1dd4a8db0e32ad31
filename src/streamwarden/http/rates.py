"""How often somebody may call: by user, or by address where nobody could be told.

Each key has a minute's worth of calls at once and gets them back evenly: the generic cell rate
algorithm (ITU-T I.371, annex A), one number a key. Bounded in memory, on the monotonic clock, without
a thread: the library `limits` has none of the three.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from streamwarden.errors import TooManyRequests
from streamwarden.http.addresses import neighbourhood
from streamwarden.http.operations import Rated

WINDOW_S: Final = 60.0
MOST_KEYS: Final = 10_000
_TOGETHER: Final = ""
"""The key of all who come when there is no room for keys of their own. No user or address is empty."""


class Rate:
    """So many calls a minute for each key. Any thread."""

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

    def take(self, key: str) -> float:
        """Count one call; return 0, or how many seconds until the next is allowed (none counted)."""
        now = self._now()
        with self._lock:
            if key not in self._paid_until and len(self._paid_until) >= self._most_keys:
                key = self._room_for(key, now)
            until = max(self._paid_until.get(key, now), now) + self._each_s
            wait_s = until - now - WINDOW_S
            if wait_s > self._each_s * 1e-6:  # rounding: the last call of the minute's worth counts
                return wait_s
            self._paid_until[key] = until
            return 0.0

    def _room_for(self, key: str, now: float) -> str:
        """Forget who has all calls back, at most once a second: with very many keys it takes a while."""
        if now >= self._forget_after:
            self._forget_after = now + 1.0
            self._paid_until = {k: until for k, until in self._paid_until.items() if until > now}
        return key if len(self._paid_until) < self._most_keys else _TOGETHER

    def __len__(self) -> int:
        return len(self._paid_until)


class Rates:
    """The limits of one role. The internal ports have none: a limit there would stop recordings."""

    def __init__(
        self,
        *,
        connects: int,
        signings: int,
        failed_sign_ins: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of_user: dict[Rated, Rate] = {
            "connect": Rate(connects, now=now),
            "sign": Rate(signings, now=now),
        }
        self._failed = Rate(failed_sign_ins, now=now)

    def call(self, rated: Rated, user: str) -> None:
        """Count a call of ``user``; raise TooManyRequests."""
        _allow(self._of_user[rated].take(user), "you have called this too often")

    def failed_sign_in(self, address: str) -> None:
        """Count a sign-in that failed; raise TooManyRequests."""
        wait_s = self._failed.take(neighbourhood(address))
        _allow(wait_s, "too many sign-ins have failed from your address")


def _allow(wait_s: float, detail: str) -> None:
    if wait_s > 0:
        raise TooManyRequests(detail, retry_after_s=max(1, math.ceil(wait_s)))
