"""The dates of a camera's segments: from when to when, where pictures are missing, and how sure that is.

A segment ends with its file's last write: the time of the file, by the clock of the run. When the line of
FFmpeg's list was read says the same unless the program was paused or late, so it is only the second
source. The next segment of the run starts there. A run's first segment starts its media before its end.

Where the media are shorter than the time between those dates, pictures are missing at the end or in the
middle, or the camera's clock runs slow. FFmpeg's list and the growth of the file tell these apart; where
neither does at once, the segment ends with its pictures, and the next one of the run decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from streamwarden.clock import to_milliseconds
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.model import TimeRange
from streamwarden.mp4.footage import (
    FIRST_SLACK_MS,
    SLACK_MS,
    Footage,
    Judgement,
    Span,
    UsualDistance,
    judge,
)
from streamwarden.mp4.fragments import FileSummary

MAX_ERROR_MS: Final = 1_000
"""No date is kept that may be further off, while a better source is there."""

_BASE_ERROR_MS: Final = 40
"""The granularity of file times, and FFmpeg's way from a packet to its write."""

SLOWEST: Final = 0.7
"""No camera's time stamps are known to run slower than this; shorter media miss pictures."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_SLACK: Final = SLACK_MS * _MILLISECOND
_NEAR: Final = timedelta(milliseconds=500)
_DAY: Final = timedelta(days=1)
_REMEMBERED: Final = 64

_JUDGED: Final = timedelta(seconds=3)
"""Footage of less time than this does not tell whether time stamps stand still."""
_JUDGED_PICTURES: Final = 8
"""Fewer pictures do not tell it either: a camera may send one for each file, with no length of its own."""
_STANDING: Final = 0.1
"""Media this much shorter than the time in which they were taken have time stamps that stand still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDates:
    """The dates of one segment. ``holes`` are in ms from its start; ``error_ms`` is None if unknown."""

    started_at: datetime
    ended_at: datetime
    holes: tuple[Span, ...] = ()
    error_ms: int | None = None

    @property
    def holes_text(self) -> str:
        """The holes as a row holds them."""
        return holes_text(self.holes)


def stamps_stand_still(dates: SegmentDates, footage: Footage) -> bool:
    """Return whether the time stamps give a file's pictures no time: what is missing is a hole."""
    shown = dates.ended_at - dates.started_at
    shown -= sum(hole.length_ms for hole in dates.holes) * _MILLISECOND
    if shown <= _JUDGED or footage.pictures < _JUDGED_PICTURES:
        return False
    return footage.media_ms * _MILLISECOND < _STANDING * shown


def holes_text(holes: Sequence[Span]) -> str:
    """Return holes as a row of the index holds them."""
    return " ".join(f"{hole.from_ms}-{hole.to_ms}" for hole in holes if hole.length_ms > 0)


@dataclass(frozen=True, slots=True)
class _Border:
    """The end of a segment of a run: where the file was closed, and where its pictures end.

    ``lost``: it is known that pictures are missing between the two. ``listed_s`` is the place of the end of
    its pictures on the run's own time line, None if unknown.
    """

    closed_at: datetime
    pictures_end: datetime
    lost: bool
    listed_s: float | None


class CameraDates:
    """Dates the segments of one camera, in order; a segment that is dated again gets the same dates."""

    def __init__(self) -> None:
        self._usual = UsualDistance()
        self._dated: dict[tuple[int, int], tuple[ClosedSegment, SegmentDates, _Border]] = {}
        self._slow = False
        """Whether the camera's time stamps were found to run slower than the server's clock."""

    def date(
        self, segment: ClosedSegment, summary: FileSummary | None, modified_s: float | None
    ) -> SegmentDates:
        """Return the dates of a segment whose file was last written at ``modified_s``."""
        key = (segment.run, segment.number)
        known = self._dated.get(key)
        if known is not None and known[0] == segment:
            return known[1]
        before = self._dated.get((segment.run, segment.number - 1))
        # The dates of a line that was read, or of a tail after it, are replaced; others are as given.
        border = None
        if before is not None and before[0].seen is not None and (segment.seen or segment.torn):
            border = before[2]
        dates, border = self._dates(segment, summary, modified_s, border)
        self._dated[key] = (segment, dates, border)
        while len(self._dated) > _REMEMBERED:
            del self._dated[next(iter(self._dated))]
        return dates

    def _dates(
        self,
        segment: ClosedSegment,
        summary: FileSummary | None,
        modified_s: float | None,
        before: _Border | None,
    ) -> tuple[SegmentDates, _Border]:
        closed_at = _closed_at(segment, modified_s, before)
        if summary is None or summary.footage.pictures == 0:
            started_at = before.closed_at if before is not None else segment.started_at or closed_at
            started_at = min(started_at, closed_at)
            dates = SegmentDates(started_at=started_at, ended_at=closed_at)
            return dates, _Border(closed_at, closed_at, lost=False, listed_s=None)
        if before is not None:
            open_for = closed_at - before.closed_at
        else:
            open_for = _listed_length(segment, closed_at)
        usual_ms = self._usual.of(summary.footage, open_for // _MILLISECOND)
        if before is not None:
            started_at = self._start_after(before, segment, summary, usual_ms, closed_at)
        elif segment.number > 0 and segment.started_at is not None:
            started_at = segment.started_at
        else:
            started_at = _start_by_media(segment, summary, usual_ms, closed_at)
        started_at = min(started_at, closed_at)
        wall_ms = (closed_at - started_at) // _MILLISECOND
        first = segment.number == 0 or segment.started_at is None
        judged = _judged(summary, usual_ms, wall_ms, first=first)
        carried = timedelta() if before is None else before.closed_at - started_at
        where = TimeRange(started_at, closed_at)
        return self._end(segment, summary.footage, judged, where, carried)

    def _start_after(
        self,
        before: _Border,
        segment: ClosedSegment,
        summary: FileSummary,
        usual_ms: float,
        closed_at: datetime,
    ) -> datetime:
        """Return the start of a segment that follows ``before``."""
        open_time = before.closed_at - before.pictures_end
        if open_time <= timedelta():
            return before.closed_at
        room = closed_at - before.pictures_end
        media = judge(
            summary.footage, usual_ms=usual_ms, wall_ms=room // _MILLISECOND, lead_ms=0
        ).media_ms
        excess = media * _MILLISECOND - (closed_at - before.closed_at)
        if excess > _NEAR:
            # Pictures came late: they had been taken before the file could be begun. More of them may come
            # after this file, so by FFmpeg's list they follow those before them.
            latest = before.closed_at - excess
            if before.listed_s is not None and segment.seen is not None:
                hole = max(timedelta(), _listed_hole(before, segment))
                latest = min(latest, before.pictures_end + hole)
            return max(before.pictures_end, latest)
        if before.lost or _listed_hole(before, segment) * 2 >= open_time:
            return before.closed_at
        # One picture may come late by less than a second; stamps that run slow leave over more each time.
        self._slow = self._slow or open_time > _SLACK
        return before.pictures_end

    def _end(
        self,
        segment: ClosedSegment,
        footage: Footage,
        judged: Judgement,
        where: TimeRange,
        carried: timedelta,
    ) -> tuple[SegmentDates, _Border]:
        """Return the dates of a segment whose file was closed at the end of ``where``, and its border.

        ``carried`` of it are from before its file was begun.
        """
        started_at, closed_at = where.from_, where.to
        slack = closed_at - started_at - judged.media_ms * _MILLISECOND
        pictures_end = closed_at
        holes = judged.holes
        lost = False
        listed_ms = -footage.media_ms if segment.seen is None else segment.seen.media_s * 1000
        unshown = (listed_ms - footage.media_ms) * _MILLISECOND
        if slack > _NEAR and not judged.standing:
            paused = None if segment.seen is None else segment.seen.paused
            pause = paused is not None and paused.length >= max(slack - _SLACK, 2 * _SLACK)
            pause = pause and slack > _SLACK
            lost = pause or unshown * 2 >= slack
            if pause and paused is not None and closed_at - paused.to > _SLACK:
                holes = tuple(_with_pause(judged, started_at, paused, slack))
            elif segment.torn or segment.seen is not None:
                # Only stamps that are known to run slow, and only as slow as they can, leave time over.
                own = closed_at - started_at - carried
                short = slack > _SLACK and judged.media_ms * _MILLISECOND < SLOWEST * own
                lost = lost or short
                late = judged.media_ms * _MILLISECOND - own > _NEAR
                if lost or late or not self._slow:
                    pictures_end = started_at + judged.media_ms * _MILLISECOND
        off = abs(slack) if abs(slack) <= _SLACK and not judged.standing else timedelta()
        dates = SegmentDates(
            started_at=started_at,
            ended_at=pictures_end,
            holes=holes,
            error_ms=min(MAX_ERROR_MS, _BASE_ERROR_MS + off // _MILLISECOND),
        )
        listed_s = None
        if segment.seen is not None:
            listed_s = segment.seen.listed_from_s + footage.media_ms / 1000
        return dates, _Border(closed_at, pictures_end, lost, listed_s)


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What the file of a stored segment says about its dates.

    ``holes`` are in ms from its start. ``slack_ms`` is how much the dates leave over beside its media,
    negative where they are too short. ``rate`` is the media's length by that of the dates; ``standing``
    media have none.
    """

    holes: tuple[Span, ...]
    media_ms: int
    slack_ms: int
    rate: float
    standing: bool
    error_ms: int

    @property
    def misses_pictures(self) -> bool:
        """Whether pictures are missing at an unknown place; else its time stamps may run slow."""
        return self.slack_ms > SLACK_MS and self.rate < SLOWEST and not self.standing


def check_file(
    summary: FileSummary,
    started_at: datetime,
    ended_at: datetime,
    usual: UsualDistance,
    *,
    first: bool,
) -> FileCheck | None:
    """Judge the file of a segment that is dated already; None for a file without pictures."""
    if summary.footage.pictures == 0:
        return None
    wall_ms = (ended_at - started_at) // _MILLISECOND
    judged = _judged(summary, usual.of(summary.footage, wall_ms), wall_ms, first=first)
    slack_ms = wall_ms - judged.media_ms
    off_ms = abs(slack_ms) if abs(slack_ms) <= SLACK_MS and not judged.standing else 0
    return FileCheck(
        judged.holes,
        judged.media_ms,
        slack_ms,
        judged.media_ms / wall_ms if wall_ms > 0 else 0.0,
        judged.standing,
        min(MAX_ERROR_MS, _BASE_ERROR_MS + off_ms),
    )


def _closed_at(
    segment: ClosedSegment, modified_s: float | None, before: _Border | None
) -> datetime:
    """Return when a file was closed: its last write, where that time can be true.

    For one of several that FFmpeg has written at once, when the next one's first picture was taken.
    """
    seen = segment.seen
    if seen is None:
        return segment.ended_at
    if seen.taken is not None:
        return min(seen.taken.to, segment.ended_at)
    if seen.file_offset_s is None or modified_s is None:
        return segment.ended_at
    written_at = to_milliseconds(datetime.fromtimestamp(modified_s + seen.file_offset_s, UTC))
    earliest = seen.spawned_at if before is None else before.closed_at
    if not earliest - _NEAR <= written_at <= segment.ended_at + _NEAR:
        return segment.ended_at
    return max(earliest, min(written_at, segment.ended_at))


def _listed_length(segment: ClosedSegment, closed_at: datetime) -> timedelta:
    """Return how long a run's first segment is by FFmpeg's list, as far as the run has lived."""
    seen = segment.seen
    if seen is None:
        return timedelta()
    if seen.taken is not None:
        return seen.taken.length
    lived = max(timedelta(), closed_at - seen.spawned_at)
    return min(timedelta(seconds=min(seen.media_s, _DAY.total_seconds())), lived)


def _start_by_media(
    segment: ClosedSegment, summary: FileSummary, usual_ms: float, closed_at: datetime
) -> datetime:
    """Return the start of a run's first segment, or of one of which nothing else is known."""
    seen = segment.seen
    earliest = segment.started_at if seen is None else seen.spawned_at
    room = min(_DAY, closed_at - (earliest or closed_at - _DAY))
    judged = _judged(summary, usual_ms, room // _MILLISECOND, first=True)
    media = min(_DAY, judged.media_ms * _MILLISECOND)
    started_at = to_milliseconds(closed_at - media)
    if seen is not None and seen.grew_at is not None:
        # Time stamps that stand still make no length: the pictures began when the file first grew.
        started_at = min(started_at, seen.grew_at)
    return started_at if earliest is None else max(earliest, started_at)


def _judged(summary: FileSummary, usual_ms: float, wall_ms: int, *, first: bool) -> Judgement:
    """Judge a file's pictures; its first one may be shown longer than it was there.

    In a run's ``first`` file that is known to be the sound's lead. In a later one it is where the wall
    clock has no room for it.
    """
    footage, lead_ms = summary.footage, summary.lead_ms
    without = abs(wall_ms - footage.media_ms + lead_ms) < abs(wall_ms - footage.media_ms)
    return judge(
        footage,
        usual_ms=usual_ms,
        wall_ms=wall_ms,
        lead_ms=lead_ms if first or without else 0,
        slack_ms=FIRST_SLACK_MS if first else SLACK_MS,
    )


def _listed_hole(before: _Border, segment: ClosedSegment) -> timedelta:
    """Return the time between two segments by FFmpeg's list, in which only the camera's clock went on."""
    if before.listed_s is None or segment.seen is None:
        return timedelta()
    return timedelta(seconds=segment.seen.listed_from_s - before.listed_s)


def _with_pause(
    judged: Judgement, started_at: datetime, paused: TimeRange, slack: timedelta
) -> list[Span]:
    """Return the holes with one more, of ``slack``, where the file stopped to grow.

    The file grows again with the first fragment after the hole, which is a second long.
    """
    length_ms = slack // _MILLISECOND
    resumed_ms = (paused.to - started_at) // _MILLISECOND - SLACK_MS
    from_ms = max(0, min(resumed_ms - length_ms, judged.media_ms))
    before = [hole for hole in judged.holes if hole.to_ms <= from_ms]
    after = [
        Span(max(hole.from_ms, from_ms) + length_ms, hole.to_ms + length_ms)
        for hole in judged.holes
        if hole.to_ms > from_ms
    ]
    return [*before, Span(from_ms, from_ms + length_ms), *after]
