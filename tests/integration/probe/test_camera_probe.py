"""``camera probe`` against cameras of the devkit, with both builds of FFmpeg."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.devkit.camera_server import CameraServer
from streamwarden.devkit.clips import KINDS, ClipKind, make_clip
from streamwarden.devkit.odd_camera import OddCamera, Oddities, StreamLibrary
from streamwarden.devkit.relay.faults import Fault, Misbehaviour, Silence
from streamwarden.mediamtx.rtsp_client import CameraUrl, Login, Trouble
from streamwarden.model import Transport
from streamwarden.probe.advice import TrackHandling
from streamwarden.probe.camera_probe import ProbeReport, probe_camera
from tests.acceptance.waiting import wait_for

BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
BUILDS = sorted({BUNDLED, shutil.which("ffmpeg") or BUNDLED})
LOGIN = Login("viewer", "open-sesame-of-the-camera")
H264 = KINDS["H.264, no sound"]
CLIPS: Mapping[str, ClipKind] = {
    "bframes": KINDS["H.264 with B-frames, AAC"],
    "g711": KINDS["H.264, G.711"],
    "rare": ClipKind(video=H264.video, key_frame_every_s=300, seconds=300),
    "h265": KINDS["H.265, AAC"],
    "mjpeg": KINDS["MJPEG"],
    "vp8": KINDS["VP8"],
    "onvif": H264,
}
KEPT, AAC, OUT = TrackHandling.KEPT, TrackHandling.MADE_AAC, TrackHandling.LEFT_OUT
SEEN: Mapping[str, tuple[list[tuple[str, str | None, TrackHandling | None]], list[str]]] = {
    "bframes": (
        [("H.264", "Main", KEPT), ("AAC", "LC", KEPT)],
        ["b_frames", "no_sound_in_preview"],
    ),
    "g711": ([("H.264", "Constrained Baseline", KEPT), ("G.711 A-law", None, AAC)], []),
    "rare": ([("H.264", "Constrained Baseline", None)], ["no_key_frame"]),
    "h265": (
        [("H.265", "Main", KEPT), ("AAC", "LC", KEPT)],
        ["some_browsers", "no_sound_in_preview"],
    ),
    "mjpeg": ([("MJPEG", "Baseline", KEPT)], ["no_browser"]),
    "vp8": ([("VP8", None, OUT)], ["unsupported_media", "no_browser"]),
    "onvif": ([("H.264", "Constrained Baseline", KEPT), ("ONVIF metadata", None, OUT)], []),
}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraServer]:
    with CameraServer(ffmpeg=BUNDLED, login=LOGIN) as server:
        for name, kind in CLIPS.items():
            server.serve(name, make_clip(BUNDLED, kind, tmp_path_factory.mktemp("clip")))
        assert all(server.await_picture(name) for name in CLIPS)
        server.fault("onvif", Fault(describe=Misbehaviour.TEN_TRACKS))
        yield server


def probed(
    cameras: CameraServer, path: str, *, ffmpeg: str = BUNDLED, seconds: float = 2.5
) -> ProbeReport:
    url = CameraUrl(cameras.url(path), LOGIN)
    return probe_camera(url, ffmpeg=ffmpeg, seconds=seconds)


@pytest.mark.slow
def test_a_camera_of_each_kind_is_seen_for_what_it_is_by_every_ffmpeg(
    cameras: CameraServer,
) -> None:
    every = [(build, name) for build in BUILDS for name in CLIPS]
    with ThreadPoolExecutor(len(every)) as at_once:
        looks = {one: at_once.submit(probed, cameras, one[1], ffmpeg=one[0]) for one in every}
        found = {one: look.result() for one, look in looks.items()}
    for (build, name), seen in found.items():
        assert_seen(name, seen, f"{name} by {build}")


def assert_seen(name: str, seen: ProbeReport, what: str) -> None:
    tracks, codes = SEEN[name]
    assert [(t.codec, t.profile, t.handling) for t in seen.tracks[: len(tracks)]] == tracks, what
    assert [each.code for each in (*seen.problems, *seen.notes)] == codes, what
    first = seen.tracks[0]
    assert (first.width, first.height) == (160, 120), what
    assert first.frames_per_second == pytest.approx(10, abs=0.5), what
    assert first.bits_per_second is not None
    assert first.bits_per_second > 1000, what
    if name in {"bframes", "g711", "h265", "onvif"}:
        assert first.key_frame_s == pytest.approx(1, abs=0.6), what
    if name == "g711":
        assert seen.tracks[1].sample_rate_hz == 8000, what


@pytest.mark.slow
def test_a_clock_that_jumps_is_seen(cameras: CameraServer) -> None:
    with ThreadPoolExecutor(1) as looking:
        look = looking.submit(probed, cameras, "h265", seconds=5)
        assert cameras.relay.wait_for_readers("h265", 1, timeout_s=60)
        wait_for("some of its picture", lambda: sent(cameras, "h265") > 40, within_s=60)
        cameras.fault("h265", Fault(timestamp_jump_s=3600))
        found = look.result()
    cameras.relay.faults.clear("h265")
    assert "time_jumps" in [finding.code for finding in found.problems]


def sent(cameras: CameraServer, path: str) -> int:
    """How many packets have gone to those who watch a camera."""
    return cameras.relay.call(
        lambda hub: sum(one.outbound.rtp for one in hub.streams[path].readers.values())
    )


@pytest.mark.slow
def test_a_camera_that_describes_a_picture_and_sends_none_is_told(cameras: CameraServer) -> None:
    cameras.fault("mjpeg", Fault(silence=Silence.MEDIA))
    url = CameraUrl(cameras.url("mjpeg"), LOGIN)
    found = probe_camera(url, ffmpeg=BUNDLED, seconds=1, starts_within_s=3)
    cameras.relay.faults.clear("mjpeg")
    assert [finding.code for finding in found.problems] == ["timeout"]
    assert found.tracks[0].codec == "MJPEG"


@pytest.mark.slow
def test_the_command_shows_no_password_to_anybody(cameras: CameraServer, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "streamwarden", "camera", "probe", cameras.url("onvif"), "--json"]
    argv += ["--username", LOGIN.user, "--password-file", "-", "--seconds", "2"]
    environ = {**os.environ, "STREAMWARDEN_FFMPEG": BUNDLED, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as program:
        assert program.stdin is not None
        program.stdin.write(LOGIN.password.encode() + b"\n")
        program.stdin.close()
        program.stdin = None
        seen = command_lines(program)
        out, err = program.communicate(timeout=90)
    assert program.returncode == 0, err
    found = json.loads(out)
    assert (found["ok"], found["url"]) == (True, cameras.url("onvif"))
    assert any("framecrc" in line for line in seen)
    assert LOGIN.password not in "\n".join(seen) + out.decode() + err.decode()
    assert list(tmp_path.iterdir()) == []


def command_lines(program: subprocess.Popen[bytes]) -> set[str]:
    """All that the list of processes shows of the program and its children while it runs."""
    seen: set[str] = set()
    watched = psutil.Process(program.pid)
    while program.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            program.wait(0.05)
        try:
            for one in (watched, *watched.children(recursive=True)):
                seen.add(" ".join([*one.cmdline(), *one.environ().values()]))
        except psutil.Error:
            continue  # it has ended meanwhile
    return seen


@pytest.mark.slow
def test_each_transport_is_tried_and_the_stream_is_read_by_the_one_that_works(
    tmp_path: Path,
) -> None:
    library = StreamLibrary(BUNDLED, tmp_path)
    refused = Trouble.TRANSPORT_REFUSED
    with OddCamera(library, "small", oddities=Oddities(transports=("udp",))) as camera:
        url = CameraUrl(camera.url)
        found = probe_camera(url, ffmpeg=BUNDLED, seconds=1.5)
        assert found.transports == {
            Transport.TCP: refused,
            Transport.UDP: None,
            Transport.MULTICAST: refused,
        }
        assert (found.problems, found.browsers) == ((), "all")
        assert "not_by_tcp" in [note.code for note in found.notes]
        forced = probe_camera(url, ffmpeg=BUNDLED, seconds=1, transport=Transport.TCP)
        assert [problem.code for problem in forced.problems] == ["transport_refused"]
        assert forced.transports == {Transport.TCP: refused}
        camera.change(transports=("tcp",))
        by_tcp = probe_camera(url, ffmpeg=BUNDLED, seconds=1.5)
        assert by_tcp.good
        assert by_tcp.as_json()["transports"]["tcp"] == "ok"
        assert "not_by_tcp" not in [note.code for note in by_tcp.notes]
