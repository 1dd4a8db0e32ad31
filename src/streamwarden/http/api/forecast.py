"""When the disk will be full: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_DAY: Final = timedelta(days=1)
_TOO_SHORT: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What is recorded: so many bytes in the last day, and the oldest that is there."""

    bytes_last_day: int
    oldest: datetime | None

    def bytes_per_day(self, now: datetime) -> int:
        """Return a day's bytes; what is younger than a day is extrapolated, after an hour's wait."""
        if self.oldest is None:
            return 0
        age = min(max(now - self.oldest, _TOO_SHORT), _DAY)
        return round(self.bytes_last_day * (_DAY / age))


def full_at(
    growth: Growth, *, now: datetime, free_bytes: int, reserve_bytes: int, keep_for: timedelta
) -> datetime | None:
    """Return when the reserve will be reached; None where what is old is deleted before that."""
    per_day = growth.bytes_per_day(now)
    if per_day <= 0 or growth.oldest is None:
        return None
    deleted_from = growth.oldest + keep_for
    left_days = max(0, free_bytes - reserve_bytes) / per_day
    # Compared before it is a time: an empty disk would be full after all dates.
    if left_days >= (deleted_from - now) / _DAY:
        return None
    return now + timedelta(days=left_days)
