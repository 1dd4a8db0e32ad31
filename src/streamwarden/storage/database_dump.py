"""The table ``database_dump``: when the database was last dumped. ``deploy/backup-database`` writes it."""

from __future__ import annotations

from typing import cast

from psycopg.errors import UndefinedTable

from streamwarden.storage.pool import Database, load_queries

_SQL = load_queries("dump")


class DumpRepository:
    """Reads when the database was last dumped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def finished_at_s(self) -> float | None:
        """Return it in seconds since the epoch; None where no dump is known."""
        try:
            found = self._database.fetch_values(_SQL["finished_at"])
        except UndefinedTable:  # not migrated yet
            return None
        return cast("float", found[0]) if found else None
