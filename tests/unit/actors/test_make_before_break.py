from __future__ import annotations

from streamwarden.actors.messages import RestartRun
from streamwarden.actors.spawning import CannotRead
from streamwarden.model import Cause
from tests.unit.actors.stage import RecorderStage


def recording(stage: RecorderStage) -> None:
    """One run has recorded half a minute."""
    stage.started()
    stage.finish(1, 0, 0, 30)


def test_the_predecessor_goes_only_when_its_successor_records(stage: RecorderStage) -> None:
    recording(stage)
    stage.tell(RestartRun())
    assert stage.spawned == [1, 2]
    assert stage.watcher.stops == []
    assert stage.state == "running"
    stage.go_to(33)
    stage.record(2)
    assert stage.watcher.stops == [1]
    stage.finish(1, 1, 30, 33.4)
    stage.lose(1, None)
    stage.finish(2, 0, 32.5, 60)
    assert stage.gaps == []
    assert stage.state == "running"
    assert stage.status.respawns == 0
    assert stage.watcher.live == [2]


def test_what_a_frozen_predecessor_had_recorded_is_not_also_missing(stage: RecorderStage) -> None:
    """It is found to have ended only after its successor has stored a segment."""
    recording(stage)
    stage.lose(1, Cause.SOURCE_OFFLINE)
    stage.record(2)
    stage.tell(RestartRun())
    stage.go_to(45)
    stage.record(3)
    stage.finish(3, 0, 44, 46)
    assert stage.gaps == [(30, 44, "source_offline")]
    stage.lose(2, None, tail=(0, 32, 34))
    assert stage.gaps == [(30, 32, "source_offline"), (34, 44, "source_offline")]


def test_a_run_whose_segment_does_not_end_is_replaced_and_then_asked_to_stop(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.watcher.be_overdue(1)
    stage.settle()
    assert stage.spawned == [1, 2]
    assert stage.watcher.stops == []
    stage.go_to(125)
    stage.record(2)
    assert stage.watcher.stops == [1]
    stage.finish(1, 1, 30, 126)
    stage.lose(1, None)
    assert stage.gaps == []


def test_a_new_segment_length_is_taken_over_by_a_new_run(stage: RecorderStage) -> None:
    recording(stage)
    stage.update(seconds=10)
    assert [order.segment_seconds for order in stage.watcher.orders] == [30, 10]
    assert stage.status.segment_seconds == 10
    assert stage.watcher.stops == []


def test_a_new_url_alone_replaces_nothing(stage: RecorderStage) -> None:
    recording(stage)
    stage.update(seconds=30, url="rtsp://media/cam?newer")
    assert stage.spawned == [1]


def test_one_replacement_at_a_time(stage: RecorderStage) -> None:
    recording(stage)
    stage.tell(RestartRun())
    stage.tell(RestartRun())
    assert stage.spawned == [1, 2]


def test_a_successor_that_fails_costs_nothing_and_is_tried_again(stage: RecorderStage) -> None:
    recording(stage)
    stage.tell(RestartRun())
    stage.lose(2, Cause.SOURCE_OFFLINE, recorded=False)
    assert stage.watcher.stops == []
    assert stage.state == "running"
    assert stage.status.next_retry_at is None
    assert stage.gaps == []
    stage.expire(0.5)
    assert stage.spawned == [1, 2, 3]
    stage.record(3)
    assert stage.watcher.stops == [1]
    assert stage.gaps == []


def test_a_successor_without_a_token_costs_nothing(stage: RecorderStage) -> None:
    recording(stage)
    stage.tokens.refusals.append(CannotRead(Cause.TOKEN_UNAVAILABLE, "the API is away"))
    stage.tell(RestartRun())
    assert stage.state == "running"
    assert stage.watcher.live == [1]
    assert stage.gaps == []
    stage.expire(0.5)
    assert stage.spawned == [1, 2]


def test_a_predecessor_that_dies_leaves_its_place_to_the_one_on_its_way(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.tell(RestartRun())
    stage.go_to(31)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 30.5))
    assert stage.spawned == [1, 2]
    assert stage.state == "starting"
    assert stage.gaps == [(30.5, None, "ffmpeg_crashed")]
    stage.record(2)
    stage.finish(2, 0, 31.5, 60)
    assert stage.gaps == [(30.5, 31.5, "ffmpeg_crashed")]


def test_both_dying_before_either_records_again_is_one_loss_after_the_other(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.tell(RestartRun())
    stage.go_to(31)
    stage.lose(1, Cause.FFMPEG_CRASHED)
    stage.go_to(32)
    stage.lose(2, Cause.SOURCE_OFFLINE, recorded=False)
    assert stage.gaps == [(30, 32, "ffmpeg_crashed"), (32, None, "source_offline")]
    stage.expire(0.5)
    assert stage.spawned == [1, 2, 3]


def test_a_successor_lost_while_its_predecessor_leaves_is_missing_since_that_has_left(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.tell(RestartRun())
    stage.go_to(33)
    stage.record(2)
    stage.lose(2, Cause.FFMPEG_CRASHED)
    assert stage.spawned == [1, 2, 3]
    assert stage.gaps == []
    stage.finish(1, 1, 30, 33.5)
    stage.lose(1, None)
    assert stage.gaps == [(33.5, None, "ffmpeg_crashed")]
    stage.record(3)
    stage.finish(3, 0, 36, 60)
    assert stage.gaps == [(33.5, 36, "ffmpeg_crashed")]


def test_a_length_that_changes_while_the_token_is_fetched_is_in_the_order(
    stage: RecorderStage,
) -> None:
    stage.callers.hold()
    stage.start(seconds=30)
    stage.update(seconds=10)
    stage.callers.release()
    stage.settle()
    assert [order.segment_seconds for order in stage.watcher.orders] == [10]


def test_a_length_that_changes_while_a_run_begins_is_taken_over_once_it_records(
    stage: RecorderStage,
) -> None:
    stage.start(seconds=30)
    stage.update(seconds=10)
    assert stage.spawned == [1]
    stage.record(1)
    assert [order.segment_seconds for order in stage.watcher.orders] == [30, 10]
    stage.record(2)
    assert stage.watcher.stops == [1]
    stage.lose(1, None)
    assert stage.spawned == [1, 2]


def test_a_length_that_changes_while_runs_change_over_is_taken_over_afterwards(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.update(seconds=10)
    stage.update(seconds=20)
    stage.record(2)
    assert stage.spawned == [1, 2]
    stage.lose(1, None)
    assert [order.segment_seconds for order in stage.watcher.orders] == [30, 10, 20]


def test_a_restart_by_hand_ends_a_pause(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.tell(RestartRun())
    assert stage.spawned == [1, 2]
    stage.expire(0.5)
    assert stage.spawned == [1, 2]


def test_a_clock_set_forward_is_a_gap_of_its_own_between_the_old_run_and_the_new(
    stage: RecorderStage,
) -> None:
    recording(stage)
    stage.watcher.step_clock(1, 3600.0)
    stage.settle()
    assert stage.spawned == [1, 2]
    stage.record(2)
    stage.finish(1, 1, 30, 33)
    stage.lose(1, None)
    stage.finish(2, 0, 3633, 3660)
    assert stage.gaps == [(33, 3633, "clock_step")]


def test_a_clock_set_back_is_no_gap(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.watcher.step_clock(1, -3600.0)
    stage.settle()
    stage.record(2)
    stage.lose(1, None)
    stage.finish(2, 0, -3569, -3540)
    assert stage.gaps == []


def test_a_clock_set_while_a_run_begins_is_put_right_once_it_records(
    stage: RecorderStage,
) -> None:
    stage.start()
    stage.watcher.step_clock(1, 3600.0)
    stage.settle()
    assert stage.spawned == [1]
    stage.record(1)
    assert stage.spawned == [1, 2]
