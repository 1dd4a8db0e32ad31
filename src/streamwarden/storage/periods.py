"""The table ``wanted_period``: when a camera was wanted, so that it can be told what is missing."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Period
from streamwarden.storage.sql import load_queries

_SQL = load_queries("period")


class PeriodRepository:
    """Reads the history; ``StreamRepository`` writes it together with the wish."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[Period]:
        """Return the periods that overlap ``from_`` to ``to``, in time order."""
        params = {"camera_id": camera_id, "from": from_, "to": to}
        return self._database.fetch_all(_SQL["in_range"], params, row=Period)

    def camera_ids(self) -> list[UUID]:
        """Return every camera that was ever wanted, removed ones too."""
        return [UUID(str(found)) for found in self._database.fetch_values(_SQL["camera_ids"])]

    def trim(self, camera_id: UUID, until: datetime) -> None:
        """Forget what was wanted before ``until``: retention has deleted it."""
        params = {"camera_id": camera_id, "until": until}
        self._database.execute(_SQL["drop_until"], params)
        self._database.execute(_SQL["begin_at"], params)

    def drop_before(self, moment: datetime) -> int:
        """Forget what was wanted before ``moment``, of all cameras; return how many had ended."""
        dropped = self._database.execute(_SQL["drop_before"], {"moment": moment})
        self._database.execute(_SQL["begin_all_at"], {"moment": moment})
        return dropped
