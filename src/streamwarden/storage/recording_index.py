"""A camera's recordings as its user sees them: segments and gaps in one list, in time order.

The table ``segment``: the index of whole files on disk.

A row is ``stored``, then ``deleting`` from before its file is unlinked until after; only a marked
row is ever deleted, so a deletion that was cut off is found again and no file is lost sight of.


The table ``gap``: the ledger of what was wanted and not recorded.

What was recorded and what is missing over all cameras, for those who operate them.
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
    """Reads ``segment`` and ``gap`` together, by index at any size."""

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
        """Return what overlaps ``from_`` to ``to``, ordered by start, at most ``limit`` items.

        Raises:
            InvalidInput: the cursor is not one of ours.
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


_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


_MARK_BATCH = 10_000
"""Rows marked in one transaction: well within a statement's time."""


class SegmentRepository:
    """Writes and reads the index. Reads show stored segments only, unless they say otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_many(self, rows: Sequence[Segment]) -> int:
        """Insert what is new, in one round trip; return how many were.

        A segment counts as known by its id or by its camera, run and number, so a repeated batch
        changes nothing.

        Raises:
            RowsRefused: one of them ends before it starts, or has a negative size or length.
        """
        return self._database.write_rows(_SEGMENT_SQL["insert_many"], rows, Segment.__slots__)

    def get(self, camera_id: UUID, segment_id: UUID) -> Segment | None:
        """Return the segment, None where this camera has no such one."""
        params = {"id": segment_id, "camera_id": camera_id}
        return self._database.fetch_one(_SEGMENT_SQL["get"], params, row=Segment)

    def latest(self, camera_id: UUID) -> Segment | None:
        """Return the segment that ended last."""
        return self._database.fetch_one(
            _SEGMENT_SQL["latest"], {"camera_id": camera_id}, row=Segment
        )

    def last_end(self, camera_id: UUID) -> datetime | None:
        """Return when the camera's last segment ended, whether or not it is being deleted."""
        (found,) = self._database.fetch_values(_SEGMENT_SQL["last_end"], {"camera_id": camera_id})
        return found if isinstance(found, datetime) else None

    def max_run(self, camera_id: UUID) -> int:
        """Return the highest run in the index, 0 where there is none."""
        (found,) = self._database.fetch_values(_SEGMENT_SQL["max_run"], {"camera_id": camera_id})
        return found if isinstance(found, int) else 0

    def in_range(
        self, camera_id: UUID, from_: datetime, to: datetime, *, limit: int | None = None
    ) -> list[Segment]:
        """Return the segments that overlap ``from_`` to ``to``, in time order; all for no limit."""
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
        ended_before: datetime = _END_OF_TIME,
    ) -> list[Segment]:
        """Return the segments that ended first, over all cameras or of one."""
        params = {"camera_id": camera_id, "ended_before": ended_before, "limit": limit}
        query = "oldest" if camera_id is None else "oldest_of_camera"
        return self._database.fetch_all(_SEGMENT_SQL[query], params, row=Segment)

    def usage(self) -> list[Usage]:
        """Return what each camera's segments take up.

        Reads the whole table, about a second at ten million rows: ask once and count on.
        """
        return self._database.fetch_all(_SEGMENT_SQL["usage"], row=Usage)

    def camera_ids(self) -> list[UUID]:
        """Return every camera that has segments, removed cameras too."""
        return [
            UUID(str(found)) for found in self._database.fetch_values(_SEGMENT_SQL["camera_ids"])
        ]

    def mark_deleting(self, ids: Collection[UUID]) -> int:
        """Mark segments before their files are unlinked; return how many were not marked yet."""
        return (
            self._database.execute(_SEGMENT_SQL["mark_deleting"], {"ids": list(ids)}) if ids else 0
        )

    def mark_camera_deleting(self, camera_id: UUID) -> int:
        """Mark all segments of a camera, in batches; return how many.

        What its recorder stores later is marked as it comes. Cut off half-way, the rest stays stored
        until the call is repeated or retention comes.
        """
        self._database.execute(_SEGMENT_SQL["give_up"], {"camera_id": camera_id})
        params = {"camera_id": camera_id, "limit": _MARK_BATCH}
        marked = 0
        while batch := self._database.execute(_SEGMENT_SQL["mark_camera_deleting"], params):
            marked += batch
        return marked

    def deleting(self, *, limit: int) -> list[Segment]:
        """Return marked segments, oldest first: deletions to carry out or to resume."""
        return self._database.fetch_all(_SEGMENT_SQL["deleting"], {"limit": limit}, row=Segment)

    def deleting_of(self, camera_id: UUID) -> list[Segment]:
        """Return all marked segments of a camera, oldest first."""
        return self._database.fetch_all(
            _SEGMENT_SQL["deleting_of_camera"], {"camera_id": camera_id}, row=Segment
        )

    def delete(self, ids: Collection[UUID]) -> int:
        """Delete marked rows once their files are gone; return how many. Others stay."""
        return self._database.execute(_SEGMENT_SQL["delete"], {"ids": list(ids)}) if ids else 0


class GapRepository:
    """Opens, closes and reads gaps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upsert_many(self, rows: Sequence[Gap]) -> int:
        """Open new gaps, close or re-cause open ones, in one round trip; return how many changed.

        A closed gap stays as it is, whatever comes late; a gap's start never moves.

        Raises:
            RowsRefused: one of them ends before it starts.
        """
        return self._database.write_rows(_GAP_SQL["upsert_many"], rows, Gap.__slots__)

    def open_gaps(self) -> list[Gap]:
        """Return every gap without an end."""
        return self._database.fetch_all(_GAP_SQL["open_gaps"], row=Gap)

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
        """Remove a gap that turned out to be none; False where there was none."""
        return self._database.execute(_GAP_SQL["remove"], {"id": gap_id}) > 0

    def drop_before(self, moment: datetime) -> int:
        """Forget gaps that ended before ``moment``; return how many."""
        return self._database.execute(_GAP_SQL["drop_before"], {"moment": moment})


_COVERAGE_SQL = load_queries("coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Seconds and bytes in segments; seconds count twice where one run took over from another."""

    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Seconds that were wanted and not recorded, for one cause."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    status: str
    cameras: int


class CoverageRepository:
    """Sums over recent time, by index; a day of 500 cameras takes about a second: keep the answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recorded(self, since: datetime) -> Recorded:
        """Return what was recorded since ``since``."""
        found = self._database.fetch_one(_COVERAGE_SQL["recorded"], {"since": since}, row=Recorded)
        return found or Recorded(seconds=0.0, size_bytes=0)

    def missing(self, since: datetime, now: datetime) -> list[Missing]:
        """Return what is missing since ``since``, the gravest cause first; open gaps count to now."""
        return self._database.fetch_all(
            _COVERAGE_SQL["missing"], {"since": since, "now": now}, row=Missing
        )

    def oldest(self) -> datetime | None:
        """Return when the oldest segment ended."""
        (found, *_) = [*self._database.fetch_values(_COVERAGE_SQL["oldest"]), None]
        return found if isinstance(found, datetime) else None

    def cameras(self) -> dict[str, int]:
        """Return how many cameras there are of each status."""
        rows = self._database.fetch_all(_COVERAGE_SQL["cameras"], row=_Count)
        return {row.status: row.cameras for row in rows}
