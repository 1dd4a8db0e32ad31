"""The repositories of segments and gaps, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from streamwarden.model import Gap, Page, Segment, Usage
from streamwarden.storage.pool import Position, RowsRefused, decode_cursor
from streamwarden.storage.recording_index import (
    GapRepository,
    RecordingsRepository,
    SegmentRepository,
    Total,
)
from tests.fakes.storage_tables import FakeRepository, overlaps, page_of

_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class FakeSegmentRepository(FakeRepository, SegmentRepository):
    """The table ``segment`` in memory."""

    def insert_many(self, rows: Sequence[Segment]) -> int:
        tables = self._tables
        if any(r.ended_at < r.started_at or min(r.size_bytes, r.media_ms) < 0 for r in rows):
            raise RowsRefused("a row cannot be stored")
        before = len(tables.segments)
        known = {_place(segment) for segment in tables.segments.values()}
        for row in rows:
            if row.id not in tables.segments and _place(row) not in known:
                tables.segments[row.id] = row
                known.add(_place(row))
                if row.camera_id in tables.given_up:
                    tables.deleting.add(row.id)
        return len(tables.segments) - before

    def get(self, camera_id: UUID, segment_id: UUID) -> Segment | None:
        return next((s for s in self._stored(camera_id) if s.id == segment_id), None)

    def last_run(self, camera_id: UUID) -> int:
        rows = self._tables.segments.values()
        return max((row.run for row in rows if row.camera_id == camera_id), default=0)

    def taken(self, rows: Sequence[Segment]) -> list[UUID]:
        paths = {_place(row): row.path for row in self._tables.segments.values()}
        return [row.id for row in rows if paths.get(_place(row), row.path) != row.path]

    def latest(self, camera_id: UUID) -> Segment | None:
        return max(self._stored(camera_id), key=_end, default=None)

    def in_range(
        self, camera_id: UUID, from_: datetime, to: datetime, *, limit: int | None = None
    ) -> list[Segment]:
        found = self._stored(camera_id)
        overlapping = [s for s in found if overlaps(s.started_at, s.ended_at, from_, to)]
        return sorted(overlapping, key=_recording_position)[:limit]

    def oldest(
        self,
        *,
        limit: int,
        camera_id: UUID | None = None,
        ended_from: datetime = _BEGINNING_OF_TIME,
        ended_before: datetime = _END_OF_TIME,
    ) -> list[Segment]:
        stored = self._stored(camera_id)
        found = [s for s in stored if ended_from <= s.ended_at < ended_before]
        return sorted(found, key=_end)[:limit]

    def count(self, *, ended_from: datetime, ended_before: datetime) -> Total:
        found = [s for s in self._stored() if ended_from <= s.ended_at < ended_before]
        return Total(
            segments=len(found),
            size_bytes=sum(s.size_bytes for s in found),
            started_at=min((s.started_at for s in found), default=None),
            ended_at=max((s.ended_at for s in found), default=None),
        )

    def usage(self) -> list[Usage]:
        stored = {segment.camera_id: self._stored(segment.camera_id) for segment in self._stored()}
        return [
            Usage(camera_id=c, segments=len(rows), size_bytes=sum(s.size_bytes for s in rows))
            for c, rows in sorted(stored.items())
        ]

    def camera_ids(self) -> list[UUID]:
        return sorted({segment.camera_id for segment in self._tables.segments.values()})

    def mark_deleting(self, ids: Collection[UUID]) -> int:
        marked = {i for i in ids if i in self._tables.segments} - self._tables.deleting
        self._tables.deleting |= marked
        return len(marked)

    def mark_camera_deleting(self, camera_id: UUID) -> int:
        self._tables.given_up.add(camera_id)
        return self.mark_deleting([segment.id for segment in self._stored(camera_id)])

    def deleting(self, *, limit: int) -> list[Segment]:
        marked = [self._tables.segments[i] for i in self._tables.deleting]
        return sorted(marked, key=_end)[:limit]

    def deleting_of(self, camera_id: UUID) -> list[Segment]:
        return [
            row
            for row in self.deleting(limit=len(self._tables.deleting))
            if row.camera_id == camera_id
        ]

    def delete(self, ids: Collection[UUID]) -> int:
        gone = self._tables.deleting & set(ids)
        self._tables.deleting -= gone
        for segment_id in gone:
            del self._tables.segments[segment_id]
        return len(gone)

    def _stored(self, camera_id: UUID | None = None) -> list[Segment]:
        tables = self._tables
        stored = [s for s in tables.segments.values() if s.id not in tables.deleting]
        return [s for s in stored if camera_id in (None, s.camera_id)]


class FakeGapRepository(FakeRepository, GapRepository):
    """The table ``gap`` in memory."""

    def upsert_many(self, rows: Sequence[Gap]) -> int:
        if any(row.ended_at is not None and row.ended_at < row.started_at for row in rows):
            raise RowsRefused("a row cannot be stored")
        changed = set()
        for row in rows:
            known = self._tables.gaps.get(row.id)
            if known is None:
                self._tables.gaps[row.id] = row
                changed.add(row.id)
            elif known.ended_at is None:
                self._tables.gaps[row.id] = replace(known, ended_at=row.ended_at, cause=row.cause)
                changed.add(row.id)
        return len(changed)

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[Gap]:
        found = [g for g in self._tables.gaps.values() if g.camera_id == camera_id]
        overlapping = [g for g in found if overlaps(g.started_at, g.ended_at, from_, to)]
        return sorted(overlapping, key=_recording_position)

    def remove(self, gap_id: UUID) -> bool:
        return self._tables.gaps.pop(gap_id, None) is not None

    def drop_before(self, moment: datetime) -> int:
        gaps = self._tables.gaps
        old = [g.id for g in gaps.values() if g.ended_at is not None and g.ended_at < moment]
        for gap_id in old:
            del gaps[gap_id]
        return len(old)


class FakeRecordingsRepository(FakeRepository, RecordingsRepository):
    """Segments and gaps in memory, as one list."""

    def list(
        self,
        camera_id: UUID,
        from_: datetime,
        to: datetime,
        *,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Segment | Gap]:
        after = decode_cursor(cursor)
        segments = FakeSegmentRepository(self._tables).in_range(camera_id, from_, to)
        gaps = FakeGapRepository(self._tables).in_range(camera_id, from_, to)
        return page_of([*segments, *gaps], _recording_position, after=after, limit=limit)


def _recording_position(item: Segment | Gap) -> Position:
    return Position(item.started_at, item.id)


def _end(segment: Segment) -> Position:
    return Position(segment.ended_at, segment.id)


def _place(segment: Segment) -> tuple[UUID, int, int]:
    return segment.camera_id, segment.run, segment.number
