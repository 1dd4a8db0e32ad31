"""Everything around a recording breaks, one thing at a time; afterwards every second is accounted for."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from streamwarden.ffmpeg.command import ANSWER_TIMEOUT_S
from tests.acceptance.faults import (
    BreakableInstallation,
    breakable_installation,
    instant,
    labels,
    missing_pictures,
    rows_and_files,
    since,
    started,
)
from tests.acceptance.footage import moment, stored_files
from tests.acceptance.pressure import had_s, waited_s
from tests.acceptance.program import alive, await_gone
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

OUTAGE_SEGMENTS = 8
LOST_WITH_THE_SERVER = {"source_offline", "connection_refused", "server_error", "timeout"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Iterator[BreakableInstallation]:
    with breakable_installation(tmp_path_factory.mktemp("faults"), ffmpeg) as installation:
        yield started(installation)


@pytest.fixture
def camera(site: BreakableInstallation) -> CameraUser:
    return site.recorded_camera()


def recorder(site: BreakableInstallation, camera: CameraUser) -> psutil.Process:
    def look() -> psutil.Process | None:
        return site.streaming.recorder(site.record_root, camera.camera_id)

    return wait_for("an FFmpeg", look)


def causes(camera: CameraUser) -> list[str]:
    return [gap["cause"] for gap in camera.gaps() if gap["cause"] != "starting"]


def open_bytes(folder: Path) -> int:
    return max((file.stat().st_size for file in (folder / ".live").glob("*.mp4")), default=0)


def test_a_killed_ffmpeg_costs_a_short_gap_that_brackets_the_kill(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run = camera.status()["run"]
    recording = recorder(site, camera)
    killed = instant()
    recording.kill()
    camera.await_segments(1, run_after=run)
    gap = camera.await_gap(lambda g: since(g, killed) and g["cause"] == "ffmpeg_crashed")
    gap = camera.await_gap(lambda g: g["started_at"] == gap["started_at"] and g["ended_at"])
    # The open fragment is lost with the process: up to a second before the kill.
    behind_s = waited_s(moment(gap["started_at"]), killed)
    assert -1.7 - behind_s < (moment(gap["started_at"]) - killed).total_seconds() < 0.2
    assert had_s(killed, moment(gap["ended_at"])) < 5
    site.check_account(camera)
    assert causes(camera) == ["ffmpeg_crashed"]


def test_a_killed_media_server_is_waited_for(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run, respawns = camera.status()["run"], camera.status()["respawns"]
    site.relay.kill()
    try:
        camera.await_status(lambda s: s["status"] != "running", within_s=10)
        camera.await_gap(lambda g: g["ended_at"] is None and g["cause"] in LOST_WITH_THE_SERVER)
    finally:
        site.relay.start()
    camera.await_segments(1, run_after=run)
    assert camera.status()["respawns"] > respawns
    site.check_account(camera)
    assert set(causes(camera)) <= LOST_WITH_THE_SERVER


def test_a_respawn_without_the_api_waits_for_its_token_and_is_accounted_for(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run = camera.status()["run"]

    def cause() -> object:
        error = site.to_streaming.get(f"/streams/{camera.camera_id}").json()["last_error"]
        return error and error["cause"]

    site.api.kill()
    try:
        recorder(site, camera).kill()
        wait_for("token_unavailable", lambda: cause() == "token_unavailable")
    finally:
        site.start_api()
    camera.await_segments(1, run_after=run)
    site.check_account(camera)
    assert causes(camera) == ["ffmpeg_crashed", "token_unavailable"]


def test_without_postgres_recording_goes_on_and_the_journal_is_written_afterwards(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    folder = site.folder_of(camera)
    site.await_empty_journal()
    before, run = len(stored_files(folder)), camera.status()["run"]
    site.postgres.kill()
    try:
        wait_for(
            "segments in the journal",
            lambda: site.metric_value("index_journal_segments") > OUTAGE_SEGMENTS,
        )  # fmt: skip
        assert len(stored_files(folder)) >= before + OUTAGE_SEGMENTS
        status = site.to_streaming.get(f"/streams/{camera.camera_id}").json()
        assert (status["status"], status["run"], status["respawns"]) == ("running", run, 0)
    finally:
        site.postgres.start()
    site.await_api()
    site.await_empty_journal()
    wait_for("a row for each file", lambda: not rows_and_files(camera, folder))
    assert camera.status()["run"] == run
    site.check_account(camera)
    assert causes(camera) == []
    assert missing_pictures(site, camera) == []


def test_a_restart_by_hand_costs_no_picture(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run = camera.status()["run"]
    answer = site.to_streaming.post(f"/streams/{camera.camera_id}/restart")
    assert answer.status == 200
    camera.await_segments(1, run_after=run)
    site.check_account(camera)
    assert causes(camera) == []
    assert missing_pictures(site, camera) == []


def test_another_segment_length_costs_no_picture(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run = camera.status()["run"]
    site.set_segment_seconds(1)
    try:
        camera.await_segments(1, run_after=run)
        assert camera.status()["segment_seconds"] == 1
    finally:
        site.shorten_segments()
    camera.await_segments(1, run_after=run + 1)
    site.check_account(camera)
    assert causes(camera) == []
    assert missing_pictures(site, camera) == []


def test_killed_streaming_and_what_a_power_cut_leaves_is_found_and_mended(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    """The processes are killed; then the disk is made to look as after a loss of power."""
    folder, run = site.folder_of(camera), camera.status()["run"]
    before = len(camera.await_segments(2))
    wait_for("media in the open file", lambda: open_bytes(folder) > 5_000)
    recorders = site.streaming.recorders(site.record_root)
    site.streaming.kill()
    await_gone(recorders, within_s=2.0)
    torn = max((folder / ".live").glob("*.mp4"))
    with torn.open("ab") as file:
        file.write(b"\0\0\x20\0moof" + bytes(3000))
    (folder / ".live" / "ledger.json").write_bytes(b"")
    journal = site.record_root / ".streamwarden" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"kind": "segment", "id": "0123')
    site.start_streaming()
    camera.await_segments(1, run_after=run)
    said = [event["camera"] for event in site.streaming.events("ledger_unreadable")]
    assert camera.camera_id in said
    salvaged = site.streaming.events("leftover_salvaged")
    assert (camera.camera_id, run) in [(event["camera"], event["run"]) for event in salvaged]
    wait_for("the reconciliation", lambda: site.streaming.events("reconcile_done"))
    assert len(camera.segments()) > before
    site.check_account(camera)
    assert causes(camera) == ["server_down"]


def test_a_file_that_lost_its_row_in_a_power_cut_is_indexed_at_the_next_start(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    site.postgres.kill()
    wait_for("a row that waits", lambda: site.metric_value("index_journal_segments") >= 2)
    site.streaming.kill()
    (site.record_root / ".streamwarden" / "journal.jsonl").write_bytes(b"")
    site.postgres.start()
    site.await_api()
    site.start_streaming()
    folder = site.folder_of(camera)
    wait_for("a row for each file", lambda: not rows_and_files(camera, folder))

    def said() -> bool:
        mended = site.streaming.events("reconciled")
        return ("row_missing", camera.camera_id) in [(e["kind"], e["camera"]) for e in mended]

    wait_for("word of it in the log", said)
    site.check_account(camera)


def test_an_ffmpeg_that_outlived_its_server_is_ended_at_start_up(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    live = site.folder_of(camera) / ".live"
    site.streaming.kill()
    orphan = subprocess.Popen(
        ["sh", "-c", "while :; do sleep 60; done", "r1-%06d.mp4"], cwd=live, start_new_session=True
    )
    stranger = subprocess.Popen(["sleep", "60"], cwd=live, start_new_session=True)
    try:
        site.start_streaming()
        assert orphan.wait(5) == -signal.SIGKILL
        assert alive(psutil.Process(stranger.pid))
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()
    assert any(orphan.pid in e["pids"] for e in site.streaming.events("orphans_ended"))
    camera.await_status("running")
    site.check_account(camera)


@pytest.fixture
def cameras(site: BreakableInstallation) -> list[CameraUser]:
    """Several of them, for what befalls all at once."""
    return site.recorded_cameras(3)


@pytest.mark.parametrize("silence", ["media", "all"])
def test_many_that_fall_silent_are_found_within_ten_seconds_and_make_no_storm(
    site: BreakableInstallation, cameras: list[CameraUser], silence: str
) -> None:
    spawned = {camera.camera_id: camera.status()["run"] for camera in cameras}
    site.fault(None, silence=silence)
    fell_silent = instant()
    try:
        for camera in cameras:
            gap = camera.await_gap(_stalled)
            assert had_s(fell_silent, moment(gap["started_at"])) < 2
        found = {camera.camera_id: found_stalled(site, camera) for camera in cameras}
        assert max(had_s(fell_silent, at) for at in found.values()) < 10
        # One life each ends by the silence; the next one waits for its first picture.
        for camera in cameras:
            more = lives_since(found[camera.camera_id])
            assert camera.status()["run"] <= spawned[camera.camera_id] + 2 + more
    finally:
        site.heal()
    healed = instant()
    for camera in cameras:
        camera.await_segments(1, run_after=spawned[camera.camera_id])
    site.check_account(*cameras)
    for camera in cameras:
        count = site.metric_value("ffmpeg_respawns_total", **labels(camera))
        assert count <= 3 + lives_since(found[camera.camera_id], healed)


def _stalled(gap: Item) -> bool:
    return bool(gap["cause"] == "stalled")


def found_stalled(site: BreakableInstallation, camera: CameraUser) -> datetime:
    """Return when a run of the camera was ended for its silence."""
    ended = [
        moment(event["timestamp"])
        for event in site.streaming.events("run_ended")
        if event["camera"] == camera.camera_id and event["cause"] == "stalled"
    ]
    assert ended, site.streaming.tail()
    return ended[0]


def lives_since(found: datetime, until: datetime | None = None) -> int:
    """Return how many further lives a silence that goes on may cost: each waits for an answer."""
    return int(((until or instant()) - found).total_seconds() / ANSWER_TIMEOUT_S)
