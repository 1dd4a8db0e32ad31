"""The table ``camera``: what an administrator has set up, and who may see it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation

from streamwarden.errors import Conflict
from streamwarden.storage.cursor import Position, decode_cursor, encode_cursor
from streamwarden.storage.pool import Database, fetch_one
from streamwarden.storage.rows import Camera, Page
from streamwarden.storage.sources import SourceColumns, put_source, remove_source
from streamwarden.storage.sql import load_queries

_SQL = load_queries("camera")


class PathTaken(Conflict):
    """Another camera publishes to this path already."""

    code = "path_taken"


class CameraRepository:
    """Cameras by id, and the ones that a user may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> Camera | None:
        """Return the camera, None where there is none."""
        return self._database.fetch_one(_SQL["get"], {"id": camera_id}, row=Camera)

    def add(
        self,
        *,
        name: str,
        owner: str,
        created_at: datetime,
        path: str | None = None,
        status: str = "active",
        camera_id: UUID | None = None,
        source: SourceColumns | None = None,
    ) -> Camera:
        """Add a camera, with its source if it is pulled; its path defaults to its id.

        Raises:
            PathTaken: another camera has this path.
        """
        camera_id = camera_id or uuid4()
        camera = Camera(
            id=camera_id,
            name=name,
            path=path or str(camera_id),
            owner=owner,
            status=status,
            created_at=created_at,
        )
        columns = {f: getattr(camera, f) for f in Camera.__slots__}
        return self._write("add", columns, camera_id, source=source) or camera

    def update(
        self,
        camera_id: UUID,
        *,
        name: str | None = None,
        path: str | None = None,
        status: str | None = None,
        owner: str | None = None,
        source: SourceColumns | None = None,
        drop_source: bool = False,
    ) -> Camera | None:
        """Change what is given; return the camera as it is now, None where there is none.

        The camera's wish takes over a new path or owner in the same transaction.
        ``drop_source``: it is pulled no longer.

        Raises:
            PathTaken: another camera has this path.
        """
        changes = {"name": name, "path": path, "status": status, "owner": owner}
        columns: dict[str, object] = {"id": camera_id, **changes}
        return self._write("update", columns, camera_id, source=source, drop_source=drop_source)

    def remove(self, camera_id: UUID) -> bool:
        """Remove the camera and its grants; its recordings stay. False where there was none.

        End its wish first (``StreamRepository.unwant``), or it would be recorded for ever.
        """
        return self._database.execute(_SQL["remove"], {"id": camera_id}) > 0

    def list_visible(
        self, user_sub: str | None, *, limit: int, cursor: str | None = None
    ) -> Page[Camera]:
        """Return cameras that ``user_sub`` owns or has a grant for, oldest first; all for None.

        Raises:
            InvalidInput: the cursor is not one of ours.
        """
        after = decode_cursor(cursor)
        params = {"after_moment": after.moment, "after_id": after.id, "limit": limit + 1}
        if user_sub is None:
            found = self._database.fetch_all(_SQL["list_all"], params, row=Camera)
        else:
            mine = {"user_sub": user_sub, **params}
            found = self._database.fetch_all(_SQL["list_visible"], mine, row=Camera)
        return _page(found, limit)

    def existing(self, ids: Collection[UUID]) -> set[UUID]:
        """Return those of ``ids`` that are cameras."""
        found = self._database.fetch_values(_SQL["existing"], {"ids": list(ids)})
        return {UUID(str(camera_id)) for camera_id in found}

    def all_active(self) -> list[Camera]:
        """Return every camera whose status is ``active``."""
        return self._database.fetch_all(_SQL["all_active"], row=Camera)

    def _write(
        self,
        query: str,
        columns: dict[str, object],
        camera_id: UUID,
        *,
        source: SourceColumns | None,
        drop_source: bool = False,
    ) -> Camera | None:
        """Write the camera and its source in one transaction; return it as it is then."""
        try:
            with self._database.connection() as connection:
                if not connection.execute(_SQL[query], columns).rowcount:
                    return None
                if drop_source:
                    remove_source(connection, camera_id)
                if source is not None:
                    put_source(connection, camera_id, source)
                return fetch_one(connection, _SQL["get"], {"id": camera_id}, row=Camera)
        except UniqueViolation as error:
            if error.diag.constraint_name != "camera_path_taken":
                raise Conflict("a camera with this id exists already") from error
            raise PathTaken("another camera has this path") from error


def _page(found: list[Camera], limit: int) -> Page[Camera]:
    if len(found) <= limit:
        return Page(items=tuple(found))
    last = found[limit - 1]
    return Page(
        items=tuple(found[:limit]), next_cursor=encode_cursor(Position(last.created_at, last.id))
    )
