"""The table ``camera_grant``: what a user may do with a camera that is not their own."""

from __future__ import annotations

from uuid import UUID

from psycopg.errors import CheckViolation, ForeignKeyViolation

from streamwarden.errors import InvalidInput, NotFound
from streamwarden.storage.pool import Database
from streamwarden.storage.sql import load_queries

_SQL = load_queries("grant")


class GrantRepository:
    """Granted actions: ``view``, ``recordings``, ``control``, ``publish``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def actions(self, camera_id: UUID, user_sub: str) -> frozenset[str]:
        """Return what ``user_sub`` has been granted on this camera."""
        params = {"camera_id": camera_id, "user_sub": user_sub}
        return frozenset(map(str, self._database.fetch_values(_SQL["actions"], params)))

    def put(self, camera_id: UUID, user_sub: str, action: str) -> None:
        """Grant one action. Harmless when repeated.

        Raises:
            NotFound: no such camera.
            InvalidInput: no such action.
        """
        params = {"camera_id": camera_id, "user_sub": user_sub, "action": action}
        try:
            self._database.execute(_SQL["put"], params)
        except ForeignKeyViolation as error:
            raise NotFound("no such camera") from error
        except CheckViolation as error:
            raise InvalidInput("no such action", field="action") from error

    def remove(self, camera_id: UUID, user_sub: str, action: str) -> bool:
        """Take one grant back; False where there was none."""
        params = {"camera_id": camera_id, "user_sub": user_sub, "action": action}
        return self._database.execute(_SQL["remove"], params) > 0
