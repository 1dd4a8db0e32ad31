from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.app.desk import ArchiveDesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ArchiveDesk]:
    desk = ArchiveDesk(tmp_path)
    yield desk
    desk.close()
