"""The tables ``camera_source`` and ``pulled_path``: cameras that are pulled, and the paths set for them."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from streamwarden.storage.pool import Database
from streamwarden.storage.rows import CameraSource, StoredSource
from streamwarden.storage.sql import load_queries

_SQL = load_queries("source")


class SourceColumns(Protocol):
    """A source as it is written."""

    @property
    def url(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def sealed(self) -> bytes | None: ...  # noqa: D102 - likewise


def put_source(connection: Connection[TupleRow], camera_id: UUID, source: SourceColumns) -> None:
    """Write a camera's source within the transaction of ``connection``."""
    columns = {"camera_id": camera_id, "url": source.url, "sealed": source.sealed}
    connection.execute(_SQL["put"], columns)


def remove_source(connection: Connection[TupleRow], camera_id: UUID) -> None:
    """Remove a camera's source within the transaction of ``connection``."""
    connection.execute(_SQL["remove"], {"camera_id": camera_id})


class SourceRepository:
    """Reads sources, which ``CameraRepository`` writes; keeps the paths that were set for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> StoredSource | None:
        """Return the camera's source, None where it pushes."""
        return self._database.fetch_one(_SQL["get"], {"camera_id": camera_id}, row=StoredSource)

    def all(self) -> list[CameraSource]:
        """Return every source, of inactive cameras too."""
        return self._database.fetch_all(_SQL["all"], row=CameraSource)

    def renew(self, camera_id: UUID, before: bytes, after: bytes) -> bool:
        """Replace sealed credentials by the same under another key; False if they have changed."""
        params = {"camera_id": camera_id, "before": before, "after": after}
        return self._database.execute(_SQL["renew"], params) > 0

    def paths_set(self) -> set[str]:
        """Return the paths that the media server may have from us."""
        return {str(path) for path in self._database.fetch_values(_SQL["paths_set"])}

    def note_path(self, path: str) -> None:
        """Note that a path is about to be set. Harmless when repeated."""
        self._database.execute(_SQL["note_path"], {"path": path})

    def forget_path(self, path: str) -> None:
        """Note that the media server has it no more. Harmless when repeated."""
        self._database.execute(_SQL["forget_path"], {"path": path})
