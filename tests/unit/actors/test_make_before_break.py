from __future__ import annotations

import pytest

from streamwarden.actors.messages import RestartRun
from streamwarden.actors.spawning import CannotRead
from streamwarden.model import Cause
from tests.unit.actors.recorder_harness import RecorderHarness, at


def recording(harness: RecorderHarness) -> None:
    """One run has recorded half a minute."""
    harness.started()
    harness.finish(1, 0, 0, 30)


def test_the_predecessor_goes_only_when_its_successor_records(harness: RecorderHarness) -> None:
    recording(harness)
    harness.tell(RestartRun())
    assert harness.spawned == [1, 2]
    assert harness.watcher.stops == []
    assert harness.state == "running"
    harness.go_to(33)
    harness.record(2)
    assert harness.watcher.stops == [1]
    harness.finish(1, 1, 30, 33.4)
    harness.lose(1, None)
    harness.finish(2, 0, 32.5, 60)
    assert harness.gaps == []
    assert harness.state == "running"
    assert harness.status.respawns == 0
    assert harness.watcher.live == [2]


def test_what_a_frozen_predecessor_had_recorded_is_not_also_missing(
    harness: RecorderHarness,
) -> None:
    """It is found to have ended only after its successor has stored a segment."""
    recording(harness)
    harness.lose(1, Cause.SOURCE_OFFLINE)
    harness.record(2)
    harness.tell(RestartRun())
    harness.go_to(45)
    harness.record(3)
    harness.finish(3, 0, 44, 46)
    assert harness.gaps == [(30, 44, "source_offline")]
    harness.lose(2, None, tail=(0, 32, 34))
    assert harness.gaps == [(30, 32, "source_offline"), (34, 44, "source_offline")]


def test_a_run_whose_segment_does_not_end_is_replaced_and_then_asked_to_stop(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.watcher.be_overdue(1)
    harness.settle()
    assert harness.spawned == [1, 2]
    assert harness.watcher.stops == []
    harness.go_to(125)
    harness.record(2)
    assert harness.watcher.stops == [1]
    harness.finish(1, 1, 30, 126)
    harness.lose(1, None)
    assert harness.gaps == []


def test_a_new_segment_length_is_taken_over_by_a_new_run(harness: RecorderHarness) -> None:
    recording(harness)
    harness.update(seconds=10)
    assert [order.segment_seconds for order in harness.watcher.orders] == [30, 10]
    assert harness.status.segment_seconds == 10
    assert harness.watcher.stops == []


def test_a_new_url_alone_replaces_nothing(harness: RecorderHarness) -> None:
    recording(harness)
    harness.update(seconds=30, url="rtsp://media/cam?newer")
    assert harness.spawned == [1]


def test_one_replacement_at_a_time(harness: RecorderHarness) -> None:
    recording(harness)
    harness.tell(RestartRun())
    harness.tell(RestartRun())
    assert harness.spawned == [1, 2]


def test_a_successor_that_fails_costs_nothing_and_is_tried_again(harness: RecorderHarness) -> None:
    recording(harness)
    harness.tell(RestartRun())
    harness.lose(2, Cause.SOURCE_OFFLINE, recorded=False)
    assert harness.watcher.stops == []
    assert harness.state == "running"
    assert harness.status.next_retry_at is None
    assert harness.gaps == []
    harness.expire(0.5)
    assert harness.spawned == [1, 2, 3]
    harness.record(3)
    assert harness.watcher.stops == [1]
    assert harness.gaps == []


def test_a_successor_without_a_token_costs_nothing(harness: RecorderHarness) -> None:
    recording(harness)
    harness.tokens.refusals.append(CannotRead(Cause.TOKEN_UNAVAILABLE, "the API is away"))
    harness.tell(RestartRun())
    assert harness.state == "running"
    assert harness.watcher.live == [1]
    assert harness.gaps == []
    harness.expire(0.5)
    assert harness.spawned == [1, 2]


def test_a_predecessor_that_dies_leaves_its_place_to_the_one_on_its_way(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.tell(RestartRun())
    harness.go_to(31)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 30.5))
    assert harness.spawned == [1, 2]
    assert harness.state == "starting"
    assert harness.gaps == [(30.5, None, "ffmpeg_crashed")]
    harness.record(2)
    harness.finish(2, 0, 31.5, 60)
    assert harness.gaps == [(30.5, 31.5, "ffmpeg_crashed")]


def test_both_dying_before_either_records_again_is_one_loss_after_the_other(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.tell(RestartRun())
    harness.go_to(31)
    harness.lose(1, Cause.FFMPEG_CRASHED)
    harness.go_to(32)
    harness.lose(2, Cause.SOURCE_OFFLINE, recorded=False)
    assert harness.gaps == [(30, 32, "ffmpeg_crashed"), (32, None, "source_offline")]
    harness.expire(0.5)
    assert harness.spawned == [1, 2, 3]


def test_a_successor_lost_while_its_predecessor_leaves_is_missing_since_that_has_left(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.tell(RestartRun())
    harness.go_to(33)
    harness.record(2)
    harness.lose(2, Cause.FFMPEG_CRASHED)
    assert harness.spawned == [1, 2, 3]
    assert harness.gaps == []
    harness.finish(1, 1, 30, 33.5)
    harness.lose(1, None)
    assert harness.gaps == [(33.5, None, "ffmpeg_crashed")]
    harness.record(3)
    harness.finish(3, 0, 36, 60)
    assert harness.gaps == [(33.5, 36, "ffmpeg_crashed")]


def test_a_length_that_changes_while_the_token_is_fetched_is_in_the_order(
    harness: RecorderHarness,
) -> None:
    harness.callers.hold()
    harness.start(seconds=30)
    harness.update(seconds=10)
    harness.callers.release()
    harness.settle()
    assert [order.segment_seconds for order in harness.watcher.orders] == [10]


def test_a_length_that_changes_while_a_run_begins_is_taken_over_once_it_records(
    harness: RecorderHarness,
) -> None:
    harness.start(seconds=30)
    harness.update(seconds=10)
    assert harness.spawned == [1]
    harness.record(1)
    assert [order.segment_seconds for order in harness.watcher.orders] == [30, 10]
    harness.record(2)
    assert harness.watcher.stops == [1]
    harness.lose(1, None)
    assert harness.spawned == [1, 2]


def test_a_length_that_changes_while_runs_change_over_is_taken_over_afterwards(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.update(seconds=10)
    harness.update(seconds=20)
    harness.record(2)
    assert harness.spawned == [1, 2]
    harness.lose(1, None)
    assert [order.segment_seconds for order in harness.watcher.orders] == [30, 10, 20]


def test_a_restart_by_hand_ends_a_pause(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.tell(RestartRun())
    assert harness.spawned == [1, 2]
    harness.expire(0.5)
    assert harness.spawned == [1, 2]


def test_a_clock_set_forward_is_a_gap_of_its_own_between_the_old_run_and_the_new(
    harness: RecorderHarness,
) -> None:
    recording(harness)
    harness.clock.step_wall(3600.0)
    harness.watcher.step_clock(1, 3600.0)
    harness.settle()
    assert harness.spawned == [1, 2]
    harness.record(2)
    harness.finish(1, 1, 30, 33)
    harness.lose(1, None)
    harness.finish(2, 0, 3633, 3660)
    assert harness.gaps == [(33, 3633, "clock_step")]


def test_a_clock_set_back_is_no_gap(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.clock.step_wall(-3600.0)
    harness.watcher.step_clock(1, -3600.0)
    harness.settle()
    harness.record(2)
    harness.lose(1, None)
    harness.finish(2, 0, -3570, -3540)
    assert harness.gaps == []


def test_a_clock_set_while_a_run_begins_is_put_right_once_it_records(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.watcher.step_clock(1, 3600.0)
    harness.settle()
    assert harness.spawned == [1]
    harness.record(1)
    assert harness.spawned == [1, 2]


def test_a_camera_whose_stamps_stand_still_is_recorded_by_the_arrival_of_its_pictures(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.files.standing.add((1, 0))
    harness.finish(1, 0, 0, 30)
    assert harness.spawned == [1, 2]
    assert harness.watcher.stops == []
    assert [order.wall_clock for order in harness.watcher.orders] == [False, True]
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "timestamps_standing"
    harness.go_to(33)
    harness.record(2)
    harness.files.standing.add((1, 1))
    harness.finish(1, 1, 30, 34)
    harness.lose(1, None)
    harness.finish(2, 0, 32.5, 60)
    assert harness.spawned == [1, 2]
    assert harness.gaps == []


def test_stamps_that_jump_are_named_and_the_run_is_replaced_without_a_gap(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 1, 31)
    harness.watcher.jump(1, 3600.0)
    harness.settle()
    assert harness.spawned == [1, 2]
    assert harness.state == "running"
    error = harness.status.last_error
    assert error is not None
    assert (error.cause, "3600 s" in error.message) == ("timestamps_jumped", True)
    assert harness.gaps == [(0, 1, "starting")]


@pytest.mark.parametrize("noise_s", [0.0, 0.002, -0.002])
@pytest.mark.parametrize("late", [False, True])
def test_a_hole_of_the_old_run_stays_missing_though_the_clock_reads_a_moment_apart(
    harness: RecorderHarness, noise_s: float, late: bool
) -> None:
    harness.started()
    harness.clock.step_wall(noise_s)
    harness.tell(RestartRun())
    harness.record(2)
    harness.finish(1, 0, 0, 1)
    harness.lose(1, None)
    harness.finish(2, 0, 1, 30)
    harness.tell(RestartRun())
    harness.go_to(40)
    harness.record(3)
    harness.files.holes[2, 1] = "70-10500"
    if late:
        harness.finish(3, 0, 40, 42)
    harness.finish(2, 1, 30, 41.5)
    if not late:
        harness.finish(3, 0, 40, 42)
    harness.lose(2, None)
    ((start, end, cause),) = harness.gaps
    assert start == pytest.approx(30.07)
    assert (end, cause) == (40, "pictures_missing")


def test_what_an_old_run_recorded_by_an_earlier_clock_is_not_missing_and_its_hole_is_by_the_new(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.clock.step_wall(-100)
    harness.tell(RestartRun())
    harness.go_to(40)
    harness.record(2)
    harness.files.holes[1, 1] = "2000-8000"
    harness.watcher.finish(2, 0, at(-60), at(-58))
    harness.watcher.finish(1, 1, at(30), at(41))
    harness.settle()
    harness.lose(1, None)
    assert (-68, -62, "pictures_missing") in harness.gaps
