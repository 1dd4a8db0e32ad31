"""The tables ``denial`` and ``blocked_user``: revoked tokens and blocked users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from psycopg import Connection
from psycopg.rows import TupleRow

from streamwarden.model import BlockedUser, Denial
from streamwarden.storage.pool import Database, load_queries

_SQL = load_queries("denial")
PAGE: Final = 1_000


class DenialRepository:
    """Writes denials and blocks, and reads all of them for the copy in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, denials: Sequence[Denial]) -> None:
        """Add denials; the time of a known one only moves forward. Idempotent."""
        with self._database.connection() as connection:
            put_denials(connection, denials)

    def pages(self) -> Iterator[list[Denial]]:
        """Yield every denial, one page for each transaction; rows written meanwhile may be missed."""
        use = path = sub = ""
        while True:
            params = {"use": use, "path": path, "sub": sub, "limit": PAGE}
            page = self._database.fetch_all(_SQL["page"], params, row=Denial)
            yield page
            if len(page) < PAGE:
                return
            last = page[-1]
            use, path, sub = last.use, last.path, last.sub

    def path_known(self, path: str) -> bool:
        """Return whether the publish links of a path have been denied: a camera has had the path."""
        return bool(self._database.fetch_values(_SQL["path_known"], {"path": path}))

    def fingerprint(self) -> str:
        """Return a text that changes whenever the table does."""
        (found,) = self._database.fetch_values(_SQL["fingerprint"])
        return str(found)

    def drop_expired(self, now: datetime) -> int:
        """Delete denials whose tokens have all expired; return how many."""
        return self._database.execute(_SQL["drop_expired"], {"now": now})

    def block(self, user: BlockedUser, denials: Sequence[Denial]) -> bool:
        """Block a user and add ``denials``; return False where the user was blocked before."""
        params = {name: getattr(user, name) for name in BlockedUser.__slots__}
        with self._database.connection() as connection:
            new = connection.execute(_SQL["block"], params).rowcount > 0
            put_denials(connection, denials)
        return new

    def unblock(self, user_sub: str) -> bool:
        """Remove a block; return False where there was none."""
        return self._database.execute(_SQL["unblock"], {"user_sub": user_sub}) > 0

    def blocked(self) -> list[BlockedUser]:
        """Return all blocked users."""
        return self._database.fetch_all(_SQL["blocked"], row=BlockedUser)


def put_denials(connection: Connection[TupleRow], denials: Sequence[Denial]) -> None:
    """Write denials within the transaction of ``connection``."""
    if denials:
        rows = list(_merged(denials))
        arrays = {name: [getattr(row, name) for row in rows] for name in Denial.__slots__}
        connection.execute(_SQL["put"], arrays)


def _merged(denials: Sequence[Denial]) -> Iterable[Denial]:
    """Return one denial of each key: one statement cannot change a row twice."""
    found: dict[tuple[str, str, str], Denial] = {}
    for row in denials:
        key = (row.use, row.path, row.sub)
        first = found.get(key)
        found[key] = row if first is None else _later(first, row)
    return found.values()


def _later(first: Denial, second: Denial) -> Denial:
    base = second if second.issued_before >= first.issued_before else first
    kicks = [row.kicked_before for row in (first, second) if row.kicked_before is not None]
    return replace(
        base,
        kicked_before=max(kicks, default=None),
        expires_at=max(first.expires_at, second.expires_at),
    )
