"""The roles apart: each is killed on its own, and what is wanted is recorded all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest

from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.streams import StreamRepository
from tests.acceptance.footage import (
    complaints,
    file_of,
    holes,
    moment,
    now,
    open_bytes,
    seconds_between,
    stored_files,
)
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.pressure import waited_s
from tests.acceptance.program import await_gone, working_in
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

RECONCILED_WITHIN_S = 32.0


@pytest.fixture
def camera(installation: Installation) -> CameraUser:
    """A camera that publishes and is not yet recorded."""
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    return camera


@contextmanager
def streaming_down(installation: Installation) -> Iterator[None]:
    """Kill the streaming role; start it again at the end."""
    installation.streaming.kill()
    try:
        yield
    finally:
        installation.start_streaming()


@contextmanager
def api_down(installation: Installation) -> Iterator[None]:
    """Kill the API; start it again at the end."""
    installation.api.kill()
    try:
        yield
    finally:
        installation.start_api()


def test_connect_while_streaming_is_down_is_503_and_the_desired_state_is_put_back(
    installation: Installation, camera: CameraUser
) -> None:
    with streaming_down(installation):
        answer = camera.connect()
        assert (answer.status, answer.code) == (503, "streaming_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        status = camera.api.get(f"{camera.path}/stream/status")
        assert (status.status, status.code) == (503, "streaming_unavailable")
        assert installation.to_internal_api.post(
            "/api/v1/m2m/read-token", {"camera_id": camera.camera_id}
        ).status == 403  # fmt: skip
    assert camera.status()["status"] == "stopped"
    assert camera.connect().status == 200
    camera.await_status("running")


def test_connect_of_what_is_recorded_leaves_it_wanted_when_streaming_is_down(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    camera.await_status("running")
    with streaming_down(installation):
        assert camera.connect().status == 503
    camera.await_status("running")


def test_a_desired_state_written_while_streaming_was_down_is_recorded_once_it_is_up(
    installation: Installation, camera: CameraUser
) -> None:
    with streaming_down(installation):
        _want(installation, camera)  # as an API that was killed before it could call
    camera.await_status("running")
    camera.await_segments(1)


def test_a_disconnect_while_streaming_was_down_holds_once_it_is_up(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    run = camera.await_status("running")["run"]
    with streaming_down(installation):
        assert camera.disconnect().status == 503
    camera.await_status("stopped")
    assert camera.status()["run"] <= run + 1
    wait_for("closed gaps", lambda: all(gap["ended_at"] for gap in camera.gaps()))


def test_killed_streaming_resumes_by_itself_and_keeps_the_torn_tail(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    run = camera.await_status("running")["run"]
    camera.await_segments(1)
    recorders = installation.streaming.recorders(installation.record_root)
    folder = installation.record_root / OWNER / camera.camera_id
    wait_for("media in the open file", lambda: open_bytes(folder) > 5_000)
    killed = now()
    installation.streaming.kill()
    await_gone(recorders, within_s=2.0)
    assert working_in(installation.record_root) == []
    installation.start_streaming()
    camera.await_segments(1, run_after=run)
    items = camera.recordings()
    torn = next(item for item in items if item["kind"] == "segment" and item["salvaged"])
    behind_s = waited_s(moment(torn["ended_at"]), moment(killed))
    assert -3.0 - behind_s < seconds_between(killed, torn["ended_at"]) < 1.0
    assert complaints(installation.ffmpeg, file_of(folder, torn)) == ""
    down = [item for item in items if item["kind"] == "gap" and item["cause"] == "server_down"]
    assert [gap["started_at"] for gap in down] == [torn["ended_at"]]
    assert holes(items) == []


def test_recording_goes_on_while_the_api_is_down(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    run = camera.await_status("running")["run"]
    folder = installation.record_root / OWNER / camera.camera_id
    with api_down(installation):
        before = len(stored_files(folder))
        wait_for("more files", lambda: len(stored_files(folder)) >= before + 2)
    status = camera.await_status("running")
    assert (status["run"], status["respawns"]) == (run, 0)
    assert holes(camera.recordings()) == []


def test_a_respawn_while_the_api_is_down_waits_for_a_token_and_says_so(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    run = camera.await_status("running")["run"]
    camera.await_segments(1)
    recorder = installation.streaming.recorder(installation.record_root, camera.camera_id)
    assert recorder is not None

    def status() -> Item:
        found: Item = installation.to_streaming.get(f"/streams/{camera.camera_id}").json()
        return found

    def waits() -> bool:
        error = status()["last_error"]
        return error is not None and str(error["cause"]) == "token_unavailable"

    with api_down(installation):
        recorder.kill()
        wait_for("token_unavailable", waits)
    camera.await_status(lambda s: s["status"] == "running" and s["run"] > run)
    camera.await_segments(1, run_after=run)
    assert holes(camera.recordings()) == []


def test_sigterm_of_the_streaming_role_finishes_and_indexes_the_last_segments(
    installation: Installation, camera: CameraUser
) -> None:
    camera.connect()
    camera.await_status("running")
    tree = installation.streaming.tree()
    folder = installation.record_root / OWNER / camera.camera_id
    try:
        assert installation.streaming.stop() == 0
        await_gone(tree, within_s=0.5)
        assert list((folder / ".live").glob("*.mp4")) == []
        rows = {file_of(folder, segment) for segment in camera.segments()}
        assert rows == set(stored_files(folder))
        assert not any(segment["salvaged"] for segment in camera.segments())
    finally:
        installation.start_streaming()
    camera.await_status("running")


@pytest.mark.parametrize("hang", ["silent camera", "stopped process"])
def test_an_ffmpeg_that_hears_no_signal_does_not_hold_up_the_end(
    installation: Installation, camera: CameraUser, hang: str
) -> None:
    camera.connect()
    camera.await_status("running")
    camera.await_segments(1)
    recorder = installation.streaming.recorder(installation.record_root, camera.camera_id)
    assert recorder is not None
    if hang == "silent camera":
        installation.fault(camera, silence="all")
    else:
        recorder.suspend()
    try:
        assert installation.streaming.stop() == 0
        await_gone([recorder], within_s=0.5)
    finally:
        installation.start_streaming()


def test_sigterm_of_the_api_ends_it_in_order(installation: Installation) -> None:
    try:
        assert installation.api.stop() == 0
    finally:
        installation.start_api()


@pytest.mark.slow
def test_an_answer_lost_on_the_way_heals_by_reconciling(
    installation: Installation, camera: CameraUser
) -> None:
    os.kill(installation.streaming.pid, signal.SIGSTOP)
    try:
        answer = camera.connect()  # waits for an answer until its patience ends
        assert (answer.status, answer.code) == (503, "streaming_unavailable")
    finally:
        os.kill(installation.streaming.pid, signal.SIGCONT)
    # The call has arrived all the same. Nobody wants it: the streaming role finds out by itself.
    wait_for(
        "the end of the wanted period",
        lambda: _ended(installation, camera),
        within_s=RECONCILED_WITHIN_S,
    )
    camera.await_status("stopped", within_s=10)
    assert installation.streaming.recorder(installation.record_root, camera.camera_id) is None


def _ended(installation: Installation, camera: CameraUser) -> bool:
    ended = installation.streaming.events("stream_ended_meanwhile")
    return any(event["camera"] == camera.camera_id for event in ended)


def _want(installation: Installation, camera: CameraUser) -> None:
    with installation.database() as database:
        row = CameraRepository(database).get(UUID(camera.camera_id))
        assert row is not None
        StreamRepository(database).want(row, requested_by=OWNER, at=datetime.now(UTC))
