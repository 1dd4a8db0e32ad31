"""One session with Postgres, which gives up on a server that has frozen.

``statement_timeout`` is the server's promise; a server that is stopped, swapped out or behind a
dead network keeps none, and a Unix socket has no timeout of its own. So the client counts too.
"""

from __future__ import annotations

from typing import TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

RV = TypeVar("RV")

_PATIENCE_S = 15.0
"""More than any statement timeout of ours: the server's own refusal keeps the session."""

_CHECK_PATIENCE_S = 1.0

_POLL_S = 0.1
"""psycopg's own interval between looks at interrupts."""


class BoundedConnection(Connection[TupleRow]):
    """A connection that is closed when one exchange takes longer than its patience."""

    patience_s = _PATIENCE_S

    def wait(self, gen: PQGen[RV], interval: float = _POLL_S, timeout: float | None = None) -> RV:
        """Run ``gen`` to its end, as psycopg does, in bounded time.

        Raises:
            OperationalError: no answer came in time; the connection is closed.
        """
        if timeout is not None:
            # Waiting for notices: no interrupt comes to that thread, which need not wake for one.
            return super().wait(gen, max(interval, timeout), timeout)
        try:
            return super().wait(gen, interval, self.patience_s)
        except _WaitTimeout as error:
            self.close()
            raise OperationalError(f"no answer within {self.patience_s:g} s") from error

    @staticmethod
    def check(connection: BoundedConnection) -> None:
        """See that the session still lives before it is lent, in about a second."""
        patience_s = connection.patience_s
        connection.patience_s = _CHECK_PATIENCE_S
        try:
            ConnectionPool.check_connection(connection)
        finally:
            connection.patience_s = patience_s
