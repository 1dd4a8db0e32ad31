"""Virtual cameras against real FFmpegs and a real relay."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.devkit.clock_reading import (
    FrameUnreadable,
    clock_in_file,
    clocks_in_file,
    moment_of,
)
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.devkit.video_source import SMALL_PICTURE, LoopedClip, TestPicture
from streamwarden.devkit.virtual_camera import RestartPauses, VirtualCamera, stop_cameras
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s, waited_s
from tests.acceptance.waiting import PATIENCE_S

BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
FFMPEGS = [
    pytest.param(shutil.which("ffmpeg"), id="path", marks=pytest.mark.skipif(
        shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH: install Debian's ffmpeg")),
    pytest.param(BUNDLED, id="bundled"),
]  # fmt: skip
QUICK = RestartPauses(first_s=0.2, most_s=0.5)
PRECISION_S = 0.2


def late_at_most_s(first: datetime, last: datetime) -> float:
    """A picture is as late as this machine keeps its encoder waiting."""
    return PRECISION_S + waited_s(first, last)


@pytest.fixture
def relay() -> Iterator[RelayServer]:
    with RelayServer() as server:
        yield server


def camera_at(relay: RelayServer, path: str, *, ffmpeg: str = BUNDLED) -> VirtualCamera:
    url = f"{relay.rtsp_url}/{path}"
    return VirtualCamera(path, lambda: url, ffmpeg=ffmpeg, source=SMALL_PICTURE, pauses=QUICK)


def eventually(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


@pytest.mark.parametrize("ffmpeg", FFMPEGS)
@pytest.mark.parametrize("picture", [SMALL_PICTURE, TestPicture()], ids=["small", "full"])
def test_each_frame_shows_when_it_was_taken(
    ffmpeg: str, picture: TestPicture, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    argv = [ffmpeg, "-nostdin", "-loglevel", "error", *picture.arguments(), "-t", "2", str(film)]
    subprocess.run(argv, check=True, timeout=60)
    ended = datetime.now(UTC)
    readings = list(clocks_in_file(ffmpeg, film))
    assert len(readings) == 2 * picture.fps
    moments = [moment_of(r, near=ended) for r in readings if r is not None]
    assert len(moments) == len(readings)
    spacing = timedelta(seconds=1 / picture.fps)
    first = moments[0]
    late_s = [(m - first - n * spacing).total_seconds() for n, m in enumerate(moments)]
    bound_s = late_at_most_s(first, ended)
    assert max(abs(late) for late in late_s) <= bound_s
    assert abs((ended - moments[-1]).total_seconds()) <= bound_s + 0.3  # closing the file


@pytest.mark.parametrize("ffmpeg", FFMPEGS)
def test_a_frame_that_arrives_now_shows_now(ffmpeg: str, relay: RelayServer) -> None:
    url = f"{relay.rtsp_url}/cam"
    with camera_at(relay, "cam", ffmpeg=ffmpeg):
        assert relay.wait_for_publisher("cam", timeout_s=PATIENCE_S)
        arrivals = [(r, datetime.now(UTC)) for r in clocks_in_file(BUNDLED, url, frames=60)]
    behind_s = [(at - moment_of(r, near=at)).total_seconds() for r, at in arrivals if r is not None]
    assert len(behind_s) >= 55
    # What the reader's FFmpeg held back while it probed comes at once; the last frames are live.
    # Encoding, the relay and decoding take 0.2 s together on an idle machine.
    assert 0 <= min(behind_s[-15:]) <= late_at_most_s(arrivals[0][1], arrivals[-1][1]) + 0.3


def test_a_file_without_a_frame_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FrameUnreadable, match=r"99\.000 s into"):
        clock_in_file(BUNDLED, tmp_path / "missing.mp4", offset_s=99)


def test_a_camera_comes_back_by_itself_after_the_server_was_away(relay: RelayServer) -> None:
    with camera_at(relay, "cam") as camera:
        assert relay.wait_for_publisher("cam", timeout_s=PATIENCE_S)
        relay.stop()
        eventually(lambda: camera.attempts >= 2)
        relay.start()
        assert relay.wait_for_publisher("cam", timeout_s=PATIENCE_S)


def test_a_killed_ffmpeg_is_followed_by_another(relay: RelayServer) -> None:
    with camera_at(relay, "cam") as camera:
        assert relay.wait_for_publisher("cam", timeout_s=PATIENCE_S)
        first = camera.pid
        assert first is not None
        psutil.Process(first).kill()
        eventually(lambda: camera.pid not in {None, first})
        assert relay.wait_for_publisher("cam", timeout_s=PATIENCE_S)


def test_stopped_cameras_leave_no_process(relay: RelayServer) -> None:
    cameras = [camera_at(relay, f"cam{n}") for n in range(2)]
    for camera in cameras:
        camera.start()
    for n in range(2):
        assert relay.wait_for_publisher(f"cam{n}", timeout_s=PATIENCE_S)
    pids = [camera.pid for camera in cameras]
    began = instant()
    stop_cameras(cameras)
    assert had_s(began, instant()) < 3
    assert not any(pid is None or psutil.pid_exists(pid) for pid in pids)


def test_a_clip_is_played_again_and_again(relay: RelayServer, tmp_path: Path) -> None:
    clip = tmp_path / "a clip.mp4"
    argv = [BUNDLED, "-nostdin", "-loglevel", "error", *SMALL_PICTURE.arguments(), "-t", "1"]
    subprocess.run([*argv, str(clip)], check=True, timeout=60)
    url = f"{relay.rtsp_url}/clip"
    with VirtualCamera("clip", lambda: url, ffmpeg=BUNDLED, source=LoopedClip(clip)) as camera:
        assert relay.wait_for_publisher("clip", timeout_s=PATIENCE_S)
        frames = list(clocks_in_file(BUNDLED, url, frames=3 * SMALL_PICTURE.fps))
        assert camera.attempts == 1
    assert len(frames) == 3 * SMALL_PICTURE.fps
