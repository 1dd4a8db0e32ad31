"""What integration tests share on top of a database of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.storage.pool import Database
from tests.acceptance.pressure import watched


@pytest.fixture(scope="session", autouse=True)
def _pressure() -> Iterator[None]:
    with watched():
        yield


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An opened pool on this test's database."""
    database = Database(database_url, max_size=4)
    database.open()
    yield database
    database.close()
