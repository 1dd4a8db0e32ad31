from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.actors.manager_harness import ManagerHarness
from tests.unit.actors.recorder_harness import RecorderHarness


@pytest.fixture
def harness() -> Iterator[RecorderHarness]:
    harness = RecorderHarness()
    yield harness
    harness.close()


@pytest.fixture
def tree() -> Iterator[ManagerHarness]:
    tree = ManagerHarness()
    yield tree
    tree.close()
