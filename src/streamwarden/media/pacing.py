"""How fast processes may be spawned: a token bucket, as a value of the monotonic clock.

A start costs 0.2 s of a core. Fifty at once starve each other and everything that already records;
spread out, each has its first frame sooner.
"""

from __future__ import annotations


class Pacer:
    """Allows ``burst`` spawns at once, and one more every ``interval_s`` seconds."""

    def __init__(self, *, interval_s: float, burst: int) -> None:
        if interval_s <= 0 or burst < 1:
            raise ValueError("a pace needs an interval above 0 and a burst of at least 1")
        self._interval_s = interval_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s: float | None = None

    def take(self, now: float) -> bool:
        """Use up one spawn if the pace allows it now."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait_s(self, now: float) -> float:
        """Return how long it is until ``take`` would succeed."""
        self._refill(now)
        return max(0.0, (1 - self._tokens) * self._interval_s)

    def _refill(self, now: float) -> None:
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at_s) / self._interval_s)
        self._at_s = now
