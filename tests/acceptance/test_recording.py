"""What the demo has recorded: files, index, metrics, seals and the time in the picture agree."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.calls import Caller
from tests.acceptance.demo import SEGMENT_S, DemoProgram
from tests.acceptance.footage import (
    clock_bound_s,
    complaints,
    drift_s,
    file_of,
    holes,
    seconds_between,
    stored_files,
    tracks,
)
from tests.acceptance.metrics_of import exposition, metric_value
from tests.acceptance.program import FROM_THE_CHECKOUT, clean_environment
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import PATIENCE_S, wait_for

PORTS = ("api", "streaming", "internal_api")


@pytest.fixture
def camera(demo: DemoProgram) -> CameraUser:
    """A camera that records and has two segments or more."""
    camera = demo.cameras[0]
    camera.await_status("running")
    camera.await_segments(2)
    return camera


def test_the_ready_line_says_what_the_contract_names(demo: DemoProgram) -> None:
    assert set(demo.ready) == {
        "webui", "api", "internal_api", "streaming", "token", "sign_in_url", "cameras",
        "record_root", "media_server", "rtsp", "internal_token",
    }  # fmt: skip
    assert len(demo.ready["cameras"]) == 2
    assert [line for line in demo.program.stdout.splitlines() if line] == [
        line for line in demo.program.stdout.splitlines() if line.startswith("READY ")
    ]


def test_every_camera_of_the_demo_is_recorded(demo: DemoProgram) -> None:
    for camera in demo.cameras:
        camera.await_status("running")
        camera.await_segments(1)


def test_whole_segments_decode_without_a_complaint(
    demo: DemoProgram, camera: CameraUser, ffmpeg: str
) -> None:
    files = stored_files(demo.folder_of(camera))[:3]
    assert len(files) >= 2
    for file in files:
        assert sorted(tracks(ffmpeg, file)) == ["audio", "video"]
        assert complaints(ffmpeg, file) == ""


def test_segments_of_a_run_follow_each_other_without_a_hole(camera: CameraUser) -> None:
    segments = camera.await_segments(3)
    for earlier, later in pairwise(segments):
        if earlier["run"] == later["run"]:
            assert earlier["ended_at"] == later["started_at"]
    for segment in segments:
        wall_s = seconds_between(segment["started_at"], segment["ended_at"])
        assert abs(wall_s - segment["media_seconds"]) < clock_bound_s(segment)
        assert segment["media_seconds"] < SEGMENT_S + 3
    assert holes(camera.recordings()) == []


def test_metric_rows_and_files_are_the_same_number(demo: DemoProgram, camera: CameraUser) -> None:
    seen: tuple[int, ...] = ()

    def look() -> bool:
        # A segment may be stored between two of the three looks; then the next round agrees.
        nonlocal seen
        counted = int(
            metric_value(demo.ready["streaming"], "segments_total", camera=camera.camera_id)
        )
        rows = len(camera.segments())
        seen = (counted, rows, len(stored_files(demo.folder_of(camera))))
        return len(set(seen)) == 1

    wait_for("agreement", look)
    assert seen[0] >= 2


def test_the_counted_bytes_and_seconds_are_those_of_the_index(
    demo: DemoProgram, camera: CameraUser
) -> None:
    base, labels = demo.ready["streaming"], {"camera": camera.camera_id}

    def look() -> bool:
        segments = camera.segments()
        size = sum(segment["bytes"] for segment in segments)
        wall = sum(seconds_between(s["started_at"], s["ended_at"]) for s in segments)
        seconds = metric_value(base, "recorded_seconds_total", **labels)
        return (
            metric_value(base, "segment_bytes_total", **labels) == size
            and abs(seconds - wall) < 0.1
        )

    wait_for("agreement", look)


def test_a_file_is_served_whole_and_in_ranges(demo: DemoProgram, camera: CameraUser) -> None:
    segment = camera.segments()[0]
    whole = camera.file(segment)
    on_disk = file_of(demo.folder_of(camera), segment).read_bytes()
    assert (whole.status, whole.body) == (200, on_disk)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert segment["bytes"] == len(on_disk)
    part = camera.file(segment, range_="bytes=100-199")
    assert (part.status, part.body) == (206, on_disk[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(on_disk)}"
    tail = camera.file(segment, range_="bytes=-10")
    assert (tail.status, tail.body) == (206, on_disk[-10:])
    beyond = camera.file(segment, range_=f"bytes={len(on_disk)}-")
    assert (beyond.status, beyond.code) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(on_disk)}"


def test_the_burnt_in_clock_agrees_with_the_index(
    demo: DemoProgram, camera: CameraUser, ffmpeg: str
) -> None:
    segments = camera.await_segments(3)
    for segment in segments[:3]:
        file = file_of(demo.folder_of(camera), segment)
        for offset_s in (0.0, segment["media_seconds"] / 2):
            drift = drift_s(ffmpeg, file, segment, offset_s=offset_s)
            assert abs(drift) < clock_bound_s(segment)


@pytest.mark.parametrize("port", PORTS)
def test_promtool_has_nothing_to_say_about_the_metrics(
    demo: DemoProgram, camera: CameraUser, port: str
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install prometheus")
    camera.status()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition(demo.ready[port]), text=True,
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("port", PORTS)
def test_every_port_is_alive_ready_and_describes_itself(demo: DemoProgram, port: str) -> None:
    caller = Caller(demo.ready[port])
    assert caller.get("/healthz").status == 200
    assert caller.get("/readyz").status == 200
    assert caller.get("/openapi.json").json()["openapi"].startswith("3.")
    # On the page's origin scripts of others would have the user's token.
    assert caller.get("/docs").status == (200 if port == "api" else 404)


def test_the_state_is_one_of_the_metrics_and_only_one_is_on(
    demo: DemoProgram, camera: CameraUser
) -> None:
    base, labels = demo.ready["streaming"], {"camera": camera.camera_id}
    assert metric_value(base, "recorder_state", state="running", **labels) == 1
    assert metric_value(base, "recorder_state", **labels) == 1


def test_nobody_else_on_this_machine_can_read_the_recordings(
    demo: DemoProgram, camera: CameraUser
) -> None:
    del camera
    paths = [demo.record_root, *demo.record_root.rglob("*"), demo.data_dir / "secrets.json"]
    assert [str(path) for path in paths if path.exists() and path.stat().st_mode & 0o007] == []
    assert (demo.data_dir / "secrets.json").stat().st_mode & 0o077 == 0


# As evidence, where nothing of the program runs


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command that knows of nothing but its arguments."""
    done = subprocess.run(
        [*FROM_THE_CHECKOUT, *arguments, "--json"],
        env=clean_environment(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


@pytest.fixture
def copy(demo: DemoProgram, camera: CameraUser, tmp_path: Path) -> Iterator[Path]:
    """A copy of one camera's recordings, sealed this moment, as it is handed over."""
    settings = str(demo.data_dir / "settings.toml")
    sealed = ("--config", settings, "recordings", "seal", "--settle", "0")
    code, made = run(*sealed, "--camera", camera.camera_id)
    assert code == 0, made
    copy = tmp_path / "copy"
    for folder in demo.record_root.glob(f"*/{camera.camera_id}"):
        kept = shutil.ignore_patterns(".live")
        shutil.copytree(folder, copy / folder.relative_to(demo.record_root), ignore=kept)
    yield copy
    shutil.rmtree(copy)


def test_what_was_recorded_is_proven_elsewhere_and_a_flipped_byte_is_named(
    demo: DemoProgram, camera: CameraUser, copy: Path
) -> None:
    public = str(demo.data_dir / "seal.pub")
    verify = (
        "recordings",
        "verify",
        "--signed",
        "--public-key",
        public,
        "--record-root",
        str(copy),
    )
    _, listed = run("recordings", "seals", "--record-root", str(copy))
    (head,) = listed["items"]
    code, shown = run(*verify, "--head", head["head"])
    assert (code, shown["findings"]) == (0, [])
    proven = shown["proven"][0]
    assert proven["camera_id"] == camera.camera_id
    assert proven["files"] >= 2
    assert proven["wanted_seconds"] > 0
    file = copy / _first_sealed(copy)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, shown = run(*verify)
    assert code == 1
    assert [one["path"] for one in shown["findings"] if one["kind"] == "file_altered"] == [
        str(file.relative_to(copy))
    ]


def test_an_export_comes_with_a_proof(
    demo: DemoProgram, camera: CameraUser, tmp_path: Path
) -> None:
    first, second = camera.await_segments(2)[:2]
    asked = {"from": first["started_at"], "to": second["ended_at"]}
    made = camera.api.post(f"{camera.path}/exports", asked).json()
    path = f"{camera.path}/exports/{made['id']}"

    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = camera.api.get(path).json()
        assert found["state"] not in {"failed", "cancelled"}, found
        return found if found["state"] == "done" else None

    assert wait_for("the export", done)["proven"] is True
    file, proof = tmp_path / "export.mp4", tmp_path / "export.mp4.proof"
    file.write_bytes(camera.api.get(f"{path}/file").body)
    answer = camera.api.get(f"{path}/proof")
    assert answer.headers["content-disposition"].endswith('.mp4.proof"')
    proof.write_bytes(answer.body)
    signed = ("recordings", "verify", "--signed", "--public-key", str(demo.data_dir / "seal.pub"))
    verify = (*signed, "--export", str(file), "--proof", str(proof))
    code, shown = run(*verify)
    assert (code, shown["findings"]) == (0, [])
    assert shown["proven"][0]["camera_id"] == camera.camera_id
    assert len(shown["proven"][0]["segments"]) == 2
    file.write_bytes(file.read_bytes()[:-1])
    code, shown = run(*verify)
    assert (code, [one["kind"] for one in shown["findings"]]) == (1, ["export_altered"])


def _first_sealed(copy: Path) -> str:
    entries = sorted(copy.glob(".seals/*/*.entries"))
    lines = [json.loads(line) for file in entries for line in file.read_text().splitlines()]
    return str(next(line["path"] for line in lines if line["kind"] == "segment"))
