"""The table ``camera``: what an administrator has set up, and who may see it.

The tables ``camera_source`` and ``pulled_path``: cameras that are pulled, and the paths set for them.

The table ``camera_grant``: what a user may do with a camera that is not their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.errors import CheckViolation, ForeignKeyViolation, UniqueViolation
from psycopg.rows import TupleRow

from streamwarden.errors import Conflict, InvalidInput, NotFound
from streamwarden.model import Camera, CameraSource, Grant, Page, Source
from streamwarden.storage.denials import DenialRow, put_denials
from streamwarden.storage.pool import (
    Database,
    Position,
    decode_cursor,
    encode_cursor,
    fetch_all,
    fetch_one,
    load_queries,
)

_SOURCE_SQL = load_queries("source")


class SourceColumns(Protocol):
    """A source as it is written."""

    @property
    def url(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def sealed(self) -> bytes | None: ...  # noqa: D102 - likewise


def put_source(connection: Connection[TupleRow], camera_id: UUID, source: SourceColumns) -> None:
    """Write a camera's source within the transaction of ``connection``."""
    columns = {"camera_id": camera_id, "url": source.url, "sealed": source.sealed}
    connection.execute(_SOURCE_SQL["put"], columns)


def remove_source(connection: Connection[TupleRow], camera_id: UUID) -> None:
    """Remove a camera's source within the transaction of ``connection``."""
    connection.execute(_SOURCE_SQL["remove"], {"camera_id": camera_id})


class SourceRepository:
    """Reads sources, which ``CameraRepository`` writes; keeps the paths that were set for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> Source | None:
        """Return the camera's source, None where it pushes."""
        return self._database.fetch_one(_SOURCE_SQL["get"], {"camera_id": camera_id}, row=Source)

    def all(self) -> list[CameraSource]:
        """Return every source, of inactive cameras too."""
        return self._database.fetch_all(_SOURCE_SQL["all"], row=CameraSource)

    def renew(self, camera_id: UUID, before: bytes, after: bytes) -> bool:
        """Replace sealed credentials by the same under another key; False if they have changed."""
        params = {"camera_id": camera_id, "before": before, "after": after}
        return self._database.execute(_SOURCE_SQL["renew"], params) > 0

    def paths_set(self) -> set[str]:
        """Return the paths that the media server may have from us."""
        return {str(path) for path in self._database.fetch_values(_SOURCE_SQL["paths_set"])}

    def note_path(self, path: str) -> None:
        """Note that a path is about to be set. Harmless when repeated."""
        self._database.execute(_SOURCE_SQL["note_path"], {"path": path})

    def forget_path(self, path: str) -> None:
        """Note that the media server has it no more. Harmless when repeated."""
        self._database.execute(_SOURCE_SQL["forget_path"], {"path": path})


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


_GRANT_SQL = load_queries("grant")


MOST_GRANTS: Final = 4_000
"""Rows of one camera that are listed: a thousand users with all four actions."""


class GrantedAction(Protocol):
    """What is granted to one user; a window of recorded time, open where None."""

    @property
    def action(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def from_(self) -> datetime | None: ...  # noqa: D102 - likewise
    @property
    def until(self) -> datetime | None: ...  # noqa: D102 - likewise


class GrantRepository:
    """Granted actions: ``view``, ``recordings``, ``control``, ``publish``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_user(self, camera_id: UUID, user_sub: str) -> list[Grant]:
        """Return what ``user_sub`` has been granted on this camera."""
        params = {"camera_id": camera_id, "user_sub": user_sub}
        return self._database.fetch_all(_GRANT_SQL["of_user"], params, row=Grant)

    def of_camera(self, camera_id: UUID) -> list[Grant]:
        """Return what was granted on this camera, by user."""
        params = {"camera_id": camera_id, "limit": MOST_GRANTS}
        return self._database.fetch_all(_GRANT_SQL["of_camera"], params, row=Grant)

    def put(
        self,
        camera_id: UUID,
        user_sub: str,
        action: str,
        *,
        from_: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        """Grant one action, or give it another window. Harmless when repeated.

        Raises:
            NotFound: no such camera.
            InvalidInput: no such action, or a window that this action cannot have.
        """
        grant = Grant(user_sub=user_sub, action=action, from_=from_, until=until)
        self.replace(camera_id, user_sub, [grant], withdrawing=())

    def remove(self, camera_id: UUID, user_sub: str, action: str) -> bool:
        """Take one grant back; False where there was none."""
        params = {"camera_id": camera_id, "user_sub": user_sub, "action": action}
        return self._database.execute(_GRANT_SQL["remove"], params) > 0

    def replace(
        self,
        camera_id: UUID,
        user_sub: str,
        grants: Sequence[GrantedAction],
        *,
        withdrawing: Sequence[str] | None = None,
        denials: Sequence[DenialRow] = (),
    ) -> list[Grant]:
        """Give a user exactly these grants, or add them and take ``withdrawing`` back.

        ``denials`` of what they held are written in the same transaction. Returns what was before.

        Raises:
            NotFound, InvalidInput: as ``put``.
        """
        key = {"camera_id": camera_id, "user_sub": user_sub}
        try:
            with self._database.connection() as connection:
                before = fetch_all(connection, _GRANT_SQL["of_user"], key, row=Grant)
                if withdrawing is None:
                    connection.execute(_GRANT_SQL["remove_all"], key)
                for action in withdrawing or ():
                    connection.execute(_GRANT_SQL["remove"], {**key, "action": action})
                for grant in grants:
                    window = {"from_": grant.from_, "until": grant.until}
                    connection.execute(_GRANT_SQL["put"], {**key, "action": grant.action, **window})
                put_denials(connection, denials)
        except ForeignKeyViolation as error:
            raise NotFound("no such camera") from error
        except CheckViolation as error:
            raise InvalidInput(_fault(error.diag.constraint_name), field="action") from error
        return before


def _fault(constraint: str | None) -> str:
    if constraint == "camera_grant_window":
        return "only recordings can be granted for a window of time"
    if constraint == "camera_grant_order":
        return "the window must begin before it ends"
    return "no such action"
