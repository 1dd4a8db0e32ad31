"""The check of a camera's files against the dates of their rows and against the ledger.

A row claims that its file has pictures from its start to its end, but for its holes. The times of the
pictures in the file show whether that is so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from streamwarden.model import Segment, TimeRange
from streamwarden.mp4.footage import SLACK_MS, Span, UsualDistance
from streamwarden.mp4.fragments import FileSummary
from streamwarden.recordings.segment_dates import SLOWEST, check_file
from streamwarden.recordings.time_ranges import TOLERANCE, holes

_FASTEST: Final = 2.5
"""No camera's time stamps are known to run faster than this; longer media have wrong dates."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class MissingPictures:
    """A time without pictures that a row does not know of."""

    row: Segment
    where: TimeRange
    detail: str


@dataclass(frozen=True, slots=True)
class WrongDates:
    """A row whose dates leave no room for the footage of its file, or that begins inside another one."""

    row: Segment
    detail: str


class FootageCheck:
    """Judges the files of one camera, in the order of time."""

    def __init__(self) -> None:
        self._usual = UsualDistance()
        self._rows: list[Segment] = []
        self._missing: list[MissingPictures] = []
        self._wrong: list[WrongDates] = []

    def add(self, row: Segment, summary: FileSummary) -> None:
        """Judge the file of the next row."""
        self._check_order(row)
        self._rows.append(row)
        found = check_file(
            summary, row.started_at, row.ended_at, self._usual, first=row.number == 0
        )
        if found is None or found.standing:
            return
        claimed = row.pictures
        in_file = [_range(row, hole) for hole in found.holes]
        for where in _shared(in_file, claimed):
            if where.length > TOLERANCE:
                detail = f"{where.length.total_seconds():.3f} s without pictures in the file"
                self._missing.append(MissingPictures(row, where, detail))
        shown_ms = found.media_ms - sum(hole.length_ms for hole in found.holes)
        known_ms = sum(each.length // _MILLISECOND for each in _shared(in_file, claimed))
        claimed_ms = sum(each.length // _MILLISECOND for each in claimed) - known_ms
        if claimed_ms - shown_ms > SLACK_MS and shown_ms < SLOWEST * claimed_ms:
            lost = timedelta(milliseconds=claimed_ms - shown_ms)
            where = TimeRange(max(row.started_at, row.ended_at - lost), row.ended_at)
            detail = f"{claimed_ms / 1000:.3f} s by its dates, {shown_ms / 1000:.3f} s of pictures"
            self._missing.append(MissingPictures(row, where, detail))
        elif shown_ms - claimed_ms > SLACK_MS and shown_ms > _FASTEST * claimed_ms:
            detail = f"{shown_ms / 1000:.3f} s of pictures are dated into {claimed_ms / 1000:.3f} s"
            self._wrong.append(WrongDates(row, detail))

    def missing(self, known: Sequence[TimeRange]) -> Iterator[MissingPictures]:
        """Yield what is missing and is neither in a ``known`` gap nor in another file."""
        for one in self._missing:
            others = [
                part
                for row in self._rows
                if row.run != one.row.run and row.started_at < one.where.to
                for part in row.pictures
            ]
            for where in holes([one.where], [*known, *others]):
                yield MissingPictures(one.row, where, one.detail)

    @property
    def wrong(self) -> Sequence[WrongDates]:
        """The rows whose dates are wrong."""
        return self._wrong

    def _check_order(self, row: Segment) -> None:
        before = self._rows[-1] if self._rows else None
        if before is not None and before.run == row.run:
            shared = before.ended_at - row.started_at
            if shared > TOLERANCE:
                detail = f"begins {shared.total_seconds():.3f} s before the one before it ends"
                self._wrong.append(WrongDates(row, detail))


def _range(row: Segment, hole: Span) -> TimeRange:
    return TimeRange(
        row.started_at + hole.from_ms * _MILLISECOND, row.started_at + hole.to_ms * _MILLISECOND
    )


def _shared(left: Sequence[TimeRange], right: Sequence[TimeRange]) -> list[TimeRange]:
    """Return the parts that are in both."""
    return [both for one in left for other in right if (both := one.clip(other)) is not None]
