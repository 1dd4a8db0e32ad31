"""Connections to Postgres: a bounded pool that outlives the server it connects to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from psycopg import (
    Connection,
    Cursor,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import RowFactory, TupleRow, class_row, scalar_row
from psycopg_pool import ConnectionPool

from streamwarden.errors import ConfigError, StreamwardenError, Unavailable
from streamwarden.storage.session import BoundedConnection

T = TypeVar("T")
Params = Mapping[str, object]

_CONNECT_TIMEOUT_S = 2
"""libpq waits for ever by default, and no less than two seconds when asked."""

_NO_PARAMS: Params = {}


class StorageUnavailable(Unavailable):
    """Postgres does not answer now: away, starting, full or too slow. Later it may.

    ``reason`` is what libpq says, for an operator: it names hosts and users, never a password.
    """

    code = "storage_unavailable"

    def __init__(self, detail: str, *, reason: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


class RowsRefused(StreamwardenError):
    """A row among those written can never be stored: it contradicts itself or does not fit.

    Nothing of the batch was written. Repeating it is no use; writing its rows singly shows which.
    """

    code = "rows_refused"


class Database:
    """A pool of connections to one database.

    Opening waits for nothing, so a program can start while Postgres is away; a connection that
    broke is replaced when the next one is asked for. Sessions speak UTC. A caller waits ``wait_s``
    for a connection, ``statement_timeout_s`` for an answer, and a bounded time for a server that
    has frozen.

    Raises:
        ConfigError: ``url`` is no connection string. The message does not repeat it: it may hold a
            password.
    """

    def __init__(
        self,
        url: str,
        *,
        max_size: int = 8,
        wait_s: float = 2.0,
        statement_timeout_s: float = 10.0,
        application_name: str = "streamwarden",
    ) -> None:
        self._pool: ConnectionPool[BoundedConnection] = ConnectionPool(
            session_conninfo(
                url, statement_timeout_s=statement_timeout_s, application_name=application_name
            ),
            connection_class=BoundedConnection,
            min_size=1,
            max_size=max_size,
            open=False,
            name=application_name,
            timeout=wait_s,
            # A longer attempt backs off for minutes and leaves a returned server unnoticed; whoever
            # asks for a connection next starts a new attempt anyway.
            reconnect_timeout=wait_s,
            check=BoundedConnection.check,
            num_workers=2,
        )

    def open(self) -> None:
        """Start connecting in the background."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection and end the pool's threads. A closed database stays closed."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """Lend a connection for one transaction: committed at the end, rolled back on an error.

        Raises:
            StorageUnavailable: no connection in time, or it was lost. Whether the transaction took
                place is then unknown, so writes are made to be repeatable.
        """
        try:
            with self._pool.connection() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error

    def fetch_all(self, query: bytes, params: Params = _NO_PARAMS, *, row: type[T]) -> list[T]:
        """Return every row of ``query``, each as a ``row``."""
        with self.connection() as connection:
            return fetch_all(connection, query, params, row=row)

    def fetch_one(self, query: bytes, params: Params = _NO_PARAMS, *, row: type[T]) -> T | None:
        """Return the first row of ``query`` as a ``row``, None where there is none."""
        with self.connection() as connection:
            return fetch_one(connection, query, params, row=row)

    def fetch_values(self, query: bytes, params: Params = _NO_PARAMS) -> list[object]:
        """Return the first column of every row of ``query``."""
        with self.connection() as connection:
            return _cursor(connection, scalar_row).execute(query, params).fetchall()

    def execute(self, query: bytes, params: Params = _NO_PARAMS) -> int:
        """Run ``query`` in a transaction of its own; return how many rows it changed."""
        with self.connection() as connection:
            return connection.execute(query, params).rowcount

    def write_rows(self, query: bytes, rows: Sequence[object], columns: Iterable[str]) -> int:
        """Run ``query`` once for all ``rows``, each column as one array; return how many changed.

        Raises:
            RowsRefused: one of them can never be stored.
        """
        if not rows:
            return 0
        arrays = {name: [getattr(row, name) for row in rows] for name in columns}
        try:
            return self.execute(query, arrays)
        except (DataError, IntegrityError) as error:
            raise RowsRefused(f"a row cannot be stored ({type(error).__name__})") from error


def fetch_all(
    connection: Connection[TupleRow], query: bytes, params: Params, *, row: type[T]
) -> list[T]:
    """Return every row of ``query`` within the transaction of ``connection``."""
    return _cursor(connection, class_row(row)).execute(query, params).fetchall()


def fetch_one(
    connection: Connection[TupleRow], query: bytes, params: Params, *, row: type[T]
) -> T | None:
    """Return the first row of ``query`` within the transaction of ``connection``."""
    return _cursor(connection, class_row(row)).execute(query, params).fetchone()


def unavailable(error: Error) -> StorageUnavailable:
    """Say that Postgres is away; what it said itself is kept out of the message for users."""
    return StorageUnavailable("the database does not answer", reason=str(error))


def session_conninfo(url: str, *, statement_timeout_s: float, application_name: str) -> str:
    """Return ``url`` as a connection string for our sessions.

    Raises:
        ConfigError: it is no connection string.
    """
    try:
        given = conninfo_to_dict(url)
    except Error:
        # Without the cause: libpq's message quotes the string.
        raise ConfigError("DATABASE_URL is not a Postgres connection string") from None
    session = f"-c TimeZone=UTC -c statement_timeout={round(statement_timeout_s * 1000)}"
    merged: dict[str, str | int | None] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": application_name,
        **given,
        "options": f"{given.get('options', '')} {session}".strip(),
    }
    return make_conninfo("", **merged)


def hosts_of(url: str) -> tuple[str, ...]:
    """Return the hosts that a connection string names, none for a socket or for what is none."""
    try:
        given = conninfo_to_dict(url)
    except Error:
        return ()
    named = f"{given.get('host') or ''},{given.get('hostaddr') or ''}".split(",")
    return tuple(host for host in named if host and not host.startswith(("/", "@")))


def _cursor(connection: Connection[TupleRow], rows: RowFactory[T]) -> Cursor[T]:
    return connection.cursor(row_factory=rows)
