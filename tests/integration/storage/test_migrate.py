"""Migrations over a real Postgres: once, in order, by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from streamwarden.errors import ConfigError
from streamwarden.storage.migrate import (
    Migration,
    MigrationError,
    known_migrations,
    migrate,
    parse_migration,
    pending,
)
from streamwarden.storage.refusals import StorageUnavailable

MIGRATE = (
    "import sys; from streamwarden.storage.migrate import migrate; print(len(migrate(sys.argv[1])))"
)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'")
        return {str(row[0]) for row in rows}


def migrated_elsewhere(url: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE, url], capture_output=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_a_new_database_gets_every_table_and_a_second_time_nothing(empty_database_url: str) -> None:
    assert pending(empty_database_url) == list(known_migrations())
    assert tables(empty_database_url) == set()

    assert migrate(empty_database_url) == list(known_migrations())
    assert migrate(empty_database_url) == []

    assert pending(empty_database_url) == []
    assert tables(empty_database_url) == {
        *("camera", "camera_grant", "settings", "stream", "wanted_period", "given_up"),
        *("segment", "gap", "denial", "blocked_user", "audit", "schema_migration"),
        "database_dump",
        *("camera_source", "pulled_path", "seal", "record_root", "streaming_lease"),
    }


def test_processes_that_migrate_at_once_apply_each_file_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(migrated_elsewhere, [empty_database_url] * 3))

    assert sum(applied) == len(known_migrations())


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database_url: str) -> None:
    good = parse_migration("0001_good.sql", b"create table good ()")
    bad = parse_migration("0002_bad.sql", b"create table half (); select 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database_url, known=[good, bad])

    assert tables(empty_database_url) == {"good", "schema_migration"}
    assert pending(empty_database_url, known=[good, bad]) == [bad]


def test_a_migration_that_is_not_recorded_did_not_take_place(empty_database_url: str) -> None:
    unrecorded = parse_migration("0001_gone.sql", b"drop table schema_migration")

    with pytest.raises(StorageUnavailable, match="lacks a table"):
        migrate(empty_database_url, known=[unrecorded])

    assert tables(empty_database_url) == set()


def test_a_changed_file_is_refused_before_anything_is_applied(empty_database_url: str) -> None:
    one = parse_migration("0001_one.sql", b"create table one ()")
    two = parse_migration("0002_two.sql", b"create table two ()")
    migrate(empty_database_url, known=[one])
    changed = Migration(version=1, name="one", checksum="0" * 64, sql=one.sql)

    for attempt in (migrate, pending):
        with pytest.raises(MigrationError):
            attempt(empty_database_url, known=[changed, two])
    assert "two" not in tables(empty_database_url)


def test_a_newer_database_is_refused(empty_database_url: str) -> None:
    migrate(empty_database_url)

    with pytest.raises(MigrationError, match="run a newer streamwarden"):
        migrate(empty_database_url, known=[])


def test_an_absent_postgres_is_unavailable_with_a_reason_but_no_password() -> None:
    with pytest.raises(StorageUnavailable) as refused:
        migrate("postgresql://user:hunter2@127.0.0.1:1/none")

    assert "127.0.0.1" in refused.value.reason
    assert "hunter2" not in f"{refused.value} {refused.value.reason} {refused.value.__cause__}"


def test_a_url_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        migrate("postgresql://user:hunter2@[broken")

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
