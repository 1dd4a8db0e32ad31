"""Wall clock in UTC, cut to the millisecond, and the monotonic clock for durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The clocks of this machine; tests subclass it."""

    def now(self) -> datetime:
        """Return the wall clock: aware, UTC, whole milliseconds."""
        return to_milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        """Return ``CLOCK_MONOTONIC`` in seconds."""
        return time.monotonic()


def to_milliseconds(moment: datetime) -> datetime:
    """Cut ``moment`` to whole milliseconds, the precision of all times on disk, in SQL and in HTTP."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Format an aware ``moment`` as RFC 3339 in UTC with milliseconds, as in the HTTP contract."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    )
