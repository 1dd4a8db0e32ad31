"""Cameras that misbehave: what is recorded of them, and that the ledger and the files agree."""

from __future__ import annotations

import pytest

from tests.acceptance.footage import holes
from tests.acceptance.odd_cameras import OddCameras

pytestmark = pytest.mark.slow


def test_an_h265_camera_is_recorded_whole(odd_cameras: OddCameras) -> None:
    _, camera = odd_cameras.record("small_h265")
    camera.await_segments(3)
    assert odd_cameras.findings(camera) == []
    segments = camera.segments()
    assert holes(segments) == []
