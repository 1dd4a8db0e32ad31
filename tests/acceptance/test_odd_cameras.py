"""Cameras that misbehave: what is recorded of them, and that the ledger and the files agree."""

from __future__ import annotations

import pytest

from streamwarden.mp4.formats import FileFormat, format_of
from tests.acceptance.footage import holes
from tests.acceptance.odd_cameras import OddCameras
from tests.acceptance.user import CameraUser, Item

pytestmark = pytest.mark.slow


def test_an_h265_camera_is_recorded_whole(odd_cameras: OddCameras) -> None:
    _, camera = odd_cameras.record("small_h265")
    camera.await_segments(3)
    assert odd_cameras.findings(camera) == []
    segments = camera.segments()
    assert holes(segments) == []


@pytest.mark.parametrize("streams", [("small", "large"), ("small_h265", "large_h265")])
def test_files_after_a_change_of_size_have_a_header_of_that_size(
    odd_cameras: OddCameras, streams: tuple[str, str]
) -> None:
    odd, camera = odd_cameras.record(*streams)
    first = camera.await_segments(1)[-1]["run"]
    odd.show(streams[1])
    later = camera.await_segments(2, run_after=first)
    assert {header_of(odd_cameras, camera, one).width for one in later} == {640}
    before = [one for one in camera.segments() if one["run"] == first]
    assert {header_of(odd_cameras, camera, one).width for one in before} == {320}
    assert odd_cameras.findings(camera) == []
    assert holes(camera.segments()) == []
    assert [one["cause"] for one in camera.gaps()] in ([], ["starting"])
    assert camera.status()["respawns"] == 0


def header_of(odd_cameras: OddCameras, camera: CameraUser, segment: Item) -> FileFormat:
    return format_of(odd_cameras.file(camera, segment))
