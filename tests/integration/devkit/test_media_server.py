"""The same tests over MediaMTX, where there is one, and the relay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.devkit.clock_reading import clocks_in_file
from streamwarden.devkit.media_server import MediaServerProcess
from streamwarden.devkit.video_source import SMALL_PICTURE
from streamwarden.devkit.virtual_camera import RestartPauses, VirtualCamera
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s
from tests.acceptance.waiting import PATIENCE_S
from tests.integration.media_servers import KINDS, Hook, serving, serving_hook

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
QUICK = RestartPauses(first_s=0.2, most_s=0.5)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving_hook() as hook:
        yield hook


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, hook: Hook) -> Iterator[MediaServerProcess]:
    with serving(request.param, hook) as running:
        yield running


def camera_at(server: MediaServerProcess, token: str) -> VirtualCamera:
    url = f"{server.plan.rtsp_url}/cam?token={token}"
    return VirtualCamera("cam", lambda: url, ffmpeg=FFMPEG, source=SMALL_PICTURE, pauses=QUICK)


def published(server: MediaServerProcess) -> bool:
    return server.published() == {"cam"}


def eventually(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def test_what_a_camera_publishes_can_be_read(server: MediaServerProcess) -> None:
    with camera_at(server, "good"):
        eventually(lambda: published(server))
        readings = list(clocks_in_file(FFMPEG, f"{server.plan.rtsp_url}/cam?token=good", frames=15))
    assert len(readings) == 15
    assert None not in readings


def test_a_camera_without_a_good_token_is_kept_out(server: MediaServerProcess, hook: Hook) -> None:
    with camera_at(server, "bad") as camera:
        eventually(lambda: camera.attempts >= 2)
        assert not published(server)
    assert hook.asked


def test_a_killed_server_comes_back_and_so_does_its_camera(server: MediaServerProcess) -> None:
    with camera_at(server, "good"):
        eventually(lambda: published(server))
        first = server.pid
        server.kill()
        eventually(lambda: server.pid not in {None, first})
        back = instant()
        eventually(lambda: published(server))
        assert had_s(back, instant()) < 5


def test_a_stopped_server_stays_away(server: MediaServerProcess) -> None:
    pid = server.pid
    server.stop()
    assert server.pid is None
    assert server.published() == frozenset()
    assert pid is not None
    assert not psutil.pid_exists(pid)
