"""A camera's recordings as its user sees them: segments and gaps in one list, in time order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from uuid import UUID

from streamwarden.storage.cursor import Position, decode_cursor, encode_cursor
from streamwarden.storage.pool import Database, fetch_all
from streamwarden.storage.rows import Gap, Page, Segment
from streamwarden.storage.sql import load_queries

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
