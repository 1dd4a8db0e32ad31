"""The table ``segment``: the index of whole files on disk.

A row is ``stored``, then ``deleting`` from before its file is unlinked until after; only a marked
row is ever deleted, so a deletion that was cut off is found again and no file is lost sight of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from uuid import UUID

from streamwarden.storage.cursor import BEGINNING
from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Segment, Usage
from streamwarden.storage.sql import load_queries

_SQL = load_queries("segment")

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
        return self._database.write_rows(_SQL["insert_many"], rows, Segment.__slots__)

    def get(self, camera_id: UUID, segment_id: UUID) -> Segment | None:
        """Return the segment, None where this camera has no such one."""
        params = {"id": segment_id, "camera_id": camera_id}
        return self._database.fetch_one(_SQL["get"], params, row=Segment)

    def latest(self, camera_id: UUID) -> Segment | None:
        """Return the segment that ended last."""
        return self._database.fetch_one(_SQL["latest"], {"camera_id": camera_id}, row=Segment)

    def last_end(self, camera_id: UUID) -> datetime | None:
        """Return when the camera's last segment ended, whether or not it is being deleted."""
        (found,) = self._database.fetch_values(_SQL["last_end"], {"camera_id": camera_id})
        return found if isinstance(found, datetime) else None

    def max_run(self, camera_id: UUID) -> int:
        """Return the highest run in the index, 0 where there is none."""
        (found,) = self._database.fetch_values(_SQL["max_run"], {"camera_id": camera_id})
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
        return self._database.fetch_all(_SQL["in_range"], params, row=Segment)

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
        return self._database.fetch_all(_SQL[query], params, row=Segment)

    def usage(self) -> list[Usage]:
        """Return what each camera's segments take up.

        Reads the whole table, about a second at ten million rows: ask once and count on.
        """
        return self._database.fetch_all(_SQL["usage"], row=Usage)

    def camera_ids(self) -> list[UUID]:
        """Return every camera that has segments, removed cameras too."""
        return [UUID(str(found)) for found in self._database.fetch_values(_SQL["camera_ids"])]

    def mark_deleting(self, ids: Collection[UUID]) -> int:
        """Mark segments before their files are unlinked; return how many were not marked yet."""
        return self._database.execute(_SQL["mark_deleting"], {"ids": list(ids)}) if ids else 0

    def mark_camera_deleting(self, camera_id: UUID) -> int:
        """Mark all segments of a camera, in batches; return how many.

        What its recorder stores later is marked as it comes. Cut off half-way, the rest stays stored
        until the call is repeated or retention comes.
        """
        self._database.execute(_SQL["give_up"], {"camera_id": camera_id})
        params = {"camera_id": camera_id, "limit": _MARK_BATCH}
        marked = 0
        while batch := self._database.execute(_SQL["mark_camera_deleting"], params):
            marked += batch
        return marked

    def deleting(self, *, limit: int) -> list[Segment]:
        """Return marked segments, oldest first: deletions to carry out or to resume."""
        return self._database.fetch_all(_SQL["deleting"], {"limit": limit}, row=Segment)

    def deleting_of(self, camera_id: UUID) -> list[Segment]:
        """Return all marked segments of a camera, oldest first."""
        return self._database.fetch_all(
            _SQL["deleting_of_camera"], {"camera_id": camera_id}, row=Segment
        )

    def delete(self, ids: Collection[UUID]) -> int:
        """Delete marked rows once their files are gone; return how many. Others stay."""
        return self._database.execute(_SQL["delete"], {"ids": list(ids)}) if ids else 0
