from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.supervision.harness import Harness


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.close()
