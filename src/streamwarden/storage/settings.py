"""The table ``settings``: what an administrator changes while the program runs."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from streamwarden.storage.pool import Database
from streamwarden.storage.sql import load_queries

_SQL = load_queries("settings")


class SettingsRepository:
    """JSON values by key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> object:
        """Return the value as JSON decodes it, None where it was never set."""
        return next(iter(self._database.fetch_values(_SQL["get"], {"key": key})), None)

    def put(self, key: str, value: object) -> None:
        """Set ``key`` to ``value``, which JSON can hold."""
        self._database.execute(_SQL["put"], {"key": key, "value": Jsonb(value)})
