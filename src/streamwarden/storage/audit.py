"""The table ``audit``: the audit trail. Rows are never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from streamwarden.model import AuditEvent, Page
from streamwarden.storage.pool import Database, Position, decode_cursor, encode_cursor, load_queries

_SQL = load_queries("audit")
_END = Position(datetime.max.replace(tzinfo=UTC, microsecond=0), UUID(int=2**128 - 1))


class AuditRepository:
    """Appends and reads audit events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_many(self, events: Sequence[AuditEvent]) -> int:
        """Append events in one round trip; return how many were new. Idempotent.

        Raises:
            RowsRefused: one of them can never be stored.
        """
        return self._database.write_rows(_SQL["insert_many"], events, AuditEvent.__slots__)

    def page(
        self,
        *,
        from_: datetime,
        to: datetime,
        camera_id: UUID | None,
        user: str | None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        """Return a page of a range of time, newest first; ``user`` is the actor or the subject.

        Raises:
            InvalidInput: the cursor is not one that this list gave.
        """
        before = _END if cursor is None else decode_cursor(cursor)
        params = {
            "from": from_,
            "to": to,
            "camera_id": camera_id,
            "user": user,
            "before_moment": before.moment,
            "before_id": before.id,
            "limit": limit + 1,
        }
        found = self._database.fetch_all(_SQL["page"], params, row=AuditEvent)
        if len(found) <= limit:
            return Page(items=tuple(found))
        last = found[limit - 1]
        return Page(
            items=tuple(found[:limit]), next_cursor=encode_cursor(Position(last.at, last.id))
        )

    def prune(self, before: datetime) -> int:
        """Delete a batch of rows older than ``before``; return how many, 0 when none is left."""
        (pruned,) = self._database.fetch_values(_SQL["prune"], {"before": before})
        return int(str(pruned))
