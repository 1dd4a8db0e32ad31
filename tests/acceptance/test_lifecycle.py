"""How the started program ends, in order and by force, and what the next start makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.demo import READY_WITHIN_S, DemoProgram
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
    stored_files,
)
from tests.acceptance.pressure import waited_s
from tests.acceptance.program import (
    Program,
    await_gone,
    clean_environment,
    free_port_base,
    working_in,
)
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

LEFT_BEHIND_WITHIN_S = 2.0


def _recordings_offline(demo: DemoProgram, camera: CameraUser) -> list[Item]:
    """Ask the index after the program's end, with the operators' tool over the same Postgres."""
    argv = [sys.executable, "-m", "streamwarden", "recordings", "list", "--json", "--limit", "1000"]
    with EmbeddedPostgres(demo.data_dir / "postgres") as database:
        done = subprocess.run(
            [*argv, "--camera", camera.camera_id],
            env=clean_environment() | {"DATABASE_URL": database.url},
            capture_output=True, timeout=30, check=True,
        )  # fmt: skip
    items: list[Item] = json.loads(done.stdout)["items"]
    return items


def test_sigterm_leaves_every_segment_whole_and_indexed_and_nothing_running(
    own_demo: DemoProgram, ffmpeg: str
) -> None:
    camera = own_demo.start().cameras[0]
    camera.await_status("running")
    tree = own_demo.program.tree()
    assert len(tree) >= 4  # Postgres, the media server, a camera, a recorder
    asked = now()
    assert own_demo.program.stop() == 0
    await_gone(tree, within_s=0.5)
    assert working_in(own_demo.data_dir) == []

    folder = own_demo.folder_of(camera)
    files = stored_files(folder)
    assert list((folder / ".live").glob("*.mp4")) == []
    assert [complaints(ffmpeg, file) for file in files] == [""] * len(files)
    items = _recordings_offline(own_demo, camera)
    segments = [item for item in items if item["kind"] == "segment"]
    assert sorted(file_of(folder, segment) for segment in segments) == files
    assert not any(segment["salvaged"] for segment in segments)
    assert seconds_between(asked, segments[-1]["ended_at"]) > -1.5


def test_after_kill_9_nothing_is_left_and_the_next_start_resumes_by_itself(
    own_demo: DemoProgram, ffmpeg: str
) -> None:
    camera = own_demo.start().cameras[0]
    run = camera.await_status("running")["run"]
    camera.await_segments(1, run_after=run - 1)
    folder = own_demo.folder_of(camera)
    wait_for("an open file with media", lambda: open_bytes(folder) > 25_000)
    tree = own_demo.program.tree()
    killed = now()
    own_demo.program.kill()
    await_gone(tree, within_s=LEFT_BEHIND_WITHIN_S)
    assert working_in(own_demo.data_dir) == []

    # The demo presses the buttons again. That none is needed, test_roles shows.
    camera = own_demo.start().cameras[0]
    camera.await_segments(1, run_after=run)
    items = camera.recordings()
    torn = [item for item in items if item["kind"] == "segment" and item["salvaged"]]
    assert [segment["run"] for segment in torn] == [run]
    behind_s = waited_s(moment(torn[0]["ended_at"]), moment(killed))
    assert -3.0 - behind_s < seconds_between(killed, torn[0]["ended_at"]) < 1.0
    folder = own_demo.folder_of(camera)
    assert complaints(ffmpeg, file_of(folder, torn[0])) == ""
    drift = drift_s(ffmpeg, file_of(folder, torn[0]), torn[0], offset_s=0)
    assert abs(drift) < clock_bound_s(torn[0])
    down = [item for item in items if item["kind"] == "gap" and item["cause"] == "server_down"]
    assert len(down) == 1
    assert down[0]["started_at"] == torn[0]["ended_at"]
    assert holes(items) == []
    wait_for("a row for each file", lambda: _rows_are_files(camera, folder))


def _rows_are_files(camera: CameraUser, folder: Path) -> bool:
    rows = {file_of(folder, segment) for segment in camera.segments()}
    return rows == set(stored_files(folder))


def test_killed_while_it_starts_it_leaves_nothing(own_demo: DemoProgram) -> None:
    own_demo.program.start()
    # Postgres, the media server and a camera at the least: it is in the middle of starting.
    tree = wait_for(
        "children", lambda: _at_least(own_demo.program.tree(), 6), within_s=READY_WITHIN_S
    )
    own_demo.program.kill()
    await_gone(tree, within_s=LEFT_BEHIND_WITHIN_S)
    assert working_in(own_demo.data_dir) == []


def test_asked_to_end_while_it_starts_it_ends_in_order(own_demo: DemoProgram) -> None:
    own_demo.program.start()
    tree = wait_for(
        "children", lambda: _at_least(own_demo.program.tree(), 4), within_s=READY_WITHIN_S
    )
    assert own_demo.program.stop() == 1  # it never was ready
    await_gone(tree, within_s=0.5)
    assert "Traceback" not in own_demo.program.stderr


def _at_least(found: list[psutil.Process], count: int) -> list[psutil.Process] | None:
    return found if len(found) >= count else None


def test_a_second_demo_on_the_same_data_is_refused_in_words(
    demo: DemoProgram, tmp_path: Path
) -> None:
    arguments = ("demo", "--data-dir", str(demo.data_dir), "--port-base", str(free_port_base()))
    second = Program(arguments, tmp_path).start()
    try:
        assert second.await_exit() == 1
    finally:
        second.clean_up()
    assert str(demo.data_dir) in second.stderr
    assert "in use" in second.stderr or "another" in second.stderr
    assert "Traceback" not in second.stderr
    demo.cameras[0].await_status("running")


def test_a_second_demo_on_the_same_ports_names_the_port_and_the_option(
    demo: DemoProgram, tmp_path: Path
) -> None:
    arguments = ("demo", "--data-dir", str(tmp_path / "other"), "--port-base", str(demo.port_base))
    second = Program(arguments, tmp_path).start()
    try:
        assert second.await_exit() == 1
    finally:
        second.clean_up()
    assert "--port-base" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.fixture
def settings(demo: DemoProgram) -> dict[str, str]:
    """What a streaming role on the demo's record root would be started with."""
    return {
        "STREAMWARDEN_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "STREAMWARDEN_RECORD_ROOT": str(demo.record_root),
        "STREAMWARDEN_PORT_BASE": str(free_port_base()),
        "STREAMWARDEN_INTERNAL_TOKEN": demo.ready["internal_token"],
    }


def test_a_second_server_on_the_same_record_root_is_refused_in_words(
    demo: DemoProgram, settings: dict[str, str], tmp_path: Path
) -> None:
    second = Program(("serve", "--role", "streaming"), tmp_path, environ=settings).start()
    try:
        assert second.await_exit() == 1
    finally:
        second.clean_up()
    assert f"another streamwarden records into {demo.record_root}" in second.stderr
    assert "Traceback" not in second.stderr
    assert len(demo.program.recorders(demo.record_root)) >= 1
