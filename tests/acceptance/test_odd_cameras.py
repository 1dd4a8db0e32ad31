"""Cameras that misbehave: what is recorded of them, and that the ledger and the files agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from streamwarden.devkit.odd_camera import ReportKind, Reports, StampKind, Stamps
from streamwarden.mediamtx.rtsp_client import Login
from streamwarden.mp4.formats import FileFormat, format_of
from tests.acceptance.footage import holes, seconds_between
from tests.acceptance.odd_cameras import OddCameras
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.slow

ODD_PASSWORD = 'p@ss:w/rd#%+&é";$ {}~^!'


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
    stored = [odd_cameras.file(camera, one).read_bytes() for one in camera.segments()]
    assert {b"hev1" in one for one in stored} == {False}
    assert {b"hvc1" in one for one in stored} == {"h265" in streams[0]}
    assert odd_cameras.findings(camera) == []
    assert holes(camera.segments()) == []
    assert [one["cause"] for one in camera.gaps()] in ([], ["starting"])
    assert camera.status()["respawns"] == 0


def header_of(odd_cameras: OddCameras, camera: CameraUser, segment: Item) -> FileFormat:
    return format_of(odd_cameras.file(camera, segment))


@dataclass(frozen=True, slots=True, eq=False)
class OddKind:
    """A camera that is recorded as any other: its stream and its misbehaviour."""

    name: str
    oddities: Mapping[str, Any]
    stream: str = "small"
    lasts_s: float = 4.0
    """Until its misbehaviour has had an effect."""


KINDS = (
    OddKind("stamps twice as fast", {"stamps": Stamps(StampKind.FAST, by=2)}),
    OddKind("stamps too slow", {"stamps": Stamps(StampKind.FAST, by=0.84)}),
    OddKind("stamps 10 s back", {"stamps": Stamps(StampKind.JUMP, by=-10, at_s=3)}),
    OddKind("stamps that wrap", {"stamps": Stamps(StampKind.WRAP, at_s=2)}),
    OddKind("a marker on SEI", {"stamps": Stamps(StampKind.MARKED_SEI)}),
    OddKind(
        "a clock that steps",
        {"reports": Reports(ReportKind.STEP, by=3600, at_s=3), "sound": "aac"},
        lasts_s=7,
    ),
    OddKind("sets of another stream", {"sprop": "large"}),
    OddKind("no sets in the description", {"sprop": "none"}),
    OddKind("sets in the description only", {"in_band": False}),
    OddKind("digest", {"login": Login("ad min+x", ODD_PASSWORD), "schemes": ("Digest",)}),
    OddKind("basic", {"login": Login("ad min+x", ODD_PASSWORD), "schemes": ("Basic",)}),
    OddKind("one viewer and old pictures", {"viewers": 1, "burst_s": 3.0}),
    OddKind("metadata and a back channel", {"metadata": True, "back_channel": True}),
    OddKind("intra refresh", {"joins_mid_gop": True}, stream="intra_refresh"),
)


def test_cameras_of_odd_kinds_are_recorded_without_a_loss(odd_cameras: OddCameras) -> None:
    cameras = {kind: odd_cameras.record(kind.stream, **kind.oddities)[1] for kind in KINDS}
    for kind, camera in cameras.items():
        await_reach(camera, kind)
        assert (kind.name, camera.status()["status"]) == (kind.name, "running")
        assert camera.disconnect().status == 200
    for kind, camera in cameras.items():
        assert (kind.name, odd_cameras.findings(camera)) == (kind.name, [])
        assert (kind.name, holes(camera.recordings())) == (kind.name, [])
        # One that is joined between key frames is waited for.
        assert {gap["cause"] for gap in camera.gaps()} <= {"starting", "no_key_frame"}, kind.name
        assert camera.status()["respawns"] == 0, kind.name


def await_reach(camera: CameraUser, kind: OddKind) -> None:
    """Wait until the camera's segments reach over as much time as its misbehaviour needs."""

    def look() -> bool:
        found = camera.segments()
        began, ends = (found[0]["started_at"], found[-1]["ended_at"]) if found else ("", "")
        return bool(found) and seconds_between(began, ends) >= kind.lasts_s

    wait_for(f"{kind.name}: {kind.lasts_s} s of footage", look)
