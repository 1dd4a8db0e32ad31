from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.actors.manager_stage import ManagerStage
from tests.unit.actors.stage import RecorderStage


@pytest.fixture
def stage() -> Iterator[RecorderStage]:
    stage = RecorderStage()
    yield stage
    stage.close()


@pytest.fixture
def tree() -> Iterator[ManagerStage]:
    tree = ManagerStage()
    yield tree
    tree.close()
