"""What tests of every folder share: a real Postgres, and a database of one's own in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.storage.migrate import migrate

_TEMPLATE = "migrated"
_LONGEST_FIRST = (
    "test_faults.py",
    "test_chaos.py",
    "test_roles.py",
    "test_kinds.py",
    "test_recordings.py",
    "test_time.py",
    "test_lifecycle.py",
    "test_flow.py",
    "test_faults_of_actors.py",
    "test_hostile.py",
    "test_upgrade.py",
    "test_looks.py",
    "test_cameras.py",
    "test_virtual_cameras.py",
    "test_runs_of_ffmpeg.py",
    "test_relay_ffmpeg.py",
    "test_exit_causes_of_ffmpeg.py",
    "test_pulled_cameras.py",
    "test_model.py",
)
"""Files that take long begin first, so that none runs alone at the end; the rest in any order."""
_numbers = count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One cluster for the whole session; a test that kills it starts it again."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def _migrated_template(postgres_server: EmbeddedPostgres) -> str:
    _administer(postgres_server, f"create database {_TEMPLATE}")
    migrate(_url_of(postgres_server, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, _migrated_template: str) -> Iterator[str]:
    """A migrated database without rows, for this test alone."""
    yield from _database(postgres_server, template=_migrated_template)


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database without tables, for this test alone."""
    yield from _database(postgres_server, template="template0")


def _database(server: EmbeddedPostgres, *, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _administer(server, f"create database {name} template {template}")
    yield _url_of(server, name)
    _administer(server, f"drop database {name} with (force)")


def _administer(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute(statement.encode())


def _url_of(server: EmbeddedPostgres, database: str) -> str:
    return urlunsplit(urlsplit(server.url)._replace(path=f"/{database}"))
