"""Media servers and programs that mean harm cost neither memory nor logs nor another's pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.faults import (
    SEGMENT_S,
    BreakableInstallation,
    missing_pictures,
    none,
    started,
)
from tests.acceptance.footage import stored_files
from tests.acceptance.program import programs
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

MIB = 2**20
GROWTH_BYTES = 24 * MIB
SEGMENTS = 7
LOG_BYTES = 100_000
"""For six cameras in the time of so many segments; one line has about 250 bytes."""

_FLOOD = """#!/bin/sh
case "$PWD" in *"$(cat {flooded})"*) yes 'h264 @ 0x5581: error while decoding MB' >&2 & ;; esac
exec {ffmpeg} "$@"
"""


class WithStandIn(BreakableInstallation):
    """Its FFmpeg is a script, which reads beside itself whom it is to flood."""

    def environ(self, database_url: str) -> dict[str, str]:
        """Let the script read there, in its sandbox."""
        reads = {"STREAMWARDEN_FFMPEG_READS": str(self.record_root.parent)}
        return super().environ(database_url) | reads


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Iterator[BreakableInstallation]:
    folder = tmp_path_factory.mktemp("hostile")
    program = folder / "ffmpeg"
    program.write_text(_FLOOD.format(flooded=folder / "flooded", ffmpeg=ffmpeg))
    program.chmod(0o755)
    (folder / "flooded").write_text("nobody")
    with programs(folder) as make:
        installation = WithStandIn(folder, make, ffmpeg=str(program))
        try:
            installation.ffmpeg = ffmpeg  # the cameras' own, and the one that decodes
            yield started(installation)
        finally:
            installation.close()


def flood(site: BreakableInstallation, camera: CameraUser) -> None:
    (site.record_root.parent / "flooded").write_text(camera.camera_id)


def log_bytes(site: BreakableInstallation) -> int:
    return len(site.streaming.stderr.encode())


def descriptors(site: BreakableInstallation) -> int:
    return psutil.Process(site.streaming.pid).num_fds()


def resident(site: BreakableInstallation) -> int:
    size: int = psutil.Process(site.streaming.pid).memory_info().rss
    return size


def files_after(folder: Path, count: int) -> None:
    """Wait for so many more files of a camera, without asking the program for anything."""
    before = len(stored_files(folder))
    wait_for("more files", lambda: len(stored_files(folder)) >= before + count)


MISBEHAVIOUR = ("hang", "not_rtsp", "endless_headers", "absurd_sdp", "ten_tracks")


def test_hostile_servers_and_floods_harm_nobody_else(site: BreakableInstallation) -> None:
    good, flooding = site.recorded_camera(), site.camera()
    flood(site, flooding)
    hostile = {kind: site.camera() for kind in MISBEHAVIOUR}
    for camera in (flooding, hostile["ten_tracks"]):
        site.publish(camera)
        site.await_published(camera)
    for kind, camera in hostile.items():
        site.fault(camera, describe=kind)
    files_after(site.folder_of(good), 1)
    memory, files, said = resident(site), descriptors(site), log_bytes(site)
    began = time.monotonic()
    for camera in (flooding, *hostile.values()):
        assert camera.connect().status == 200
    files_after(site.folder_of(good), SEGMENTS)
    times = (time.monotonic() - began) / (SEGMENTS * SEGMENT_S)
    assert log_bytes(site) - said < LOG_BYTES * max(1.0, times)
    assert resident(site) - memory < GROWTH_BYTES
    assert descriptors(site) - files <= 3 * (len(hostile) + 1) + 8
    flooding.await_status("running")
    assert flooding.status()["run"] == 1
    for kind, camera in hostile.items():
        if kind != "ten_tracks":
            status = camera.status()
            states = {"starting", "waiting_for_key_frame", "backoff"}  # some send bytes without end
            assert status["status"] in states, (kind, status)
            assert camera.segments() == []
    check_ten_tracks(hostile["ten_tracks"])
    assert good.status()["respawns"] == 0
    for camera in hostile.values():
        site.settle(camera)
    site.check_account(good, flooding)
    for camera in (good, flooding):
        none("missing", missing_pictures(site, camera))
    for camera in hostile.values():
        none("verify", site.findings(camera))


def check_ten_tracks(camera: CameraUser) -> None:
    """One video and at most one audio stream of the ten are recorded."""
    camera.await_status("running")
    camera.await_segments(1)
    assert camera.status()["respawns"] <= 2
