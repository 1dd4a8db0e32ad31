"""A connection of its own for LISTEN: changes of denials and blocks, as their writers commit them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from psycopg import Error

from streamwarden.storage.pool import BoundedConnection, load_queries, session_conninfo
from streamwarden.storage.refusals import unavailable

_SQL = load_queries("listening")
_PATIENCE_S: Final = 5.0


class Notices:
    """The notifications of one channel."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def wait(self, timeout_s: float) -> Sequence[str]:
        """Return the payloads that have arrived or arrive within ``timeout_s``, or none.

        Raises:
            StorageUnavailable: the connection is lost.
        """
        try:
            # Waits for one; others that arrived with it are returned too.
            return [
                notice.payload
                for notice in self._connection.notifies(timeout=timeout_s, stop_after=1)
            ]
        except Error as error:
            raise unavailable(error) from error

    def check(self) -> None:
        """Raise StorageUnavailable unless the server still answers."""
        try:
            self._connection.execute(_SQL["check"])
        except Error as error:
            raise unavailable(error) from error


@contextmanager
def listening(url: str, *, application_name: str) -> Iterator[Notices]:
    """Listen for changes of denials and blocks inside the ``with`` block.

    Raises:
        StorageUnavailable: Postgres does not answer.
    """
    conninfo = session_conninfo(url, statement_timeout_s=5.0, application_name=application_name)
    try:
        connection = BoundedConnection.connect(conninfo, autocommit=True)
    except Error as error:
        raise unavailable(error) from error
    connection.patience_s = _PATIENCE_S
    try:
        connection.execute(_SQL["denials"])
        yield Notices(connection)
    except Error as error:
        raise unavailable(error) from error
    finally:
        connection.close()
