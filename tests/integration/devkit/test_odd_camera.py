"""An odd camera as a client sees it: its pictures and sounds, and its answers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.odd_camera import SOUNDS, STREAMS, OddCamera, Oddities, StreamLibrary
from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.rtsp_client import Login
from tests.integration.devkit.relay_client import RtspClient

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StreamLibrary:
    return StreamLibrary(FFMPEG, tmp_path_factory.mktemp("streams"))


@pytest.fixture
def camera(library: StreamLibrary) -> Iterator[OddCamera]:
    with OddCamera(library, "small", "large", "small_h265") as camera:
        yield camera


def decoded(camera: OddCamera, *, transport: str = "tcp", pictures: int = 5) -> str:
    """Decode some pictures; return what FFmpeg says of the tracks, or its complaint."""
    argv = [FFMPEG, "-hide_banner", "-nostdin", "-rtsp_transport", transport]
    argv += ["-i", camera.url_with_login, "-frames:v", str(pictures), "-f", "null", "-"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.partition("Output #0")[0]


def eventually(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("sound", "name"),
    [
        ("pcma", "pcm_alaw"), ("pcmu", "pcm_mulaw"), ("l16", "pcm_s16be"), ("g722", "adpcm_g722"),
        ("g726", "adpcm_g726le"), ("aac", "aac"), ("opus", "opus"),
    ],
)  # fmt: skip
def test_every_sound_is_decoded_as_what_it_is(
    library: StreamLibrary, sound: str, name: str
) -> None:
    with OddCamera(library, oddities=Oddities(sound=sound)) as camera:
        said = decoded(camera)
    assert f"Audio: {name}" in said
    assert "320x240" in said


def test_the_sounds_of_the_test_above_are_all() -> None:
    assert sorted(SOUNDS) == ["aac", "g722", "g726", "l16", "opus", "pcma", "pcmu"]


def test_every_stream_begins_with_a_key_frame_and_its_parameter_sets(
    library: StreamLibrary,
) -> None:
    for name, kind in STREAMS.items():
        stream = library.stream(name)
        assert len(stream.pictures) == kind.pictures, name
        assert len(stream.parameter_sets) == (2 if kind.codec == "h264" else 3), name
        first = stream.pictures[0]
        assert len(stream.without_parameter_sets(first)) < len(first.units), name
        keys = [number for number, one in enumerate(stream.pictures) if one.is_key]
        expected = [0] if kind.intra_refresh else list(range(0, kind.pictures, kind.gop))
        assert keys == expected, name


def test_a_size_changes_in_mid_stream_and_a_codec_with_a_new_session(camera: OddCamera) -> None:
    with RtspClient(camera.port) as viewer:
        assert play(viewer) == 200
        eventually("the viewer", lambda: camera.viewers == 1)
        camera.show("large")
        assert camera.viewers == 1
        camera.show("small_h265")
        eventually("the viewer's end", lambda: camera.viewers == 0)
    assert "hevc" in decoded(camera)
    with pytest.raises(InvalidInput):
        camera.show("gop_600")


def test_a_camera_may_serve_one_transport_only(library: StreamLibrary) -> None:
    with OddCamera(library, oddities=Oddities(transports=("udp",))) as camera:
        with RtspClient(camera.port) as viewer:
            assert play(viewer) == 461
        assert "320x240" in decoded(camera, transport="udp")
        camera.change(transports=("tcp",), transport_status=406)
        with RtspClient(camera.port) as viewer:
            assert play(viewer) == 200
            assert ("SETUP", 461) in camera.answers


def test_a_camera_may_have_too_many_viewers(camera: OddCamera) -> None:
    camera.change(viewers=1)
    with RtspClient(camera.port) as viewer, RtspClient(camera.port) as other:
        assert play(viewer) == 200
        eventually("the viewer", lambda: camera.viewers == 1)
        assert other.ask("DESCRIBE", "cam").status == 453
        assert camera.reboot() == 1
        eventually("room", lambda: camera.viewers == 0)
        assert other.ask("DESCRIBE", "cam").status == 200


@pytest.mark.parametrize(
    "login", [Login("admin", ""), Login("ad min+x", 'p@ss:w/rd#%+&é";$ {}~^!')]
)
@pytest.mark.parametrize("scheme", ["Digest", "Basic"])
def test_a_camera_may_have_an_odd_password(
    library: StreamLibrary, login: Login, scheme: str
) -> None:
    oddities = Oddities(login=login, schemes=(scheme,))
    with OddCamera(library, oddities=oddities) as camera:
        with RtspClient(camera.port) as viewer:
            assert viewer.ask("DESCRIBE", "cam").status == 401
        assert "320x240" in decoded(camera)


def test_a_camera_that_hangs_keeps_the_connection_and_comes_back(camera: OddCamera) -> None:
    with RtspClient(camera.port) as viewer:
        assert play(viewer) == 200
        camera.change(hang_after_s=0)
        viewer.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            read_on(viewer)
        camera.change(hang_after_s=None)
        viewer.socket.settimeout(WITHIN_S)
        assert viewer.socket.recv(65536)


def test_it_starts_as_a_command_and_ends_with_a_signal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "streamwarden.devkit.odd_camera",
        "small",
        "--folder",
        str(tmp_path),
    ]
    with subprocess.Popen([*command, "--ffmpeg", FFMPEG], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b'"url": "rtsp://127.0.0.1:' in process.stdout.readline()
        process.terminate()
        assert process.wait(WITHIN_S) == 0


def read_on(viewer: RtspClient) -> None:
    """Read until nothing comes for the time of the socket's timeout, or the end."""
    while viewer.socket.recv(65536):
        pass


def play(viewer: RtspClient) -> int:
    """Set up the picture over TCP and play; return the status of the first refusal, else 200."""
    transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
    for method, target, headers in (
        ("DESCRIBE", "cam", {}),
        ("SETUP", "cam/trackID=0", {"Transport": transport}),
        ("PLAY", "cam", {}),
    ):
        status = viewer.ask(method, target, **headers).status
        if status != 200:
            return status
    return 200
