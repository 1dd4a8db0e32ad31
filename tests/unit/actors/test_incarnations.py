from __future__ import annotations

import pytest

from streamwarden.actors.messages import RestartRun
from streamwarden.model import Cause
from streamwarden.supervision._actor import ExitKind
from tests.unit.actors.stage import RecorderStage, at


def test_a_recorder_that_fails_costs_no_frame(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.crash()
    assert stage.exits[0].reason.kind is ExitKind.FAILED
    stage.finish(1, 1, 30, 60)
    stage.start()
    assert stage.spawned == [1]
    assert stage.watcher.stops == []
    assert stage.state == "running"
    assert stage.files.opened_with[-1] == {1}
    stage.finish(1, 2, 60, 90)
    assert sorted(stage.files.rows) == [(1, 0), (1, 1), (1, 2)]
    assert stage.files.stored_twice == []
    assert stage.gaps == []


@pytest.mark.parametrize("call", ["first_segment", "respawned"])
def test_a_failure_in_the_middle_of_a_message_loses_and_invents_nothing(
    stage: RecorderStage, call: str
) -> None:
    stage.started()
    stage.metrics.raises.add(call)
    stage.finish(1, 0, 0, 30)
    stage.go_to(41)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 40))
    stage.wait_ended()
    stage.start()
    run = stage.watcher.live[-1]
    stage.record(run)
    stage.finish(run, 0, 42, 70)
    assert {(1, 0), (1, 1), (run, 0)} == set(stage.files.rows)
    assert stage.gaps == [(40, 42, "ffmpeg_crashed")]


def test_a_failure_between_the_segment_and_the_ledger_is_made_good(stage: RecorderStage) -> None:
    stage.started()
    stage.metrics.raises.add("first_segment")
    stage.finish(1, 0, 0, 30)
    stage.wait_ended()
    stage.start()
    stage.finish(1, 1, 30, 60)
    assert stage.files.ledger.covered_until == at(60)
    assert stage.gaps == []


def test_a_run_that_ended_while_nobody_listened_is_accounted_for(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.crash()
    stage.go_to(45)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 44))
    stage.start()
    assert stage.spawned == [1, 2]
    assert stage.gaps == [(44, None, "ffmpeg_crashed")]
    assert 1 not in stage.watcher.runs


def test_a_change_over_goes_on_after_a_failure(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.tell(RestartRun())
    stage.crash()
    stage.start()
    assert stage.spawned == [1, 2]
    assert stage.state == "running"
    stage.record(2)
    assert stage.watcher.stops == [1]
    stage.lose(1, None)
    assert stage.gaps == []


def test_a_change_over_that_was_done_while_nobody_listened_goes_on(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.tell(RestartRun())
    stage.crash()
    stage.record(2)
    stage.start()
    assert stage.watcher.stops == [1]
    stage.finish(1, 1, 30, 35)
    stage.lose(1, None)
    stage.finish(2, 0, 34, 60)
    assert stage.gaps == []
    assert stage.watcher.live == [2]


def test_an_incarnation_that_has_ended_commands_nothing(stage: RecorderStage) -> None:
    stage.callers.hold()
    stage.start()
    stage.crash()
    stage.start()
    stage.callers.release()
    stage.settle()
    assert len(stage.spawned) == 1


def test_a_run_that_is_just_being_stopped_is_followed_by_another(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.go_to(33)
    stage.unwant()
    stage.crash()
    stage.start()
    assert stage.spawned == [1]
    stage.finish(1, 1, 30, 33.5)
    stage.lose(1, None)
    assert stage.spawned == [1, 2]


def test_an_open_gap_that_was_found_is_counted_on(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.shut_down()
    stage.lose(1, None)
    stage.wait_ended()
    stage.files.opened_with.clear()
    stage.files.alive_until = at(30)
    stage.renew_meter()
    stage.go_to(60)
    stage.start()
    stage.meter_timers.expire(1.0)
    assert stage.metrics.gap_s["shutdown"] == 28.0


def test_a_length_that_changed_while_nobody_listened_is_taken_over(stage: RecorderStage) -> None:
    stage.started(seconds=30)
    stage.crash()
    stage.files.refuse("open")
    stage.start(seconds=30)
    stage.update(seconds=10)
    stage.expire(2.0)
    assert [order.segment_seconds for order in stage.watcher.orders] == [30, 10]
    stage.record(2)
    assert stage.watcher.stops == [1]
