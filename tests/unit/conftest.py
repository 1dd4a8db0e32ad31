"""Hypothesis, set for machines that are busy with other tests; camera files for several rooms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.unit.recordings.camera_files_harness import CameraFilesHarness

# No deadline for one example: it would measure the machine's other work.
# No database of failures: a failing example belongs into a test, not onto one machine's disk.
settings.register_profile("streamwarden", deadline=None, database=None)
settings.load_profile("streamwarden")


@pytest.fixture
def files_harness(tmp_path: Path) -> Iterator[CameraFilesHarness]:
    files_harness = CameraFilesHarness(tmp_path)
    yield files_harness
    files_harness.close()
