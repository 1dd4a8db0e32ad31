"""Schema migrations: numbered SQL files, applied once and in order.

A released file is never edited: the database keeps the SHA-256 of each applied file, and a file that
differs is refused. So is a database that a newer program has migrated.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

import structlog
from psycopg import Connection, Error
from psycopg.rows import TupleRow, class_row

from streamwarden.errors import ConfigError, StreamwardenError, Unavailable, in_full
from streamwarden.storage.pool import BoundedConnection, load_queries, session_conninfo
from streamwarden.storage.refusals import refused

_SQL = load_queries("migration")


_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class MigrationError(ConfigError):
    """The program and the database do not match; the message says which one is older."""

    code = "migration_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A migration as the database has recorded it."""

    version: int
    name: str
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file ``migrations/NNNN_name.sql``; ``checksum`` is its SHA-256 in hexadecimal."""

    version: int
    name: str
    checksum: str
    sql: bytes = field(repr=False)


def known_migrations() -> tuple[Migration, ...]:
    """Return this program's migrations in order."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(parse_migration(file.name, file.read_bytes()) for file in files)


def parse_migration(file_name: str, sql: bytes) -> Migration:
    """Return the migration of a file.

    Raises:
        ValueError: the file is not named ``NNNN_name.sql``.
    """
    if not (match := _FILE_NAME.fullmatch(file_name)):
        raise ValueError(f"{file_name} is not named NNNN_name.sql")
    checksum = hashlib.sha256(sql).hexdigest()
    return Migration(version=int(match[1]), name=match[2], checksum=checksum, sql=sql)


def migrate(url: str, *, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply the missing files, each in its own transaction; return them.

    An advisory lock serializes processes that migrate at the same time. It belongs to each transaction: a
    pooler may lend the next one another session.

    Raises:
        MigrationError: a file was changed after it was applied, or the database is newer.
        StorageUnavailable: Postgres does not answer or refuses, or another migration takes over a minute.
    """
    applied: list[Migration] = []
    with _session(url) as connection:
        while (migration := _next(connection, _known(known))) is not None:
            applied.append(migration)
    return applied


def _next(connection: Connection[TupleRow], known: Sequence[Migration]) -> Migration | None:
    """Apply the next missing file; return it, None where none is missing."""
    with connection.transaction():
        connection.execute(_SQL["no_time_limit"])
        connection.execute(_SQL["limit_lock_wait"])
        connection.execute(_SQL["lock"])
        connection.execute(_SQL["create_history"])
        missing = missing_migrations(known, _history(connection))
        if not missing:
            return None
        migration = missing[0]
        connection.execute(migration.sql)
        record = {
            "version": migration.version,
            "name": migration.name,
            "checksum": migration.checksum,
        }
        connection.execute(_SQL["record"], record)
    return migration


def pending(url: str, *, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Return what ``migrate`` would apply, without applying it. Raises as ``migrate`` does."""
    with _session(url) as connection:
        has_history = connection.execute(_SQL["has_history"]).fetchone() == (True,)
        applied = _history(connection) if has_history else []
    return missing_migrations(_known(known), applied)


def missing_migrations(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """Return the migrations that follow those applied.

    Raises:
        MigrationError: ``applied`` is not the beginning of ``known``.
    """
    newest = known[-1].version if known else 0
    if applied and applied[-1].version > newest:
        raise MigrationError(
            f"the database is at migration {applied[-1].version}, this program knows {newest}: "
            "run a newer streamwarden"
        )
    for migration, record in zip(known, applied, strict=False):
        if (migration.version, migration.checksum) != (record.version, record.checksum):
            raise MigrationError(
                f"migration {migration.version:04d}_{migration.name} is not what was applied to "
                "this database: a released migration must never be changed"
            )
    return list(known[len(applied) :])


class _PatientConnection(BoundedConnection):
    """A connection for statements that may take hours on a large table."""

    patience_s = 86_400.0


def _known(known: Sequence[Migration] | None) -> Sequence[Migration]:
    return known_migrations() if known is None else known


@contextmanager
def _session(url: str) -> Iterator[Connection[TupleRow]]:
    conninfo = session_conninfo(url, statement_timeout_s=0, application_name="streamwarden-migrate")
    try:
        with _PatientConnection.connect(conninfo, autocommit=True) as connection:
            yield connection
    except Error as error:
        found = refused(error)
        if not isinstance(found, Unavailable):
            raise  # a statement of a migration is wrong
        raise found from error


def _history(connection: Connection[TupleRow]) -> list[Applied]:
    return connection.cursor(row_factory=class_row(Applied)).execute(_SQL["history"]).fetchall()


log = structlog.get_logger(__name__)


_AGAIN_S: Final = 2.0


class Migrating:
    """The migration at the start of the API role; retried on a thread while Postgres is unavailable."""

    def __init__(self, url: str, *, on_failure: Callable[[str], None]) -> None:
        self._url = url
        self._on_failure = on_failure
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Migrate now, or as soon as Postgres answers.

        Raises:
            StreamwardenError: the database is newer than this program, or was changed by hand.
        """
        if self._attempt():
            return
        self._thread = threading.Thread(target=self._later, name="migrations", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop retrying."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_AGAIN_S)

    def check(self) -> None:
        """Raise Unavailable until the database is up to date."""
        if not self._done.is_set():
            raise Unavailable("the database has not been brought up to date yet")

    def _attempt(self) -> bool:
        try:
            applied = migrate(self._url)
        except Unavailable as error:
            log.warning("migrations_wait_for_postgres", detail=in_full(error))
            return False
        if applied:
            log.info("migrations_applied", versions=[migration.version for migration in applied])
        self._done.set()
        return True

    def _later(self) -> None:
        while not self._stopping.wait(_AGAIN_S):
            try:
                if self._attempt():
                    return
            except StreamwardenError as error:
                self._on_failure(in_full(error))
                return
