"""A camera that serves RTSP, configured by the control API: the relay does what MediaMTX does."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.devkit.camera_server import CameraServer
from streamwarden.devkit.clock_reading import clocks_in_file
from streamwarden.devkit.media_server import MediaServerProcess
from streamwarden.devkit.odd_camera import OddCamera, Oddities, StreamLibrary
from streamwarden.devkit.relay.faults import FaultAction
from streamwarden.mediamtx.control_api import MediaMtxClient, PathState
from streamwarden.mediamtx.control_secret import control_headers
from streamwarden.mediamtx.rtsp_client import Login
from streamwarden.mediamtx.source_urls import parse_source
from tests.integration.devkit.relay_client import SDP, RtspClient
from tests.integration.media_servers import INTERNAL_TOKEN, KINDS, Hook, serving, serving_hook

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
LOGIN = Login("viewer", "p@ss: word/%")
WITHIN_S = 60.0
PAUSE_S = 5.0
"""MediaMTX's pause after a failure of a source."""
H264 = SDP.replace(
    "a=rtpmap:96 H264/90000", "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1"
)
PICTURE = H264[: H264.index("m=audio")]


class Control:
    """Calls the control API of a media server."""

    def __init__(self, base: str) -> None:
        self._base = f"{base}/v3"

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - loopback
            self._base + path,
            None if body is None else data,
            headers=control_headers(INTERNAL_TOKEN),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def path(self, name: str) -> dict[str, Any]:
        """What is shown of a path; an empty one where there is none."""
        status, shown = self("GET", f"/paths/get/{name}")
        return shown if status == 200 else {}


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving_hook() as hook:
        yield hook


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, hook: Hook) -> Iterator[MediaServerProcess]:
    with serving(request.param, hook) as running:
        yield running


@pytest.fixture
def control(server: MediaServerProcess) -> Control:
    return Control(server.plan.control_url)


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(ffmpeg=FFMPEG, login=LOGIN) as serving_cameras:
        yield serving_cameras


def eventually(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.1)


OK = {"status": "ok"}
NOBODY = "rtsp://127.0.0.1:1/x"


def error(text: str) -> dict[str, str]:
    return {"status": "error", "error": text}


WRONG_NAME = "can contain only alphanumeric characters, underscore, dot, minus, slash"
CALLS = (
    ("POST", "add/cam/a", {"source": NOBODY, "rtspTransport": "tcp"}, 200, OK),
    ("POST", "add/cam/a", {"source": NOBODY}, 400, error("path already exists")),
    ("POST", "add/b", {"source": NOBODY, "speed": 1}, 400, error('json: unknown field "speed"')),
    ("POST", "add/b", {"source": "ftp://h/x"}, 400, error("invalid source: 'ftp://h/x'")),
    ("POST", "add/b", {"source": "rtsp://"}, 400, error("'rtsp://' is not a valid URL")),
    ("POST", "add/b", {"source": "rtsp://u:%zz@h/"}, 400,
     error("'rtsp://u:%zz@h/' is not a valid URL")),
    ("POST", "add/b", {"source": "rtsp://u:@h/"}, 400,
     error("username and password must be both provided")),
    ("POST", "add/b", {"source": 1}, 400,
     error("json: cannot unmarshal number into Go value of type string")),
    ("POST", "add/b", {"source": NOBODY, "sourceOnDemand": "x"}, 400,
     error("json: cannot unmarshal string into Go value of type bool")),
    ("POST", "add/b", {"source": NOBODY, "rtspTransport": "TCP"}, 400,
     error("invalid transport 'TCP'")),
    ("POST", "add/b", {"sourceOnDemand": True}, 400,
     error("'sourceOnDemand' is useless when source is 'publisher'")),
    ("POST", "add/b", b"", 400, error("unexpected end of JSON input")),
    ("POST", "add/b%20c", {"source": NOBODY}, 400,
     error(f"invalid path name 'b c': {WRONG_NAME}")),
    ("POST", "add//b", {"source": NOBODY}, 400,
     error("invalid path name '/b': can't begin with a slash")),
    ("POST", "add/b/", {"source": NOBODY}, 400,
     error("invalid path name 'b/': can't end with a slash")),
    ("PATCH", "patch/b", {"source": NOBODY}, 404, error("path not found")),
    ("PATCH", "patch/cam/a", {"sourceOnDemand": False}, 200, OK),
    ("POST", "replace/b", {"source": "rtsps://127.0.0.1:1/y"}, 200, OK),
    ("POST", "replace/b", {"source": NOBODY}, 200, OK),
    ("GET", "get/nobody", None, 404, error("path configuration not found")),
    ("GET", "list?itemsPerPage=0", None, 400, error("invalid items per page")),
    ("DELETE", "delete/nobody", None, 404, error("path not found")),
)  # fmt: skip
"""One after the other: method, path, body; status and answer of MediaMTX v1.20.1."""


def test_calls_about_paths_are_answered_to_the_letter(control: Control) -> None:
    for method, path, body, status, answer in CALLS:
        assert control(method, f"/config/paths/{path}", body) == (status, answer), (method, path)
    _, shown = control("GET", "/config/paths/get/cam/a")
    expected = {
        "name": "cam/a",
        "source": NOBODY,
        "sourceOnDemand": False,
        "sourceOnDemandCloseAfter": "10s",
        "rtspTransport": "tcp",
        "record": False,
    }
    assert shown.items() >= expected.items()
    _, page = control("GET", "/config/paths/list?itemsPerPage=2&page=1")
    assert (page["itemCount"], page["pageCount"]) == (3, 2)
    assert [item["name"] for item in page["items"]] == ["cam/a"]
    waiting = control.path("cam/a")
    assert waiting == {
        "name": "cam/a", "confName": "cam/a", "ready": False, "readyTime": None,
        "available": False, "availableTime": None,
        "online": True, "onlineTime": "0001-01-01T00:00:00Z",
        "source": {"type": "rtspSource", "id": ""}, "tracks": [], "tracks2": [], "readers": [],
        "inboundBytes": 0, "outboundBytes": 0, "inboundFramesInError": 0,
        "bytesReceived": 0, "bytesSent": 0,
    }  # fmt: skip
    for name in ("cam/a", "b"):
        assert control("DELETE", f"/config/paths/delete/{name}") == (200, OK)
        assert control("GET", f"/paths/get/{name}")[0] == 404


def test_who_publishes_at_a_path_is_sent_away_when_that_gets_a_camera_to_pull(
    server: MediaServerProcess, control: Control
) -> None:
    with RtspClient(server.plan.ports.rtsp) as camera:
        assert record(camera, "cam") == 200
        assert control("POST", "/config/paths/add/cam", {"source": NOBODY}) == (200, OK)
        with suppress(ConnectionResetError):
            assert camera.socket.recv(65536) == b""
    assert control.path("cam")["source"]["type"] == "rtspSource"


@pytest.mark.slow
def test_a_camera_behind_a_password_is_pulled_and_only_its_own_picture_is_there(
    server: MediaServerProcess, control: Control, cameras: CameraServer, hook: Hook
) -> None:
    cameras.serve("one")
    cameras.serve("two")
    assert cameras.await_picture("one")
    assert cameras.await_picture("two")
    source = {"source": cameras.url("one", LOGIN), "rtspTransport": "tcp"}
    wrong = cameras.url("one", Login(LOGIN.user, "guess"))
    assert control("POST", "/config/paths/add/wrong", {"source": wrong}) == (200, OK)
    assert control("POST", "/config/paths/add/cam", source) == (200, OK)
    eventually("the camera's picture", lambda: control.path("cam")["available"])
    shown = control.path("cam")
    assert shown["source"] == {"type": "rtspSource", "id": ""}
    assert (shown["confName"], shown["tracks"][0]) == ("cam", "H264")
    assert control("GET", "/rtspsessions/list")[1]["itemCount"] == 0
    assert not control.path("wrong")["available"]
    assert not any('"publish"' in asked for asked in hook.asked)

    frames = list(clocks_in_file(FFMPEG, f"{server.plan.rtsp_url}/cam?token=good", frames=10))
    assert None not in frames
    assert publishing(server, "cam") == 400
    assert publishing(server, "elsewhere") == 200

    assert control("PATCH", "/config/paths/patch/cam", {"source": cameras.url("two", LOGIN)}) == (
        200,
        OK,
    )
    eventually(
        "the other camera", lambda: readers(cameras, "two") == 1 and not readers(cameras, "one")
    )
    eventually("its picture", lambda: control.path("cam")["available"])

    assert control("DELETE", "/config/paths/delete/cam") == (200, OK)
    eventually("the end of the pulling", lambda: not readers(cameras, "two"))
    assert control("GET", "/paths/get/cam")[0] == 404


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["Digest", "Basic"])
def test_a_user_with_an_empty_password_is_let_in(control: Control, scheme: str) -> None:
    with CameraServer(ffmpeg=FFMPEG, login=Login("root", ""), schemes=(scheme,)) as cameras:
        cameras.serve("one")
        assert cameras.await_picture("one")
        url, shown = parse_source(cameras.url("one", cameras.login))
        source = {"source": url.for_media_server("127.0.0.1", shown), "rtspTransport": "tcp"}
        assert control("POST", "/config/paths/add/cam", source) == (200, OK)
        eventually("the camera's picture", lambda: control.path("cam")["available"])


@pytest.mark.slow
def test_a_camera_that_is_back_is_called_before_the_pause_is_over(
    server: MediaServerProcess, control: Control, cameras: CameraServer
) -> None:
    cameras.serve("one")
    assert cameras.await_picture("one")
    source = {"source": cameras.url("one", LOGIN), "rtspTransport": "tcp"}
    assert control("POST", "/config/paths/add/cam", source) == (200, OK)
    client = MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN)

    def state() -> PathState:
        return next(state for state in client.path_states() if state.name == "cam")

    def changed(before: str | None) -> bool:
        return state().ready_since != before

    took_s = []
    for _ in range(3):
        eventually("the camera's picture", lambda: state().ready_since)
        assert state().pulled
        began_s, ready_since = time.monotonic(), state().ready_since
        cameras.relay.faults.act("one", FaultAction.RESET_READERS)
        eventually("its end", partial(changed, ready_since))
        client.call_again("cam")
        eventually("its picture again", lambda: state().ready_since)
        took_s.append(time.monotonic() - began_s)
    client.close()
    assert min(took_s) < PAUSE_S


@pytest.mark.slow
def test_a_killed_server_forgets_its_paths_and_pulls_nothing_any_more(
    server: MediaServerProcess, control: Control, cameras: CameraServer
) -> None:
    cameras.serve("one")
    assert cameras.await_picture("one")
    assert control("POST", "/config/paths/add/cam", {"source": cameras.url("one", LOGIN)}) == (
        200,
        OK,
    )
    eventually("the camera's picture", lambda: control.path("cam")["available"])
    assert server.pid is not None
    pulling = psutil.Process(server.pid).children(recursive=True)

    server.kill()
    _, alive = psutil.wait_procs(pulling, timeout=WITHIN_S)
    assert alive == []
    eventually("the end of the pulling", lambda: not readers(cameras, "one"))
    eventually("the server", lambda: answers(control))
    assert control("GET", "/paths/get/cam")[0] == 404
    assert control("GET", "/config/paths/get/cam")[0] == 404


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StreamLibrary:
    return StreamLibrary(FFMPEG, tmp_path_factory.mktemp("streams"))


def described_sets(server: MediaServerProcess, path: str) -> str:
    """The parameter sets that a new reader is told."""
    with RtspClient(server.plan.ports.rtsp) as reader:
        described = reader.ask("DESCRIBE", f"{path}?token=good").body
    return described.partition("sprop-parameter-sets=")[2].partition(";")[0].partition("\r")[0]


@pytest.mark.slow
@pytest.mark.parametrize("sprop", ["own", "none", "large"])
def test_the_next_reader_is_told_the_parameter_sets_that_the_camera_sends_now(
    server: MediaServerProcess, control: Control, library: StreamLibrary, sprop: str
) -> None:
    oddities = Oddities(sprop=sprop, back_channel=True)
    small, large = (
        ",".join(base64.b64encode(one).decode() for one in library.stream(name).parameter_sets)
        for name in ("small", "large")
    )
    with OddCamera(library, "small", "large", oddities=oddities) as camera:
        source = {"source": camera.url, "rtspTransport": "tcp"}
        assert control("POST", "/config/paths/add/cam", source) == (200, OK)
        eventually("the camera", lambda: control.path("cam")["available"])
        assert control.path("cam")["tracks"] == ["H264"]
        eventually("the present size", lambda: described_sets(server, "cam") == small)
        camera.show("large")
        eventually("the new size", lambda: described_sets(server, "cam") == large)


@pytest.mark.slow
@pytest.mark.parametrize(("transport", "served"), [("udp", "udp"), ("automatic", "tcp")])
def test_a_camera_is_read_over_the_transport_that_it_serves(
    server: MediaServerProcess,
    control: Control,
    library: StreamLibrary,
    transport: str,
    served: str,
) -> None:
    oddities = Oddities(transports=(served,), metadata=True)
    with OddCamera(library, oddities=oddities) as camera:
        source = {"source": camera.url, "rtspTransport": transport}
        assert control("POST", "/config/paths/add/cam", source) == (200, OK)
        eventually("the camera", lambda: control.path("cam")["available"])
        frames = received(server, "cam")
        assert frames
        assert ("SETUP", 461) in camera.answers or transport == served
        camera.reboot()
        eventually("the loss", lambda: not control.path("cam")["available"])
        eventually("the camera again", lambda: control.path("cam")["available"])


def received(server: MediaServerProcess, path: str) -> bytes:
    """Read the picture at ``path`` as a recorder does; return the beginning of what comes."""
    target = f"{path}?token=good"
    with RtspClient(server.plan.ports.rtsp) as reader:
        assert reader.ask("DESCRIBE", target).status == 200
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        assert reader.ask("SETUP", f"{target}/trackID=0", Transport=transport).status == 200
        assert reader.ask("PLAY", target).status == 200
        return reader.socket.recv(4096)


def answers(control: Control) -> bool:
    try:
        return control("GET", "/paths/list")[0] == 200
    except OSError:
        return False


def readers(cameras: CameraServer, path: str) -> int:
    return cameras.relay.call(
        lambda hub: len(hub.streams[path].readers) if path in hub.streams else -1
    )


def publishing(server: MediaServerProcess, path: str) -> int:
    """How a camera that pushes to ``path``, with a good token, is answered at RECORD."""
    with RtspClient(server.plan.ports.rtsp) as camera:
        return record(camera, path)


def record(camera: RtspClient, path: str) -> int:
    target = f"{path}?token=good"
    assert camera.announce(target, PICTURE).status == 200
    transport = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
    assert camera.ask("SETUP", f"{target}/streamid=0", Transport=transport).status == 200
    return camera.ask("RECORD", target).status
