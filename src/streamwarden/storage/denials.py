"""The tables ``denial`` and ``blocked_user``: what was revoked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Protocol

from psycopg import Connection
from psycopg.rows import TupleRow

from streamwarden.model import BlockedUser, Denial
from streamwarden.storage.pool import Database, load_queries

_SQL = load_queries("denial")
PAGE: Final = 1_000
_COLUMNS: Final = (
    "use",
    "path",
    "sub",
    "issued_before",
    "kicked_before",
    "reason",
    "expires_at",
)


class DenialRow(Protocol):
    """A denial as it is written."""

    @property
    def use(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def path(self) -> str: ...  # noqa: D102 - likewise
    @property
    def sub(self) -> str: ...  # noqa: D102 - likewise
    @property
    def issued_before(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def kicked_before(self) -> datetime | None: ...  # noqa: D102 - likewise
    @property
    def reason(self) -> str: ...  # noqa: D102 - likewise
    @property
    def expires_at(self) -> datetime: ...  # noqa: D102 - likewise


def put_denials(connection: Connection[TupleRow], denials: Sequence[DenialRow]) -> None:
    """Write denials within the transaction of ``connection``."""
    if denials:
        arrays = {name: [getattr(row, name) for row in denials] for name in _COLUMNS}
        connection.execute(_SQL["put"], arrays)


class DenialRepository:
    """Writes denials and blocks, and reads all of them for a copy in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, denials: Sequence[DenialRow]) -> None:
        """Deny; each row's moment only ever moves forward. Harmless when repeated."""
        with self._database.connection() as connection:
            put_denials(connection, denials)

    def pages(self) -> Iterator[list[Denial]]:
        """Yield every denial, a page a transaction; what is written meanwhile may be missed."""
        use = path = sub = ""
        while True:
            params = {"use": use, "path": path, "sub": sub, "limit": PAGE}
            page = self._database.fetch_all(_SQL["page"], params, row=Denial)
            yield page
            if len(page) < PAGE:
                return
            last = page[-1]
            use, path, sub = last.use, last.path, last.sub

    def fingerprint(self) -> str:
        """Return what differs whenever the denials do."""
        (found,) = self._database.fetch_values(_SQL["fingerprint"])
        return str(found)

    def drop_expired(self, now: datetime) -> int:
        """Forget denials that cover no token that can still live; return how many."""
        return self._database.execute(_SQL["drop_expired"], {"now": now})

    def block(self, user: BlockedUser, denials: Sequence[DenialRow]) -> bool:
        """Block a user and deny what they hold; False where they were blocked before."""
        params = {name: getattr(user, name) for name in BlockedUser.__slots__}
        with self._database.connection() as connection:
            new = connection.execute(_SQL["block"], params).rowcount > 0
            put_denials(connection, denials)
        return new

    def unblock(self, user_sub: str) -> bool:
        """Lift a block; False where there was none."""
        return self._database.execute(_SQL["unblock"], {"user_sub": user_sub}) > 0

    def blocked(self) -> list[BlockedUser]:
        """Return everybody who is blocked."""
        return self._database.fetch_all(_SQL["blocked"], row=BlockedUser)
