"""Restart intensity: how many restarts in how long are still a recovery, and not a loop.

Source: Erlang/OTP ``supervisor``, "Tuning the intensity and period": if more than ``intensity``
restarts occur in the last ``period`` seconds, the supervisor gives up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most ``intensity`` restarts in ``period_s`` seconds of the monotonic clock."""

    intensity: int = 1
    period_s: float = 5.0

    def __post_init__(self) -> None:
        if not isinstance(self.intensity, int) or self.intensity < 0:
            raise ValueError(f"intensity must be a number of restarts, not {self.intensity!r}")
        if not 0 < self.period_s < math.inf:
            raise ValueError(f"period_s must be above 0 and finite, not {self.period_s!r}")


@dataclass(frozen=True, slots=True)
class RestartLog:
    """The restarts that still count, newest last; a value, bounded by ``intensity`` + 1."""

    limit: Intensity
    at: tuple[float, ...] = field(default=())

    def add(self, now: float) -> RestartLog:
        """Return the log with a restart at ``now`` and without those older than the period."""
        recent = tuple(moment for moment in self.at if now - moment <= self.limit.period_s)
        return RestartLog(self.limit, (*recent, now)[-self.limit.intensity - 1 :])

    @property
    def exceeded(self) -> bool:
        """Whether the last restart added was one too many."""
        return len(self.at) > self.limit.intensity
