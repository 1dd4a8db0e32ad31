"""How fast processes may be spawned: a token bucket on the monotonic clock, and who waits for it.

A start costs 0.2 s of a core. Fifty at once starve each other and everything that already records;
spread out, each has its first frame sooner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from streamwarden.media.command import RunOrder

C = TypeVar("C")


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


class SpawnQueue(Generic[C]):
    """Orders that wait for the pace, first come first served; ``C`` is what a camera is known by."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._waiting: deque[tuple[C, RunOrder]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, camera: C, order: RunOrder) -> None:
        """Put an order at the end."""
        self._waiting.append((camera, order))

    def drop_all(self, camera: C) -> None:
        """Forget a camera's orders."""
        self._waiting = deque(item for item in self._waiting if item[0] is not camera)

    def drop(self, camera: C, run: int) -> bool:
        """Forget one order; False when it does not wait here."""
        before = len(self._waiting)
        self._waiting = deque(
            item for item in self._waiting if item[0] is not camera or item[1].run != run
        )
        return len(self._waiting) < before

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()

    def due(self, now: float) -> Iterator[tuple[C, RunOrder]]:
        """Take out, in order, what the pace allows at ``now``."""
        while self._waiting and self._pacer.take(now):
            yield self._waiting.popleft()

    def wait_s(self, now: float) -> float | None:
        """Return how long it is until one is due; None when none waits."""
        return self._pacer.wait_s(now) if self._waiting else None
