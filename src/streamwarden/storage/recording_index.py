"""The index of recordings: the tables ``segment`` and ``gap``, one list of both, and sums over them.

A segment's row is ``stored``, then ``deleting`` from before its file is unlinked until after. Only a
marked row is ever deleted, so an interrupted deletion is resumed and every file keeps its row.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from streamwarden.model import Gap, Page, Segment, Usage
from streamwarden.storage.pool import (
    BEGINNING,
    Database,
    Position,
    decode_cursor,
    encode_cursor,
    fetch_all,
    load_queries,
)

_SEGMENT_SQL = load_queries("segment")


_GAP_SQL = load_queries("gap")


class RecordingsRepository:
    """Reads ``segment`` and ``gap`` as one list; the queries use indexes at any table size."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        camera_id: UUID,
        from_: datetime,
        to: datetime,
        *,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Segment | Gap]:
        """Return segments and gaps that overlap ``from_`` to ``to``, ordered by start.

        Raises:
            InvalidInput: the cursor is not one that this list gave.
        """
        after = decode_cursor(cursor)
        params = {
            "camera_id": camera_id,
            "from": from_,
            "to": to,
            "after_moment": after.moment,
            "after_id": after.id,
            "limit": limit + 1,
        }
        with self._database.connection() as connection:
            segments = fetch_all(connection, _SEGMENT_SQL["in_range"], params, row=Segment)
            gaps = fetch_all(connection, _GAP_SQL["in_range"], params, row=Gap)
        both: tuple[Iterable[Segment | Gap], ...] = (segments, gaps)
        return _page([*islice(heapq.merge(*both, key=_position), limit + 1)], limit)


def _position(item: Segment | Gap) -> Position:
    return Position(item.started_at, item.id)


def _page(found: list[Segment | Gap], limit: int) -> Page[Segment | Gap]:
    if len(found) <= limit:
        return Page(items=tuple(found))
    last = _position(found[limit - 1])
    return Page(items=tuple(found[:limit]), next_cursor=encode_cursor(last))


_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


_MARK_BATCH = 10_000
"""Rows marked in one transaction, well within the statement timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A number of segments, their bytes, and the range that they lie in; None for none."""

    segments: int
    size_bytes: int
    started_at: datetime | None = None
    ended_at: datetime | None = None


class SegmentRepository:
    """Reads and writes ``segment``. Reads return stored segments only, unless they say otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_many(self, rows: Sequence[Segment]) -> int:
        """Insert new segments in one round trip; return how many were new.

        A segment is known by its id or by its camera, run and number, so a repeated batch changes
        nothing.

        Raises:
            RowsRefused: one of them ends before it starts, or has a negative size or length.
        """
        return self._database.write_rows(_SEGMENT_SQL["insert_many"], rows, Segment.__slots__)

    def get(self, camera_id: UUID, segment_id: UUID) -> Segment | None:
        """Return the segment, None where the camera has none with this id."""
        params = {"id": segment_id, "camera_id": camera_id}
        return self._database.fetch_one(_SEGMENT_SQL["get"], params, row=Segment)

    def last_run(self, camera_id: UUID) -> int:
        """Return the camera's highest run, of marked segments as well; 0 where it has none."""
        (found, *_) = self._database.fetch_values(
            _SEGMENT_SQL["last_run"], {"camera_id": camera_id}
        )
        return int(str(found))

    def taken(self, rows: Sequence[Segment]) -> list[UUID]:
        """Return the ids of those ``rows`` whose id, or run and number, another file's row has."""
        arrays = {
            name: [getattr(row, name) for row in rows]
            for name in ("id", "camera_id", "run", "number", "path")
        }
        return [
            UUID(str(found)) for found in self._database.fetch_values(_SEGMENT_SQL["taken"], arrays)
        ]

    def latest(self, camera_id: UUID) -> Segment | None:
        """Return the segment that ended last."""
        return self._database.fetch_one(
            _SEGMENT_SQL["latest"], {"camera_id": camera_id}, row=Segment
        )

    def in_range(
        self, camera_id: UUID, from_: datetime, to: datetime, *, limit: int | None = None
    ) -> list[Segment]:
        """Return the segments that overlap ``from_`` to ``to``, in time order, all without ``limit``."""
        params = {
            "camera_id": camera_id,
            "from": from_,
            "to": to,
            "after_moment": BEGINNING.moment,
            "after_id": BEGINNING.id,
            "limit": limit,
        }
        return self._database.fetch_all(_SEGMENT_SQL["in_range"], params, row=Segment)

    def oldest(
        self,
        *,
        limit: int,
        camera_id: UUID | None = None,
        ended_from: datetime = _BEGINNING_OF_TIME,
        ended_before: datetime = _END_OF_TIME,
    ) -> list[Segment]:
        """Return the segments that ended first, of all cameras or of one."""
        params = {
            "camera_id": camera_id,
            "ended_from": ended_from,
            "ended_before": ended_before,
            "limit": limit,
        }
        query = "oldest" if camera_id is None else "oldest_of_camera"
        return self._database.fetch_all(_SEGMENT_SQL[query], params, row=Segment)

    def count(self, *, ended_from: datetime, ended_before: datetime) -> Total:
        """Return how many segments ended within a range, and their size."""
        params = {"ended_from": ended_from, "ended_before": ended_before}
        found = self._database.fetch_one(_SEGMENT_SQL["count"], params, row=Total)
        return found or Total(segments=0, size_bytes=0)

    def over_quota(self, quota: int, *, each_camera: bool) -> Total:
        """Return what retention would delete to keep all recordings, or each camera's, to ``quota`` bytes.

        Scans the whole table.
        """
        params = {"quota": quota, "each_camera": each_camera}
        found = self._database.fetch_one(_SEGMENT_SQL["over_quota"], params, row=Total)
        return found or Total(segments=0, size_bytes=0)

    def usage(self) -> list[Usage]:
        """Return the number and size of each camera's segments.

        Scans the whole table (about a second for ten million rows): call it once and keep counting.
        """
        return self._database.fetch_all(_SEGMENT_SQL["usage"], row=Usage)

    def camera_ids(self) -> list[UUID]:
        """Return every camera that has segments, also removed ones."""
        return [
            UUID(str(found)) for found in self._database.fetch_values(_SEGMENT_SQL["camera_ids"])
        ]

    def set_holes(self, segment_id: UUID, holes: str) -> bool:
        """Note the times without pictures in a segment; return False where it is not stored."""
        params = {"id": segment_id, "holes": holes}
        return self._database.execute(_SEGMENT_SQL["set_holes"], params) > 0

    def mark_deleting(self, ids: Collection[UUID]) -> int:
        """Mark segments before their files are unlinked; return how many are newly marked."""
        return (
            self._database.execute(_SEGMENT_SQL["mark_deleting"], {"ids": list(ids)}) if ids else 0
        )

    def mark_camera_deleting(self, camera_id: UUID) -> int:
        """Mark all segments of a camera, in batches; return how many.

        Segments that its recorder stores later are marked on insert. After an interruption the rest
        stays stored until the call is repeated or retention deletes it.
        """
        self._database.execute(_SEGMENT_SQL["give_up"], {"camera_id": camera_id})
        params = {"camera_id": camera_id, "limit": _MARK_BATCH}
        marked = 0
        while batch := self._database.execute(_SEGMENT_SQL["mark_camera_deleting"], params):
            marked += batch
        return marked

    def deleting(self, *, limit: int) -> list[Segment]:
        """Return marked segments, oldest first: the deletions to carry out or to resume."""
        return self._database.fetch_all(_SEGMENT_SQL["deleting"], {"limit": limit}, row=Segment)

    def deleting_of(self, camera_id: UUID) -> list[Segment]:
        """Return all marked segments of a camera, oldest first."""
        return self._database.fetch_all(
            _SEGMENT_SQL["deleting_of_camera"], {"camera_id": camera_id}, row=Segment
        )

    def delete(self, ids: Collection[UUID]) -> int:
        """Delete marked rows whose files are gone; return how many. Unmarked rows stay."""
        return self._database.execute(_SEGMENT_SQL["delete"], {"ids": list(ids)}) if ids else 0


class GapRepository:
    """Reads and writes ``gap``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upsert_many(self, rows: Sequence[Gap]) -> int:
        """Insert gaps, or close or re-cause open ones, in one round trip; return how many changed.

        A closed gap never changes again, and a gap's start never moves.

        Raises:
            RowsRefused: one of them ends before it starts.
        """
        return self._database.write_rows(_GAP_SQL["upsert_many"], rows, Gap.__slots__)

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[Gap]:
        """Return all gaps that overlap ``from_`` to ``to``, in time order."""
        params = {
            "camera_id": camera_id,
            "from": from_,
            "to": to,
            "after_moment": BEGINNING.moment,
            "after_id": BEGINNING.id,
            "limit": None,
        }
        return self._database.fetch_all(_GAP_SQL["in_range"], params, row=Gap)

    def remove(self, gap_id: UUID) -> bool:
        """Delete a retracted gap; return False where there was none."""
        return self._database.execute(_GAP_SQL["remove"], {"id": gap_id}) > 0

    def drop_before(self, moment: datetime) -> int:
        """Delete gaps that ended before ``moment``; return how many."""
        return self._database.execute(_GAP_SQL["drop_before"], {"moment": moment})


_COVERAGE_SQL = load_queries("coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Recorded seconds and bytes; seconds count twice where two runs overlapped."""

    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Wanted seconds that were not recorded, for one cause."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    status: str
    cameras: int


class CoverageRepository:
    """Sums over all cameras. A day of 500 cameras takes about a second: callers cache the result."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recorded(self, since: datetime) -> Recorded:
        """Return the sums since ``since``."""
        found = self._database.fetch_one(_COVERAGE_SQL["recorded"], {"since": since}, row=Recorded)
        return found or Recorded(seconds=0.0, size_bytes=0)

    def missing(self, since: datetime, now: datetime) -> list[Missing]:
        """Return the missing seconds since ``since``, most first; an open gap counts up to ``now``."""
        return self._database.fetch_all(
            _COVERAGE_SQL["missing"], {"since": since, "now": now}, row=Missing
        )

    def oldest(self) -> datetime | None:
        """Return the end of the oldest segment, None where there is none."""
        (found, *_) = [*self._database.fetch_values(_COVERAGE_SQL["oldest"]), None]
        return found if isinstance(found, datetime) else None

    def cameras(self) -> dict[str, int]:
        """Return the number of cameras by status."""
        rows = self._database.fetch_all(_COVERAGE_SQL["cameras"], row=_Count)
        return {row.status: row.cameras for row in rows}
