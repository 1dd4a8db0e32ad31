"""Databases in another encoding than UTF-8: Postgres takes it from the locale in which it was set up."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database


@pytest.mark.parametrize(("encoding", "name"), [("SQL_ASCII", "前門"), ("LATIN1", "Hoftür")])
def test_texts_come_back_as_they_were(
    postgres_server: EmbeddedPostgres, encoding: str, name: str
) -> None:
    database_name = f"encoded_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.start(), autocommit=True) as connection:
        connection.execute(
            f"create database {database_name} encoding '{encoding}' locale 'C' template template0".encode()
        )
    url = urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{database_name}"))
    assert migrate(url)
    assert migrate(url) == []
    database = Database(url, max_size=1)
    database.open()
    try:
        cameras = CameraRepository(database)
        added = cameras.add(
            name=name, owner="alice", path="door", status="active", created_at=datetime.now(UTC)
        )
        found = cameras.get(added.id)
        assert found is not None
        assert found.name == name
    finally:
        database.close()
