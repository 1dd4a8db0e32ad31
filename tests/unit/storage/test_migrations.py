"""Which migrations follow which, without a database."""

from __future__ import annotations

import pytest

from streamwarden.errors import ConfigError
from streamwarden.storage.migrate import (
    Applied,
    Migration,
    MigrationError,
    known_migrations,
    missing_migrations,
    parse_migration,
)

ONE = parse_migration("0001_one.sql", b"create table one ()")
TWO = parse_migration("0002_two.sql", b"create table two ()")


def applied(migration: Migration) -> Applied:
    return Applied(version=migration.version, name=migration.name, checksum=migration.checksum)


def test_this_programs_migrations_are_numbered_from_one_without_a_hole() -> None:
    versions = [migration.version for migration in known_migrations()]

    assert versions == list(range(1, len(versions) + 1))
    assert versions


def test_an_empty_database_misses_everything_in_order() -> None:
    assert missing_migrations([ONE, TWO], []) == [ONE, TWO]


def test_what_is_applied_is_not_missing() -> None:
    assert missing_migrations([ONE, TWO], [applied(ONE)]) == [TWO]
    assert missing_migrations([ONE, TWO], [applied(ONE), applied(TWO)]) == []


def test_a_file_changed_after_it_was_applied_is_refused() -> None:
    changed = parse_migration("0001_one.sql", b"create table one (id integer)")

    with pytest.raises(MigrationError, match="0001_one is not what was applied"):
        missing_migrations([changed, TWO], [applied(ONE)])


def test_a_hole_in_the_history_is_refused() -> None:
    with pytest.raises(MigrationError, match="0001_one"):
        missing_migrations([ONE, TWO], [applied(TWO)])


def test_a_newer_database_is_refused_as_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigError, match="at migration 2, this program knows 1"):
        missing_migrations([ONE], [applied(ONE), applied(TWO)])


def test_a_file_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NNNN_name"):
        parse_migration("one.sql", b"")
