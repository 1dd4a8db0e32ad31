"""What time it is: wall clock in UTC to the millisecond, and the monotonic clock for durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Both clocks, injected so that a test can hold the hands."""

    def now(self) -> datetime:
        """Return the wall clock: aware, UTC, whole milliseconds."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps; only differences mean anything."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock: aware, UTC, whole milliseconds."""
        return to_milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        """Return ``CLOCK_MONOTONIC`` in seconds."""
        return time.monotonic()


def to_milliseconds(moment: datetime) -> datetime:
    """Cut ``moment`` down to whole milliseconds: the precision of every stored and shown time."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Write an aware ``moment`` as RFC 3339 in UTC with milliseconds, as in the HTTP contract."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    )
