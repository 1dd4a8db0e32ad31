"""Clock and timers that a test advances, and an observer that records."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from streamwarden.clock import Clock
from streamwarden.timers import Timer, Timers

DEADLINE_S = 10.0
BEGINNING = datetime.fromtimestamp(1000, UTC)


class ManualClock(Clock):
    """The wall clock and the monotonic clock, both of which stand still until a test moves them."""

    def __init__(self, wall: datetime = BEGINNING, monotonic_s: float = 1000.0) -> None:
        self.wall = wall
        self.monotonic_s = monotonic_s
        self.boot = "a boot"

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.monotonic_s

    def boottime(self) -> float:
        return self.monotonic_s

    def boot_id(self) -> str:
        return self.boot

    def advance(self, seconds: float) -> None:
        """Move both clocks."""
        self.wall += timedelta(seconds=seconds)
        self.monotonic_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock alone, as an operator or NTP does."""
        self.wall += timedelta(seconds=seconds)

    def move_to(self, monotonic_s: float) -> None:
        """Move both clocks until the monotonic one shows this time."""
        self.wall += timedelta(seconds=monotonic_s - self.monotonic_s)
        self.monotonic_s = monotonic_s


class LaterClock(Clock):
    """The machine's clock, for a process that has run for ``later_s`` more."""

    later_s = 0.0

    def boottime(self) -> float:
        return super().boottime() + self.later_s


class ManualTimers(Timers):
    """Timers that go off only when told to."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._set: list[tuple[float, Timer]] = []

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback, lambda: None)
        with self._changed:
            self._set.append((delay_s, timer))
            self._changed.notify_all()
        return timer

    def pending(self) -> list[float]:
        with self._changed:
            return [delay_s for delay_s, timer in self._set if timer.pending]

    def expire(self, delay_s: float) -> None:
        """Wait until a timer of this length is pending, then let it go off."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._find(delay_s) is not None, DEADLINE_S)
            timer = self._find(delay_s)
        assert timer is not None
        timer.fire()

    def _find(self, delay_s: float) -> Timer | None:
        return next(
            (timer for set_s, timer in self._set if set_s == delay_s and timer.pending), None
        )


class RecordingObserver:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self.parkings: list[tuple[str, bool]] = []
        self.left_behind: list[str] = []

    def restarted(self, child_id: str) -> None:
        self.restarts[child_id] += 1

    def parked(self, child_id: str, *, parked: bool) -> None:
        self.parkings.append((child_id, parked))

    def abandoned(self, child_id: str) -> None:
        self.left_behind.append(child_id)
