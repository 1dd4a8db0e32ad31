"""The pool while Postgres is there, is killed, comes back and freezes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.errors import ConfigError, Unavailable
from streamwarden.storage import pool
from streamwarden.storage.pool import Database
from streamwarden.storage.refusals import StorageUnavailable
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s

ONE = b"select 1"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own: it is killed and frozen."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("pool"), fsync=False) as server:
        yield server


@contextmanager
def opened(url: str, **options: float) -> Iterator[Database]:
    database = Database(url, max_size=2, wait_s=1.0, **options)  # type: ignore[arg-type] # floats only
    database.open()
    try:
        yield database
    finally:
        database.close()


def seconds_until_answered(database: Database) -> float:
    """Return how long it took until a query succeeded; fail after ten seconds."""
    started = instant()
    while had_s(started, instant()) < 10:
        try:
            database.fetch_values(ONE)
        except StorageUnavailable:
            continue
        return had_s(started, instant())
    pytest.fail("the pool did not come back")


def test_a_block_that_ends_well_is_committed(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("insert into settings values ('a', '1')")

    assert database.fetch_values(b"select key from settings") == ["a"]


def test_a_block_that_raises_is_rolled_back(database: Database) -> None:
    with pytest.raises(LookupError), database.connection() as connection:  # noqa: PT012 - the block is the point
        connection.execute("insert into settings values ('a', '1')")
        raise LookupError

    assert database.fetch_values(b"select key from settings") == []


def test_a_single_statement_is_a_transaction_by_itself(database: Database) -> None:
    # After a BEGIN the transaction would be older than its statement.
    assert database.fetch_values(b"select now() = statement_timestamp()") == [True]


def test_a_session_speaks_utc_and_has_a_time_limit(database: Database) -> None:
    (found,) = database.fetch_values(
        b"select current_setting('TimeZone') || ' ' || current_setting('statement_timeout')"
    )

    assert found == "UTC 10s"


def test_a_mistake_of_the_program_is_not_taken_for_an_outage(database: Database) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        database.fetch_values(b"select %(not_given)s")


def test_a_statement_that_takes_too_long_is_unavailable(database_url: str) -> None:
    with opened(database_url, statement_timeout_s=0.05) as database:
        with pytest.raises(StorageUnavailable) as refused:
            database.execute(b"select pg_sleep(10)")
        assert "statement timeout" in refused.value.reason
        assert database.fetch_values(ONE) == [1]


def test_an_absent_postgres_delays_no_opening_and_fails_in_bounded_time(tmp_path: Path) -> None:
    started = instant()
    with opened(f"postgresql://u:hunter2@/db?host={tmp_path}") as database:
        assert had_s(started, instant()) < 0.5
        with pytest.raises(Unavailable) as refused:
            database.fetch_values(ONE)

    assert had_s(started, instant()) < 5
    assert refused.value.code == "storage_unavailable"
    assert "hunter2" not in f"{refused.value} {refused.value.__cause__}"


def test_a_url_with_a_password_is_never_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        Database("postgresql://u:hunter2@[::1/db")

    assert "hunter2" not in str(refused.value)


def test_a_closed_pool_is_unavailable(database_url: str) -> None:
    with opened(database_url) as database:
        pass

    with pytest.raises(StorageUnavailable):
        database.fetch_values(ONE)


def test_a_killed_server_is_an_outage_and_its_return_is_noticed(
    own_server: EmbeddedPostgres,
) -> None:
    with opened(own_server.start()) as database:
        assert database.fetch_values(ONE) == [1]

        own_server.kill()
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                database.fetch_values(ONE)

        own_server.start()
        assert seconds_until_answered(database) < 4


def test_a_connection_lost_within_a_block_is_an_outage(own_server: EmbeddedPostgres) -> None:
    with opened(own_server.start()) as database:
        with pytest.raises(StorageUnavailable), database.connection() as connection:  # noqa: PT012 - likewise
            own_server.kill()
            connection.execute("select 1")

        own_server.start()
        assert seconds_until_answered(database) < 4


def test_a_pool_opened_before_its_server_finds_it(own_server: EmbeddedPostgres) -> None:
    own_server.start()
    own_server.kill()
    with opened(own_server.url) as database:
        with pytest.raises(StorageUnavailable):
            database.fetch_values(ONE)

        own_server.start()
        assert seconds_until_answered(database) < 4


def test_a_frozen_server_holds_nobody_for_ever(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_CHECK_PATIENCE_S", 0.2)
    with opened(own_server.start()) as database:
        assert database.fetch_values(ONE) == [1]
        with _frozen(_processes_of(own_server)):
            started = instant()
            with pytest.raises(StorageUnavailable):
                database.fetch_values(ONE)
            assert had_s(started, instant()) < 5

        assert seconds_until_answered(database) < 5


def test_an_answer_that_never_comes_closes_the_connection(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool.BoundedConnection, "patience_s", 0.2)
    with opened(own_server.start()) as database, database.connection() as connection:
        backend = connection.info.backend_pid
        with _frozen([backend]), pytest.raises(psycopg.OperationalError, match="no answer"):
            connection.execute(ONE)
        assert connection.closed


def _processes_of(server: EmbeddedPostgres) -> list[int]:
    postmaster = psutil.Process(server.pid)
    return [postmaster.pid, *(child.pid for child in postmaster.children())]


@contextmanager
def _frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
