"""The relay between real FFmpegs, of both builds that must work, and what its faults do to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.relay.faults import Fault, FaultAction, Misbehaviour, Silence
from streamwarden.devkit.relay.relay_server import RelayServer

_SYSTEM = shutil.which("ffmpeg")
_BUILDS = {"system": _SYSTEM, "bundled": str(imageio_ffmpeg.get_ffmpeg_exe())}
BOTH = [
    pytest.param(
        name, marks=pytest.mark.skipif(path is None, reason="no ffmpeg on PATH: install one")
    )
    for name, path in _BUILDS.items()
]
_IS_OLD = _SYSTEM is not None and b"version 5." in subprocess.check_output([_SYSTEM, "-version"])
DEADLINE_S = 120


def _ffmpeg(build: str) -> str:
    path = _BUILDS[build]
    assert path is not None
    return path


@contextmanager
def _published(relay: RelayServer, build: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [_ffmpeg(build), "-nostdin", "-loglevel", "error"]
    command += ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"]
    command += ["-re", "-f", "lavfi", "-i", "sine", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac"]
    command += ["-f", "rtsp", "-rtsp_transport", "tcp", url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as camera:
        try:
            path = url.partition("://")[2].partition("/")[2].partition("?")[0]
            assert relay.wait_for_publisher(path, timeout_s=DEADLINE_S)
            yield camera
        finally:
            camera.kill()


class Recorder:
    """FFmpeg with the recorder's own command line, segments of one second."""

    def __init__(self, build: str, url: str, folder: Path) -> None:
        fragments = "movflags=+frag_keyframe+empty_moov+default_base_moof:frag_duration=1000000"
        command = [_ffmpeg(build), "-hide_banner", "-nostdin", "-nostats"]
        command += ["-loglevel", "level+warning", "-analyzeduration", "1000000"]
        command += ["-rtsp_transport", "tcp", "-timeout", "1000000", "-i", url]
        command += ["-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-f", "segment"]
        command += ["-segment_time", "1", "-reset_timestamps", "1", "-segment_list", "pipe:1"]
        command += ["-segment_list_type", "csv", "-segment_format", "mp4"]
        command += ["-segment_format_options", f"{fragments}:flush_packets=1:write_prft=wallclock"]
        self.process = subprocess.Popen(
            [*command, "x-%06d.mp4"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def segment(self) -> str:
        """Wait for the next line of the segment list."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def result(self) -> tuple[int, str]:
        """Wait for its end; return its code and what it said."""
        try:
            _, said = self.process.communicate(timeout=DEADLINE_S)
        finally:
            self.process.kill()
            self.process.communicate()
        return self.process.returncode, said.decode(errors="replace")


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayServer]:
    with (
        RelayServer() as running,
        _published(running, "bundled", f"{running.rtsp_url}/cam/x?token=p"),
    ):
        yield running


@pytest.fixture(autouse=True)
def no_fault(relay: RelayServer) -> Iterator[None]:
    yield
    relay.faults.clear()


def _recording(relay: RelayServer, build: str, folder: Path) -> Recorder:
    recorder = Recorder(build, f"{relay.rtsp_url}/cam/x?token=r", folder)
    assert recorder.segment().startswith("x-000000.mp4,0.000000,")
    return recorder


def _code(build: str, old: int, new: int) -> int:
    return old if build == "system" and _IS_OLD else new


@pytest.mark.parametrize("reader", BOTH)
@pytest.mark.parametrize("publisher", BOTH)
def test_either_build_publishes_for_either_build(
    relay: RelayServer, tmp_path: Path, publisher: str, reader: str
) -> None:
    url = f"{relay.rtsp_url}/cam/{publisher}/{reader}?token=t.u"
    with _published(relay, publisher, url):
        recorder = Recorder(reader, url, tmp_path)
        assert [recorder.segment()[:12] for _ in range(2)] == ["x-000000.mp4", "x-000001.mp4"]
        os.kill(recorder.process.pid, signal.SIGTERM)
        assert recorder.result()[0] == 255
    assert (tmp_path / "x-000001.mp4").stat().st_size > 1000


_DESCRIBE_FAULTS = {
    "401": (Fault(describe_status=401), 8, "401 Unauthorized"),
    "404": (Fault(describe_status=404), 8, "404 Not Found"),
    "503": (Fault(describe_status=503), 8, "5XX Server Error"),
    "hang": (Fault(describe=Misbehaviour.HANG), 183, "Invalid data found"),
    "not_rtsp": (Fault(describe=Misbehaviour.NOT_RTSP), 183, "Invalid data found"),
}


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("name", _DESCRIBE_FAULTS)
def test_a_fault_at_describe_is_what_ffmpeg_reports(
    relay: RelayServer, tmp_path: Path, build: str, name: str
) -> None:
    fault, code, said = _DESCRIBE_FAULTS[name]
    relay.faults.set("cam/x", fault)
    left, stderr = Recorder(build, f"{relay.rtsp_url}/cam/x", tmp_path).result()
    assert (left, said in stderr) == (_code(build, 1, code), True)


@pytest.mark.parametrize("build", BOTH)
def test_a_closed_listener_is_connection_refused(
    relay: RelayServer, tmp_path: Path, build: str
) -> None:
    relay.refuse_connections()
    try:
        code, stderr = Recorder(build, f"{relay.rtsp_url}/cam/x", tmp_path).result()
    finally:
        relay.accept_connections()
    assert (code, "Connection refused" in stderr) == (_code(build, 1, 145), True)


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("action", [FaultAction.RESET_READERS, FaultAction.CLOSE_READERS])
def test_a_recorder_cut_off_in_mid_stream_leaves_with_code_0(
    relay: RelayServer, tmp_path: Path, build: str, action: FaultAction
) -> None:
    recorder = _recording(relay, build, tmp_path)
    assert relay.faults.act("cam/x", action) == 1
    assert recorder.result()[0] == 0


@pytest.mark.parametrize("build", BOTH)
def test_full_silence_times_out_with_code_0(relay: RelayServer, tmp_path: Path, build: str) -> None:
    recorder = _recording(relay, build, tmp_path)
    relay.faults.set("cam/x", Fault(silence=Silence.ALL))
    code, stderr = recorder.result()
    assert (code, "Connection timed out" in stderr) == (0, True)


@pytest.mark.parametrize("build", BOTH)
def test_ten_tracks_are_recorded_as_two(relay: RelayServer, tmp_path: Path, build: str) -> None:
    relay.faults.set("cam/x", Fault(describe=Misbehaviour.TEN_TRACKS))
    recorder = _recording(relay, build, tmp_path)
    os.kill(recorder.process.pid, signal.SIGTERM)
    assert recorder.result()[0] == 255


@pytest.mark.parametrize("build", BOTH)
def test_a_publisher_that_is_cut_off_ends(relay: RelayServer, build: str) -> None:
    with _published(relay, build, f"{relay.rtsp_url}/cut/{build}") as camera:
        assert relay.faults.act(f"cut/{build}", FaultAction.RESET_PUBLISHER) == 1
        assert camera.wait(DEADLINE_S) != 0
