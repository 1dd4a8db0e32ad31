"""The table ``camera_grant``: what a user may do with a camera that is not their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from psycopg.errors import CheckViolation, ForeignKeyViolation

from streamwarden.errors import InvalidInput, NotFound
from streamwarden.storage.denials import DenialRow, put_denials
from streamwarden.storage.pool import Database, fetch_all
from streamwarden.storage.rows import Grant
from streamwarden.storage.sql import load_queries

_SQL = load_queries("grant")
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
        return self._database.fetch_all(_SQL["of_user"], params, row=Grant)

    def of_camera(self, camera_id: UUID) -> list[Grant]:
        """Return what was granted on this camera, by user."""
        params = {"camera_id": camera_id, "limit": MOST_GRANTS}
        return self._database.fetch_all(_SQL["of_camera"], params, row=Grant)

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
        return self._database.execute(_SQL["remove"], params) > 0

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
                before = fetch_all(connection, _SQL["of_user"], key, row=Grant)
                if withdrawing is None:
                    connection.execute(_SQL["remove_all"], key)
                for action in withdrawing or ():
                    connection.execute(_SQL["remove"], {**key, "action": action})
                for grant in grants:
                    window = {"from_": grant.from_, "until": grant.until}
                    connection.execute(_SQL["put"], {**key, "action": grant.action, **window})
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
