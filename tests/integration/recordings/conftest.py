"""One database and one set of clips for all tests of recordings; each test finds the tables empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database
from tests.integration.recordings.harness import Recordings, make_clips

_NAME = "recordings"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Segments of two seconds, made by FFmpeg."""
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def shared_url(postgres_server: EmbeddedPostgres) -> str:
    """A migrated database for all tests of this folder: a copy for each would cost half their time."""
    with psycopg.connect(postgres_server.start(), autocommit=True) as connection:
        connection.execute(f"create database {_NAME}".encode())
    url = urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{_NAME}"))
    migrate(url)
    return url


@pytest.fixture(scope="session")
def _shared_database(shared_url: str) -> Iterator[Database]:
    database = Database(shared_url, max_size=2)
    database.open()
    yield database
    database.close()


@pytest.fixture
def database(_shared_database: Database) -> Database:
    """The shared database, its tables empty."""
    _shared_database.execute(b"truncate segment, gap, wanted_period, stream, given_up")
    _shared_database.execute(b"truncate record_root, streaming_lease")
    _shared_database.execute(b"truncate camera cascade")
    return _shared_database


@pytest.fixture
def made(tmp_path: Path, database: Database, clips: list[Path]) -> Iterator[Recordings]:
    """An empty record root with its index."""
    recordings = Recordings(tmp_path / "records of all", database, clips)
    yield recordings
    recordings.close()
