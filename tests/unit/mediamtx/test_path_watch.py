"""The watch over paths: whose pause it ends, which cameras it has called, and when it is quiet."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from streamwarden.mediamtx.path_watch import (
    CALL_DISTANCE_S,
    CALLS_A_TURN,
    EVERY_S,
    IDLE_S,
    LONG_S,
    SELDOM_S,
    WAKES_A_MINUTE,
    PathWatch,
)
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.fakes.path_states import FakePaths

CAMERA = UUID("11111111-1111-1111-1111-111111111111")


class WatchHarness:
    """A watch whose turns a test takes, over a fake media server."""

    def __init__(self) -> None:
        self.clock = ManualClock(EPOCH)
        self.server = FakePaths()
        self.watch = PathWatch(self.server, self.clock)
        self.woken: list[UUID] = []

    def pause(self, camera_id: UUID = CAMERA, path: str = "cam") -> None:
        self.watch.lost(camera_id, path, lambda: self.woken.append(camera_id))

    def turn(self, *, after_s: float = 0.0) -> float:
        self.clock.advance(after_s)
        return self.watch._thread.attempt()


@pytest.fixture
def harness() -> WatchHarness:
    return WatchHarness()


def test_nothing_is_read_while_nobody_waits(harness: WatchHarness) -> None:
    assert harness.turn() == IDLE_S
    harness.pause()
    harness.watch.recording(CAMERA)
    assert harness.turn() == IDLE_S
    harness.pause()
    harness.watch.forget(CAMERA)
    assert harness.turn() == IDLE_S
    assert harness.server.read == 0


def test_a_pause_ends_when_the_path_is_ready_and_not_before(harness: WatchHarness) -> None:
    harness.server.ready("cam", None, pulled=False)
    harness.pause()
    assert harness.turn() == EVERY_S
    assert harness.woken == []
    harness.server.ready("cam", "10:00", pulled=False)
    harness.turn(after_s=EVERY_S)
    assert harness.woken == [CAMERA]
    harness.turn(after_s=EVERY_S)
    assert harness.woken == [CAMERA]


def test_only_the_recorder_of_that_path_is_woken(harness: WatchHarness) -> None:
    other = uuid4()
    harness.pause()
    harness.pause(other, "cam2")
    harness.server.ready("cam2", "10:00")
    harness.turn()
    assert harness.woken == [other]


def test_a_path_that_stays_ready_ends_one_pause_and_the_next_ones_hold(
    harness: WatchHarness,
) -> None:
    harness.server.ready("cam", "10:00")
    for _ in range(5):
        harness.pause()
        harness.turn(after_s=1.0)
        harness.watch.tried(CAMERA)
    assert harness.woken == [CAMERA]
    harness.server.ready("cam", "10:01")
    harness.pause()
    harness.turn(after_s=1.0)
    assert harness.woken == [CAMERA, CAMERA]


def test_a_path_that_is_ready_again_and_again_ends_so_many_pauses_a_minute(
    harness: WatchHarness,
) -> None:
    for second in range(59):
        harness.server.ready("cam", f"10:00:{second}")
        harness.pause()
        harness.turn(after_s=1.0)
    assert len(harness.woken) == WAKES_A_MINUTE


def test_a_pause_that_has_ended_by_itself_is_not_ended_again(harness: WatchHarness) -> None:
    harness.pause()
    harness.watch.tried(CAMERA)
    harness.server.ready("cam", "10:00")
    harness.turn()
    assert harness.woken == []


def test_a_pulled_camera_is_called_at_once_and_some_times_more(harness: WatchHarness) -> None:
    harness.server.ready("cam", None)
    harness.watch.lost(CAMERA, "cam")
    harness.turn()
    assert harness.server.called == ["cam"]
    harness.turn(after_s=CALL_DISTANCE_S / 2)
    assert harness.server.called == ["cam"], "the call that is under way would be ended"
    for _ in range(100):
        harness.pause()
        harness.turn(after_s=1.0)
    assert len(harness.server.called) == 3, "at 0, 2 and 6 s: a slow camera is given time"


def test_who_publishes_or_is_there_is_not_called(harness: WatchHarness) -> None:
    harness.server.ready("cam", None, pulled=False)
    harness.pause()
    harness.turn()
    harness.server.ready("cam", "10:00", pulled=True)
    harness.turn(after_s=CALL_DISTANCE_S)
    assert harness.server.called == []


def test_a_new_outage_is_called_anew_and_not_for_ever(harness: WatchHarness) -> None:
    harness.server.ready("cam", None)
    for _ in range(20):
        harness.watch.lost(CAMERA, "cam")
        harness.turn(after_s=CALL_DISTANCE_S)
        harness.watch.recording(CAMERA)
    assert 6 <= len(harness.server.called) <= 7


def test_many_cameras_are_called_a_few_in_each_turn(harness: WatchHarness) -> None:
    for number in range(10):
        harness.server.ready(f"cam{number}", None)
        harness.pause(uuid4(), f"cam{number}")
    harness.turn()
    assert len(harness.server.called) == CALLS_A_TURN
    harness.turn(after_s=EVERY_S)
    harness.turn(after_s=EVERY_S)
    assert sorted(set(harness.server.called)) == sorted(f"cam{number}" for number in range(10))


def test_a_long_outage_is_looked_at_less_often(harness: WatchHarness) -> None:
    harness.pause()
    assert harness.turn(after_s=LONG_S + 1) == SELDOM_S
    harness.pause(uuid4(), "cam2")
    assert harness.turn() == EVERY_S


def test_while_the_server_is_away_one_line_is_logged_and_the_pauses_hold(
    harness: WatchHarness,
) -> None:
    harness.server.away = True
    harness.pause()
    with capture_logs() as logs:
        pauses_s = [harness.turn(after_s=1.0) for _ in range(6)]
    assert [line["event"] for line in logs] == ["path_states_not_read"]
    assert pauses_s[-1] > EVERY_S
    assert harness.woken == []
    harness.server.away = False
    harness.server.ready("cam", "10:00")
    with capture_logs() as logs:
        harness.turn()
    assert [line["event"] for line in logs] == ["pause_ended", "path_states_read_again"]
    assert harness.woken == [CAMERA]


def test_without_a_control_api_nothing_is_kept() -> None:
    watch = PathWatch(None, ManualClock(EPOCH))
    watch.start()
    watch.lost(CAMERA, "cam", lambda: None)
    assert watch.turn() == IDLE_S
    watch.stop()
