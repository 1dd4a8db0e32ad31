"""The tables ``record_root`` and ``streaming_lease``.

They say which record root the index speaks of, and which streaming role writes it now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from streamwarden.storage.pool import Database, load_queries
from streamwarden.storage.refusals import StorageUnavailable

_SQL = load_queries("record_root")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRoot:
    """The record root that belongs to the database; ``node`` and ``path`` are those of its adoption."""

    id: UUID
    node: str
    path: str
    adopted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFile:
    """A stored segment's path below the record root, and its size."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The streaming role that writes the index; ``age_s`` is how long ago it was last seen."""

    session: UUID
    root_id: UUID
    node: str
    path: str
    place: str
    age_s: float


class RecordRootRepository:
    """Reads and writes the record root of the database, and the lease of its streaming role."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> PairedRoot | None:
        """Return the record root that belongs to the database, None where none does yet."""
        return self._database.fetch_one(_SQL["get"], row=PairedRoot)

    def known(self) -> tuple[PairedRoot | None, bool]:
        """Return ``get`` and ``has_segments``.

        Raises:
            StorageUnavailable: also where the database has not been migrated yet.
        """
        return self.get(), self.has_segments()

    def adopt(self, root: PairedRoot) -> None:
        """Let ``root`` belong to the database, in place of another one."""
        self._database.execute(_SQL["adopt"], _columns(root))

    def register(self, root: PairedRoot) -> bool:
        """Let ``root`` belong to the database unless another one does; return whether it does now."""
        self._database.execute(_SQL["register"], _columns(root))
        known = self.get()
        return known is not None and known.id == root.id

    def has_segments(self) -> bool:
        """Return whether the index has any row."""
        return self._truth(_SQL["has_segments"])

    def paired(self) -> PairedRoot | None:
        """As ``get``; None also where the database has not been migrated."""
        try:
            return self.get()
        except StorageUnavailable as error:
            if error.lacks_table:
                return None
            raise

    def holds_anything(self) -> bool:
        """Return whether the database has a record root, a camera or a segment."""
        try:
            return (
                self.paired() is not None
                or self._truth(_SQL["has_cameras"])
                or self._truth(_SQL["has_segments"])
            )
        except StorageUnavailable as error:
            if error.lacks_table:
                return False
            raise

    def newest_files(self, *, limit: int) -> list[IndexedFile]:
        """Return the files of the segments that ended last."""
        return self._database.fetch_all(_SQL["newest_files"], {"limit": limit}, row=IndexedFile)

    def lease(self) -> Lease | None:
        """Return the lease, None where no streaming role holds one."""
        return self._database.fetch_one(_SQL["lease"], row=Lease)

    def take_lease(self, lease: Lease, *, over: UUID | None = None) -> bool:
        """Take the lease if it is free or still that of the session ``over``; return whether it is ours."""
        params = {
            "session": lease.session,
            "root_id": lease.root_id,
            "node": lease.node,
            "path": lease.path,
            "place": lease.place,
            "over": over,
        }
        return self._database.execute(_SQL["take_lease"], params) > 0

    def renew_lease(self, session: UUID) -> bool:
        """Renew the lease; False if ``session`` does not hold it."""
        return self._database.execute(_SQL["renew_lease"], {"session": session}) > 0

    def drop_lease(self, session: UUID) -> bool:
        """Give the lease up; False if ``session`` does not hold it."""
        return self._database.execute(_SQL["drop_lease"], {"session": session}) > 0

    def _truth(self, query: bytes) -> bool:
        return bool(self._database.fetch_values(query)[0])


def _columns(root: PairedRoot) -> dict[str, object]:
    return {"id": root.id, "node": root.node, "path": root.path, "adopted_at": root.adopted_at}
