"""What breaks while the demo records, and how it comes back."""

from __future__ import annotations

import signal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import psutil
import pytest

from tests.acceptance.demo import DemoProgram
from tests.acceptance.footage import (
    clock_bound_s,
    complaints,
    drift_s,
    file_of,
    holes,
    moment,
    now,
    open_bytes,
    seconds_between,
)
from tests.acceptance.metrics_of import metric_value
from tests.acceptance.pressure import had_s
from tests.acceptance.program import await_gone
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

LOST_WITH_THE_SERVER = {"source_offline", "connection_refused", "server_error", "timeout"}


@pytest.fixture
def camera(demo: DemoProgram) -> CameraUser:
    """A camera that has been recording for a whole segment of its present run."""
    camera = demo.cameras[1]
    run = camera.await_status("running")["run"]
    camera.await_segments(1, run_after=run - 1)
    return camera


def _recorder(demo: DemoProgram, camera: CameraUser) -> psutil.Process:
    return wait_for("an FFmpeg", lambda: demo.recorder_of(camera))


def _since(item: Item, began: str) -> bool:
    return item["ended_at"] is None or item["ended_at"] >= began


def test_when_the_media_server_is_killed_recording_stops_visibly_and_resumes_with_it(
    demo: DemoProgram, camera: CameraUser
) -> None:
    before = camera.status()
    began = now()
    server = demo.media_server()
    server.send_signal(signal.SIGKILL)
    await_gone([server], within_s=5)
    camera.await_status(lambda s: s["status"] != "running", within_s=10)
    gap = camera.await_gap(lambda g: _since(g, began) and g["cause"] in LOST_WITH_THE_SERVER)
    assert seconds_between(began, gap["started_at"]) > -3.0
    after = camera.await_status(lambda s: s["status"] == "running" and s["run"] > before["run"],
                                within_s=45)  # fmt: skip
    assert after["respawns"] > before["respawns"]
    camera.await_segments(1, run_after=before["run"])
    wait_for("every gap closed", lambda: all(g["ended_at"] for g in camera.gaps()))
    assert holes(camera.recordings()) == []


def test_a_killed_ffmpeg_is_followed_by_another_with_a_fresh_token(
    demo: DemoProgram, camera: CameraUser, ffmpeg: str
) -> None:
    before = camera.status()
    labels = {"camera": camera.camera_id, "cause": "ffmpeg_crashed"}
    counted = metric_value(demo.ready["streaming"], "ffmpeg_respawns_total", **labels)
    killed = _recorder(demo, camera)
    old = _token_of(killed)
    began = now()
    killed.kill()
    after = camera.await_status(lambda s: s["status"] == "running" and s["run"] > before["run"])
    assert after["last_error"]["cause"] == "ffmpeg_crashed"
    new = _token_of(_recorder(demo, camera))
    assert new["jti"] != old["jti"]
    assert new["iat"] >= int(moment(began).timestamp())
    assert metric_value(demo.ready["streaming"], "ffmpeg_respawns_total", **labels) == counted + 1
    gap = camera.await_gap(lambda g: _since(g, began) and g["cause"] == "ffmpeg_crashed")
    camera.await_segments(2, run_after=before["run"])
    gap = next(g for g in camera.gaps() if g["started_at"] == gap["started_at"])
    assert had_s(moment(gap["started_at"]), moment(gap["ended_at"])) < 10
    assert holes(camera.recordings()) == []
    for segment in camera.segments():
        if segment["run"] >= before["run"]:
            _check_clock(demo, camera, segment, ffmpeg)


def test_the_torn_tail_of_a_killed_ffmpeg_is_kept_and_plays(
    demo: DemoProgram, camera: CameraUser, ffmpeg: str
) -> None:
    run = camera.status()["run"]
    folder, recorder = demo.folder_of(camera), _recorder(demo, camera)

    def holds_media() -> bool:
        # It stands still while it is looked at: else the segment may end before the kill.
        recorder.suspend()
        if open_bytes(folder) > 25_000:
            return True
        recorder.resume()
        return False

    # A tail is worth keeping once it holds a fragment or two.
    wait_for("a second of media", holds_media)
    recorder.kill()
    camera.await_status(lambda s: s["status"] == "running" and s["run"] > run)
    torn = wait_for(
        "the tail", lambda: [s for s in camera.segments() if s["salvaged"] and s["run"] == run],
    )  # fmt: skip
    file = file_of(demo.folder_of(camera), torn[0])
    assert complaints(ffmpeg, file) == ""
    assert file.stat().st_size == torn[0]["bytes"]


def _token_of(process: psutil.Process) -> dict[str, Any]:
    argv = process.cmdline()
    token = parse_qs(urlsplit(argv[argv.index("-i") + 1]).query)["token"][0]
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _check_clock(demo: DemoProgram, camera: CameraUser, segment: Item, ffmpeg: str) -> None:
    file = file_of(demo.folder_of(camera), segment)
    for offset_s in (0.0, segment["media_seconds"] / 2):
        drift = drift_s(ffmpeg, file, segment, offset_s=offset_s)
        assert abs(drift) < clock_bound_s(segment), (segment, offset_s, drift)
