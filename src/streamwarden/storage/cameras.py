"""The tables ``camera``, ``camera_source``, ``pulled_path`` and ``camera_grant``.

A camera and its source are written in one transaction; so are a user's grants and the denials of what
they lose.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from psycopg.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from streamwarden.errors import Conflict, InvalidInput, NotFound
from streamwarden.model import Camera, CameraSource, Denial, Grant, Page, Source
from streamwarden.storage.denials import put_denials
from streamwarden.storage.pool import (
    Database,
    Position,
    decode_cursor,
    encode_cursor,
    fetch_all,
    fetch_one,
    load_queries,
)

_SQL = load_queries("camera")
_SOURCE_SQL = load_queries("source")
_GRANT_SQL = load_queries("grant")
MOST_GRANTS: Final = 4_000
"""Rows that are listed for one camera: a thousand users with all four actions."""


class PathTaken(Conflict):
    """Another camera has this path."""

    code = "path_taken"


class CameraRepository:
    """Reads and writes ``camera``, and writes ``camera_source`` with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> Camera | None:
        """Return the camera, None where there is none."""
        return self._database.fetch_one(_SQL["get"], {"id": camera_id}, row=Camera)

    def id_at(self, path: str) -> UUID | None:
        """Return the id of the camera that has this path, None where none has it."""
        found = self._database.fetch_values(_SQL["at_path"], {"path": path})
        return UUID(str(found[0])) if found else None

    def refuse_taken(self, path: str) -> None:
        """Raise PathTaken where a camera has this path."""
        if self.id_at(path) is not None:
            raise PathTaken("another camera has this path")

    def add(
        self,
        *,
        name: str,
        owner: str,
        created_at: datetime,
        path: str | None = None,
        status: str = "active",
        camera_id: UUID | None = None,
        source: Source | None = None,
    ) -> Camera:
        """Add a camera and, where it is pulled, its source. The path defaults to the id.

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
        at: datetime | None = None,
        source: Source | None = None,
        drop_source: bool = False,
    ) -> Camera | None:
        """Change the arguments that are not None; return the changed camera, None if there is none.

        The camera's desired state takes over a new path or owner in the same transaction. With another
        owner, from ``at`` on, the camera loses its grants.
        ``drop_source`` removes the source: the camera is no longer pulled.

        Raises:
            PathTaken: another camera has this path.
        """
        changes = {"name": name, "path": path, "status": status, "owner": owner}
        columns: dict[str, object] = {"id": camera_id, "owned_since": at, **changes}
        return self._write("update", columns, camera_id, source=source, drop_source=drop_source)

    def remove(self, camera_id: UUID) -> bool:
        """Remove the camera and its grants; its recordings stay. False where there was none.

        Call ``StreamRepository.unwant`` first, or the camera is recorded for ever.
        """
        return self._database.execute(_SQL["remove"], {"id": camera_id}) > 0

    def list_visible(
        self, user_sub: str | None, *, limit: int, cursor: str | None = None
    ) -> Page[Camera]:
        """Return the cameras that ``user_sub`` owns or has a grant for, oldest first; all for None.

        Raises:
            InvalidInput: the cursor is not one that this list gave.
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
        """Return the ids that belong to a camera."""
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
        source: Source | None,
        drop_source: bool = False,
    ) -> Camera | None:
        """Write the camera and its source in one transaction; return the camera."""
        with self._database.connection() as connection:
            try:
                if not connection.execute(_SQL[query], columns).rowcount:
                    return None
            except UniqueViolation as error:
                if error.diag.constraint_name != "camera_path_taken":
                    raise Conflict("a camera with this id exists already") from error
                raise PathTaken("another camera has this path") from error
            if drop_source:
                connection.execute(_SOURCE_SQL["remove"], {"camera_id": camera_id})
            if source is not None:
                row = {
                    "camera_id": camera_id,
                    "url": source.url,
                    "sealed": source.encrypted,
                    "transport": source.transport,
                }
                connection.execute(_SOURCE_SQL["put"], row)
            return fetch_one(connection, _SQL["get"], {"id": camera_id}, row=Camera)


def _page(found: list[Camera], limit: int) -> Page[Camera]:
    if len(found) <= limit:
        return Page(items=tuple(found))
    last = found[limit - 1]
    return Page(
        items=tuple(found[:limit]), next_cursor=encode_cursor(Position(last.created_at, last.id))
    )


class SourceRepository:
    """Reads ``camera_source``, and keeps ``pulled_path``: the paths set at the media server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> Source | None:
        """Return the camera's source, None where the camera publishes."""
        return self._database.fetch_one(_SOURCE_SQL["get"], {"camera_id": camera_id}, row=Source)

    def all(self) -> list[CameraSource]:
        """Return every source, also of inactive cameras."""
        return self._database.fetch_all(_SOURCE_SQL["all"], row=CameraSource)

    def is_at(self, camera_id: UUID, path: str) -> bool:
        """Return whether the camera has a source and this path, now."""
        params = {"camera_id": camera_id, "path": path}
        return bool(self._database.fetch_values(_SOURCE_SQL["is_at"], params))

    def renew(self, camera_id: UUID, before: bytes, after: bytes) -> bool:
        """Replace the encrypted credentials; return False where they are no longer ``before``."""
        params = {"camera_id": camera_id, "before": before, "after": after}
        return self._database.execute(_SOURCE_SQL["renew"], params) > 0

    def hide(self, camera_id: UUID, before: str, url: str, encrypted: bytes) -> bool:
        """Replace an address by one without its secrets, which are in ``encrypted`` now.

        Returns False where the address is no longer ``before``.
        """
        params = {"camera_id": camera_id, "before": before, "url": url, "sealed": encrypted}
        return self._database.execute(_SOURCE_SQL["hide"], params) > 0

    def paths_set(self) -> set[str]:
        """Return the paths that may have been set at the media server."""
        return {str(path) for path in self._database.fetch_values(_SOURCE_SQL["paths_set"])}

    def note_path(self, path: str) -> None:
        """Record that a path is about to be set. Idempotent."""
        self._database.execute(_SOURCE_SQL["note_path"], {"path": path})

    def forget_path(self, path: str) -> None:
        """Record that the media server no longer has the path. Idempotent."""
        self._database.execute(_SOURCE_SQL["forget_path"], {"path": path})


class GrantRepository:
    """Reads and writes ``camera_grant``: ``view``, ``recordings``, ``control``, ``publish``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_user(self, camera_id: UUID, user_sub: str) -> list[Grant]:
        """Return one user's grants on a camera."""
        params = {"camera_id": camera_id, "user_sub": user_sub}
        return self._database.fetch_all(_GRANT_SQL["of_user"], params, row=Grant)

    def of_camera(self, camera_id: UUID) -> list[Grant]:
        """Return all grants on a camera, ordered by user."""
        params = {"camera_id": camera_id, "limit": MOST_GRANTS}
        return self._database.fetch_all(_GRANT_SQL["of_camera"], params, row=Grant)

    def replace(
        self,
        camera_id: UUID,
        user_sub: str,
        grants: Sequence[Grant],
        *,
        withdrawing: Sequence[str] | None = None,
        denials: Sequence[Denial] = (),
    ) -> list[Grant]:
        """Make ``grants`` all that a user has, or add them and withdraw the actions ``withdrawing``.

        ``denials`` are written in the same transaction. Returns the user's grants before the call.

        Raises:
            NotFound: no such camera.
            InvalidInput: no such action, or a time range that it cannot have.
        """
        key = {"camera_id": camera_id, "user_sub": user_sub}
        with self._database.connection() as connection:
            before = fetch_all(connection, _GRANT_SQL["of_user"], key, row=Grant)
            if withdrawing is None:
                connection.execute(_GRANT_SQL["remove_all"], key)
            for action in withdrawing or ():
                connection.execute(_GRANT_SQL["remove"], {**key, "action": action})
            try:
                for grant in grants:
                    window = {"from_": grant.from_, "until": grant.until}
                    connection.execute(_GRANT_SQL["put"], {**key, "action": grant.action, **window})
            except ForeignKeyViolation as error:
                raise NotFound("no such camera") from error
            except CheckViolation as error:
                fault = _fault(error.diag.constraint_name)
                raise InvalidInput(fault, field="action") from error
            put_denials(connection, denials)
        return before


def _fault(constraint: str | None) -> str:
    if constraint == "camera_grant_window":
        return "only recordings can be granted for a window of time"
    if constraint == "camera_grant_order":
        return "the window must begin before it ends"
    return "no such action"
