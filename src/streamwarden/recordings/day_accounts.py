"""The account of a camera's day: wanted seconds, seconds with pictures, seconds of gaps, and the bound.

What is wanted is the sum of the other two, to within the bound: the error of the dates where a recorded
stretch begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from streamwarden.model import Gap, Segment, TimeRange
from streamwarden.recordings.time_ranges import TOLERANCE, holes, merged

_UNKNOWN_ERROR_S: Final = 1.0
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAccount:
    """One camera's day, in seconds. ``unaccounted_s`` is what is wanted beyond footage and gaps.

    It is negative where they are more than what was wanted. ``error_s`` is the largest error of a date.
    """

    camera_id: UUID
    day: date
    wanted_s: float
    recorded_s: float
    gap_s: float
    bound_s: float
    error_s: float

    @property
    def unaccounted_s(self) -> float:
        """What is wanted and neither recorded nor missing."""
        return self.wanted_s - self.recorded_s - self.gap_s

    def as_json(self) -> dict[str, object]:
        """Return the account for scripts."""
        return {
            "camera_id": str(self.camera_id),
            "day": self.day.isoformat(),
            "wanted_seconds": round(self.wanted_s, 3),
            "recorded_seconds": round(self.recorded_s, 3),
            "gap_seconds": round(self.gap_s, 3),
            "unaccounted_seconds": round(self.unaccounted_s, 3),
            "bound_seconds": round(self.bound_s, 3),
            "date_error_seconds": round(self.error_s, 3),
        }


def accounts(
    camera_id: UUID,
    wanted: Sequence[TimeRange],
    rows: Sequence[Segment],
    gaps: Sequence[tuple[Gap, TimeRange]],
    others: Sequence[TimeRange] = (),
) -> Iterator[DayAccount]:
    """Yield the account of each day with wanted time; each gap comes with its time.

    ``others`` are accounted for otherwise: their recordings are being deleted.
    """
    wanted = [*_without(merged(wanted), others)]
    pictures = merged(part for row in rows for part in row.pictures)
    # Footage of the former time may lie over a loss of the later one, where the clock was set back.
    clear = [where for gap, where in gaps if not gap.clock_set]
    missing = [*clear, *_without([where for gap, where in gaps if gap.clock_set], pictures)]
    for day, within in _by_day(wanted):
        recorded = _inside(pictures, within)
        lost = _inside(merged(missing), within)
        inside = [
            row
            for row in rows
            if any(each.overlaps(row.started_at, row.ended_at) for each in within)
        ]
        errors = [_error_s(row) for row in inside]
        yield DayAccount(
            camera_id=camera_id,
            day=day,
            wanted_s=_seconds(within),
            recorded_s=_seconds(recorded),
            gap_s=_seconds(lost),
            bound_s=_bound_s(inside, within, [*recorded, *lost]),
            error_s=max(errors, default=0.0),
        )


def _bound_s(
    rows: Sequence[Segment], within: Sequence[TimeRange], known: Sequence[TimeRange]
) -> float:
    """Return by how much the sum may differ: the errors of dates at the ends of stretches, and seams.

    A date between two segments of one run belongs to both, so its error cancels out.
    """
    ends: dict[datetime, float] = {}
    for row in rows:
        for part in row.pictures:
            for at in (part.from_, part.to):
                if at in ends:
                    del ends[at]
                else:
                    ends[at] = _error_s(row)
    seams = sum(
        min(each.length, TOLERANCE).total_seconds()
        for each in holes(within, known, tolerance=timedelta())
    )
    return sum(ends.values()) + seams


def _touches(row: Segment, within: Sequence[TimeRange]) -> bool:
    return any(each.overlaps(row.started_at, row.ended_at) for each in within)


def _error_s(row: Segment) -> float:
    return _UNKNOWN_ERROR_S if row.error_ms is None else row.error_ms / 1000


def _by_day(wanted: Iterable[TimeRange]) -> Iterator[tuple[date, list[TimeRange]]]:
    """Yield each day with the wanted times in it."""
    days: dict[date, list[TimeRange]] = {}
    for each in wanted:
        position = each.from_
        while position < each.to:
            midnight = datetime.combine(position.date(), datetime.min.time(), UTC) + _DAY
            days.setdefault(position.date(), []).append(TimeRange(position, min(each.to, midnight)))
            position = midnight
    yield from sorted(days.items())


def _inside(ranges: Sequence[TimeRange], within: Sequence[TimeRange]) -> list[TimeRange]:
    return [both for one in within for other in ranges if (both := one.clip(other)) is not None]


def _without(ranges: Sequence[TimeRange], taken: Sequence[TimeRange]) -> Iterator[TimeRange]:
    return holes(ranges, taken, tolerance=timedelta())


def _seconds(ranges: Iterable[TimeRange]) -> float:
    return sum(each.length.total_seconds() for each in ranges)
