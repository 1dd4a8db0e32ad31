"""The same tests over MediaMTX, where there is one, and the relay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.devkit.cameras import Pauses, VirtualCamera
from streamwarden.devkit.clock_reading import clocks_in_file
from streamwarden.devkit.demo_ports import demo_ports
from streamwarden.devkit.media_server import (
    MediaServer,
    MediaServerPlan,
    relay_plan,
)
from streamwarden.devkit.mediamtx import MediaMtxMissing, find_mediamtx, mediamtx_plan
from streamwarden.devkit.picture import SMALL_PICTURE

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
QUICK = Pauses(first_s=0.2, most_s=0.5)


class Hook(ThreadingHTTPServer):
    """Stands for the internal API: lets in whose token is ``good``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.asked: list[str] = []


class HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(body)
        self.send_response(200 if '"token":"good"' in body.replace(" ", "") else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def plan_of(kind: str, hook: Hook) -> MediaServerPlan:
    ports = demo_ports(0).media
    if kind == "relay":
        return relay_plan(ports, hook_url=hook.url)
    try:
        program = find_mediamtx(os.environ, open_url=_no_download)
    except MediaMtxMissing:
        pytest.skip("no MediaMTX here: put it on PATH or set STREAMWARDEN_MEDIAMTX")
    return mediamtx_plan(program, ports, hook_url=hook.url, environ=os.environ)


def _no_download(_url: str, _timeout_s: float) -> BinaryIO:
    raise OSError("tests download nothing")


@pytest.fixture(params=["mediamtx", "relay"])
def server(request: pytest.FixtureRequest, hook: Hook) -> Iterator[MediaServer]:
    server = MediaServer(plan_of(request.param, hook))
    server.start()
    yield server
    server.stop()


def camera_at(server: MediaServer, token: str) -> VirtualCamera:
    url = f"{server.plan.rtsp_url}/cam?token={token}"
    return VirtualCamera("cam", lambda: url, ffmpeg=FFMPEG, source=SMALL_PICTURE, pauses=QUICK)


def published(server: MediaServer) -> bool:
    return server.published() == {"cam"}


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def test_what_a_camera_publishes_can_be_read(server: MediaServer) -> None:
    with camera_at(server, "good"):
        eventually(lambda: published(server))
        readings = list(clocks_in_file(FFMPEG, f"{server.plan.rtsp_url}/cam?token=good", frames=15))
    assert len(readings) == 15
    assert None not in readings


def test_a_camera_without_a_good_token_is_kept_out(server: MediaServer, hook: Hook) -> None:
    with camera_at(server, "bad") as camera:
        eventually(lambda: camera.attempts >= 2, within_s=20)
        assert not published(server)
    assert hook.asked


def test_a_killed_server_comes_back_and_so_does_its_camera(server: MediaServer) -> None:
    with camera_at(server, "good"):
        eventually(lambda: published(server))
        first = server.pid
        server.kill()
        eventually(lambda: server.pid not in {None, first})
        back = time.monotonic()
        eventually(lambda: published(server))
        assert time.monotonic() - back < 5


def test_a_stopped_server_stays_away(server: MediaServer) -> None:
    pid = server.pid
    server.stop()
    assert server.pid is None
    assert server.published() == frozenset()
    assert pid is not None
    assert not psutil.pid_exists(pid)
