"""LISTEN on a connection of its own (Postgres, "LISTEN"): who writes a row tells who holds a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from psycopg import InterfaceError, OperationalError

from streamwarden.storage.pool import BoundedConnection, load_queries, session_conninfo, unavailable

_SQL = load_queries("listening")
_PATIENCE_S: Final = 5.0


class Notices:
    """What was sent on one channel since the last look."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def wait(self, timeout_s: float) -> Sequence[str]:
        """Return the payloads that are there, or that come within ``timeout_s``; maybe none.

        Raises:
            StorageUnavailable: the connection is lost.
        """
        try:
            # One is waited for, and whatever came with it is taken along.
            return [
                notice.payload
                for notice in self._connection.notifies(timeout=timeout_s, stop_after=1)
            ]
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error

    def check(self) -> None:
        """See that the other end still answers; raise StorageUnavailable."""
        try:
            self._connection.execute(_SQL["check"])
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error


@contextmanager
def listening(url: str, *, application_name: str) -> Iterator[Notices]:
    """Listen to changes of denials and blocks within the block.

    Raises:
        StorageUnavailable: Postgres does not answer.
    """
    conninfo = session_conninfo(url, statement_timeout_s=5.0, application_name=application_name)
    try:
        connection = BoundedConnection.connect(conninfo, autocommit=True)
    except OperationalError as error:
        raise unavailable(error) from error
    connection.patience_s = _PATIENCE_S
    try:
        connection.execute(_SQL["denials"])
        yield Notices(connection)
    except (OperationalError, InterfaceError) as error:
        raise unavailable(error) from error
    finally:
        connection.close()
