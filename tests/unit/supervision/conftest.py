from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.supervision.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()
