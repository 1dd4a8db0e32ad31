"""Postgres access: the connection pool, named queries, and cursors of paged lists.

``statement_timeout`` is the server's promise. A server that is stopped, swapped out or behind a dead
network does not keep it, and a Unix socket has no timeout, so the client limits every exchange too.

A pooler (PgBouncer) may lend another session of the server for every transaction. A session notices it,
prepares no statements there, and sets its limits within each transaction.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

from psycopg import Connection, Cursor, Error, OperationalError
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import _WaitTimeout
from psycopg.rows import RowFactory, TupleRow, class_row, scalar_row
from psycopg_pool import ConnectionPool, PoolTimeout

from streamwarden.errors import ConfigError, InvalidInput, StreamwardenError
from streamwarden.storage.refusals import (
    RowRefused,
    StorageUnavailable,
    ValueRefused,
    ends_session,
    is_of_pooler,
    refused,
    unavailable,
)

T = TypeVar("T")
RV = TypeVar("RV")
Params = Mapping[str, object]

_NO_PARAMS: Params = {}
_CONNECT_TIMEOUT_S = 2
"""libpq waits for ever by default; 2 s is the least that it accepts."""
_PATIENCE_S = 15.0
"""Longer than every statement timeout: the server's own refusal keeps the session."""
_CHECK_PATIENCE_S = 1.0
_POLL_S = 0.1
"""psycopg's own interval between checks for interrupts."""
_RENEW_EVERY_S = 2.0
_READ_ONLY = "25006"
_NO_OPTIONS = "unsupported startup parameter"
"""PgBouncer's words for the parameter ``options``."""
_HEADING = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)
_LAYOUT = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class RowsRefused(StreamwardenError):
    """A row of the batch can never be stored: it violates a constraint or does not fit its column.

    No row of the batch was written. Writing the rows one by one finds the bad one.
    """

    code = "rows_refused"


class BoundedConnection(Connection[TupleRow]):
    """A connection that is closed when one exchange takes longer than ``patience_s``.

    ``pooled``: the server's session belongs to a pooler, so nothing that is set in it can be relied upon.
    """

    patience_s = _PATIENCE_S
    pooled = False

    @classmethod
    def connect(  # type: ignore[override]  # psycopg_pool and this package call it by these names alone
        cls,
        conninfo: str = "",
        *,
        on_refused: Callable[[str], None] | None = None,
        **kwargs: Any,  # noqa: ANN401 - psycopg's
    ) -> Self:
        """Connect, and look whose session it is. ``on_refused`` gets libpq's message, or "".

        Raises:
            OperationalError: no server takes the connection.
        """
        try:
            connection = cls._connect(conninfo, kwargs)
        except Error as error:
            if on_refused is not None:
                on_refused(str(error))
            raise
        if on_refused is not None:
            on_refused("")
        return connection

    @classmethod
    def _connect(cls, conninfo: str, kwargs: dict[str, Any]) -> Self:
        try:
            connection = super().connect(conninfo, **kwargs)
        except OperationalError as error:
            if _NO_OPTIONS not in str(error):
                raise
            given = {k: v for k, v in conninfo_to_dict(conninfo).items() if k != "options"}
            connection = super().connect(make_conninfo("", **given), **kwargs)
        try:
            connection._look_at_session()  # noqa: SLF001 - its own
        except BaseException:
            connection.close()
            raise
        return connection

    def _look_at_session(self) -> None:
        autocommit = self.autocommit
        self.autocommit = True
        row = self.execute(_SERVER_SQL["session"]).fetchone()
        # A pooler gives its clients cancel keys of its own, so the process is not the one that it says.
        if row is not None and row != (self.info.backend_pid, "UTC"):
            self.pooled = True
            self.prepare_threshold = None
            self.execute(_SERVER_SQL["use_utc"])
        self.autocommit = autocommit

    def wait(self, gen: PQGen[RV], interval: float = _POLL_S, timeout: float | None = None) -> RV:
        """Run ``gen`` as psycopg does, but in bounded time.

        Raises:
            OperationalError: no answer came in time; the connection is closed.
        """
        if timeout is not None:
            # A wait for notifications; its thread gets no interrupts, so it need not poll for them.
            return super().wait(gen, max(interval, timeout), timeout)
        try:
            return super().wait(gen, interval, self.patience_s)
        except _WaitTimeout as error:
            self.close()
            raise OperationalError(f"no answer within {self.patience_s:g} s") from error

    @staticmethod
    def check(connection: BoundedConnection) -> None:
        """Check that the session is alive before it is lent; takes about a second at most."""
        patience_s = connection.patience_s
        connection.patience_s = _CHECK_PATIENCE_S
        try:
            ConnectionPool.check_connection(connection)
        finally:
            connection.patience_s = patience_s


class Database:
    """A pool of connections to one database.

    ``open`` does not wait, so a program can start while Postgres is unavailable; a broken connection is
    replaced when the next one is borrowed. Sessions use UTC. A caller waits ``wait_s`` for a
    connection, ``statement_timeout_s`` for an answer, and a bounded time for a frozen server.

    A session that a demoted primary refuses to write in is of no more use, and neither are the others of
    its time: all are replaced, so that the pool follows to the new primary.

    Raises:
        ConfigError: ``url`` is not a connection string. The message does not repeat it: it may hold
            a password.
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
        self._limit = {"limit": f"{round(statement_timeout_s * 1000)}ms"}
        self._refusal = ""
        self._prepares = True
        self._renewed_s: float | None = None
        self._pool: ConnectionPool[BoundedConnection] = ConnectionPool(
            session_conninfo(
                url, statement_timeout_s=statement_timeout_s, application_name=application_name
            ),
            connection_class=BoundedConnection,
            # A single statement is a transaction by itself: without BEGIN and COMMIT it costs the server
            # and this program half as much. Several are put into one by `connection`.
            kwargs={"on_refused": self._note_refusal, "autocommit": True},
            configure=self._configure,
            min_size=1,
            max_size=max_size,
            open=False,
            name=application_name,
            timeout=wait_s,
            # A longer attempt backs off for minutes and misses a server that has returned; the next
            # borrower starts a new attempt anyway.
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

    def check(self) -> None:
        """Raise Unavailable unless Postgres answers and can be written to."""
        with self._borrowed() as connection:
            if connection.execute(_SERVER_SQL["read_only"]).fetchone() != ("off",):
                raise StorageUnavailable(
                    "the database is read-only",
                    reason="transaction_read_only is on: a standby, or a server that was made read-only",
                    sqlstate=_READ_ONLY,
                )

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """Lend a connection for one transaction: committed at the end, rolled back on an error.

        Raises:
            StorageUnavailable: no connection in time, it was lost, or the server refuses. Whether the
                transaction was committed is then unknown, so all writes are idempotent.
            ValueRefused, RowRefused: a value or a row can never be stored.
        """
        with self._borrowed(transaction=True) as connection:
            yield connection

    @contextmanager
    def _borrowed(self, *, transaction: bool = False) -> Iterator[Connection[TupleRow]]:
        """Lend a connection, on which each statement is committed by itself; raises as ``connection``."""
        try:
            with self._pool.connection() as connection:
                if not transaction and not connection.pooled:
                    yield connection
                    return
                with connection.transaction():
                    if connection.pooled:
                        # A pooler's session keeps nothing from one transaction to the next.
                        connection.execute(_SERVER_SQL["limit_statement"], self._limit)
                    yield connection
        except StorageUnavailable as error:
            self._renew_after(error)
            raise
        except Error as error:
            # The pool's own words say only that it waited; libpq's say for what.
            found = refused(error, self._refusal if isinstance(error, PoolTimeout) else "")
            if found is None:
                raise
            if isinstance(found, StorageUnavailable):
                self._renew_after(found)
            raise found from error

    def _note_refusal(self, reason: str) -> None:
        self._refusal = reason

    def _configure(self, connection: BoundedConnection) -> None:
        if not self._prepares:
            connection.prepare_threshold = None

    def _renew_after(self, error: StorageUnavailable) -> None:
        """Replace all sessions where others may serve; not more often than they can be made."""
        if not ends_session(error):
            return
        if is_of_pooler(error):
            self._prepares = False
        now_s = time.monotonic()
        if self._renewed_s is None or now_s - self._renewed_s >= _RENEW_EVERY_S:
            self._renewed_s = now_s
            self._pool.drain()

    def fetch_all(self, query: bytes, params: Params = _NO_PARAMS, *, row: type[T]) -> list[T]:
        """Return every row of ``query``, each as a ``row``."""
        with self._borrowed() as connection:
            return fetch_all(connection, query, params, row=row)

    def fetch_one(self, query: bytes, params: Params = _NO_PARAMS, *, row: type[T]) -> T | None:
        """Return the first row of ``query`` as a ``row``, None where there is none."""
        with self._borrowed() as connection:
            return fetch_one(connection, query, params, row=row)

    def fetch_values(self, query: bytes, params: Params = _NO_PARAMS) -> list[object]:
        """Return the first column of every row of ``query``."""
        with self._borrowed() as connection:
            return _cursor(connection, scalar_row).execute(query, params).fetchall()

    def execute(self, query: bytes, params: Params = _NO_PARAMS) -> int:
        """Run ``query`` in a transaction of its own; return how many rows it changed."""
        with self._borrowed() as connection:
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
        except (ValueRefused, RowRefused) as error:
            cause = type(error.__cause__).__name__
            raise RowsRefused(f"a row cannot be stored ({cause})") from error


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


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server's version as Postgres counts it (150004 is 15.4), and its clock."""

    version: int
    now: datetime


def server_facts(url: str) -> ServerFacts:
    """Ask a server once, with a session of its own.

    Raises:
        StorageUnavailable: it does not answer; ``reason`` is libpq's message.
        ConfigError: ``url`` is not a connection string.
    """
    conninfo = session_conninfo(
        url, statement_timeout_s=2.0, application_name="streamwarden-doctor"
    )
    try:
        with BoundedConnection.connect(conninfo) as connection:
            row = connection.execute(_SERVER_SQL["clock"]).fetchone()
            if row is None:
                raise AssertionError("a select without a row")
            return ServerFacts(connection.info.server_version, row[0])
    except Error as error:
        raise unavailable(error) from error


def session_conninfo(url: str, *, statement_timeout_s: float, application_name: str) -> str:
    """Return ``url`` as a connection string with the settings of our sessions.

    Where it names several servers, sessions are with the primary.

    Raises:
        ConfigError: ``url`` is not a connection string.
    """
    try:
        given = conninfo_to_dict(url)
    except Error:
        # Without the cause: libpq's message quotes the string.
        raise ConfigError("DATABASE_URL is not a Postgres connection string") from None
    hosts = max(str(given.get(name) or "").count(",") for name in ("host", "hostaddr"))
    session = f"-c TimeZone=UTC -c statement_timeout={round(statement_timeout_s * 1000)}"
    merged: dict[str, str | int | None] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": application_name,
        # Of several servers, the one that can be written to.
        **({"target_session_attrs": "read-write"} if hosts else {}),
        **given,
        # Without it psycopg returns texts of a database in SQL_ASCII, as a locale of C makes it, as bytes.
        "client_encoding": "UTF8",
        "options": f"{given.get('options', '')} {session}".strip(),
    }
    return make_conninfo("", **merged)


def hosts_of(url: str) -> tuple[str, ...]:
    """Return the hosts in a connection string; none for a socket or an invalid string."""
    try:
        given = conninfo_to_dict(url)
    except Error:
        return ()
    named = f"{given.get('host') or ''},{given.get('hostaddr') or ''}".split(",")
    return tuple(host for host in named if host and not host.startswith(("/", "@")))


def _cursor(connection: Connection[TupleRow], rows: RowFactory[T]) -> Cursor[T]:
    return connection.cursor(row_factory=rows)


def load_queries(name: str) -> Mapping[str, bytes]:
    """Return the queries of ``queries/<name>.sql`` by name.

    Each begins with ``-- name: <name>``, as in aiosql and procrastinate. They are bytes, which psycopg
    accepts as trusted SQL; values are only ever passed as parameters.
    """
    file = resources.files(__package__) / "queries" / f"{name}.sql"
    return parse_queries(file.read_text(encoding="utf-8"))


def parse_queries(text: str) -> Mapping[str, bytes]:
    """Split ``text`` at its ``-- name:`` lines.

    Raises:
        ValueError: text before the first heading, a name used twice, or a query without SQL.
    """
    preamble, *blocks = _HEADING.split(text)
    if _without_comments(preamble):
        raise ValueError("SQL before the first '-- name:' heading")
    queries: dict[str, bytes] = {}
    for name, body in zip(blocks[::2], blocks[1::2], strict=True):
        if name in queries:
            raise ValueError(f"two queries are named {name}")
        if not (sql := _without_comments(body)):
            raise ValueError(f"the query {name} is empty")
        queries[name] = sql.encode()
    return MappingProxyType(queries)


def _without_comments(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip()


_SERVER_SQL = load_queries("server")


class Position(NamedTuple):
    """The sort key of a list ordered by time, then id; compares as Postgres compares the pair."""

    moment: datetime
    id: UUID


BEGINNING = Position(datetime.min.replace(tzinfo=UTC), UUID(int=0))


def encode_cursor(position: Position) -> str:
    """Return ``position`` as 32 URL-safe characters, opaque to clients."""
    milliseconds = (position.moment - _EPOCH) // _MILLISECOND
    return base64.urlsafe_b64encode(_LAYOUT.pack(milliseconds, position.id.bytes)).decode()


def decode_cursor(cursor: str | None) -> Position:
    """Return the position that ``cursor`` names, the beginning for None.

    Raises:
        InvalidInput: ``cursor`` is not one that `encode_cursor` made.
    """
    if cursor is None:
        return BEGINNING
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        milliseconds, id_bytes = _LAYOUT.unpack(raw)
        return Position(_EPOCH + milliseconds * _MILLISECOND, UUID(bytes=id_bytes))
    except (ValueError, binascii.Error, struct.error, OverflowError) as error:
        raise InvalidInput("the cursor is not one that this list gave", field="cursor") from error
