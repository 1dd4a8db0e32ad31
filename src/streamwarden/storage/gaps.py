"""The table ``gap``: the ledger of what was wanted and not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from streamwarden.storage.cursor import BEGINNING
from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Gap
from streamwarden.storage.sql import load_queries

_SQL = load_queries("gap")


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
        return self._database.write_rows(_SQL["upsert_many"], rows, Gap.__slots__)

    def open_gaps(self) -> list[Gap]:
        """Return every gap without an end."""
        return self._database.fetch_all(_SQL["open_gaps"], row=Gap)

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
        return self._database.fetch_all(_SQL["in_range"], params, row=Gap)

    def remove(self, gap_id: UUID) -> bool:
        """Remove a gap that turned out to be none; False where there was none."""
        return self._database.execute(_SQL["remove"], {"id": gap_id}) > 0

    def drop_before(self, moment: datetime) -> int:
        """Forget gaps that ended before ``moment``; return how many."""
        return self._database.execute(_SQL["drop_before"], {"moment": moment})
