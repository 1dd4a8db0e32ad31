from __future__ import annotations

import pytest

from streamwarden.actors.messages import RestartRun
from streamwarden.model import Cause
from streamwarden.supervision._actor import ExitKind
from tests.unit.actors.recorder_harness import RecorderHarness, at


def test_a_recorder_that_fails_costs_no_frame(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.crash()
    assert harness.exits[0].reason.kind is ExitKind.FAILED
    harness.finish(1, 1, 30, 60)
    harness.start()
    assert harness.spawned == [1]
    assert harness.watcher.stops == []
    assert harness.state == "running"
    assert harness.files.opened_with[-1] == {1}
    harness.finish(1, 2, 60, 90)
    assert sorted(harness.files.rows) == [(1, 0), (1, 1), (1, 2)]
    assert harness.files.stored_twice == []
    assert harness.gaps == []


@pytest.mark.parametrize("call", ["first_segment", "respawned"])
def test_a_failure_in_the_middle_of_a_message_loses_and_invents_nothing(
    harness: RecorderHarness, call: str
) -> None:
    harness.started()
    harness.metrics.raises.add(call)
    harness.finish(1, 0, 0, 30)
    harness.go_to(41)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 40))
    harness.wait_ended()
    harness.start()
    run = harness.watcher.live[-1]
    harness.record(run)
    harness.finish(run, 0, 42, 70)
    assert {(1, 0), (1, 1), (run, 0)} == set(harness.files.rows)
    assert harness.gaps == [(40, 42, "ffmpeg_crashed")]


def test_a_failure_between_the_segment_and_the_ledger_is_made_good(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.metrics.raises.add("first_segment")
    harness.finish(1, 0, 0, 30)
    harness.wait_ended()
    harness.start()
    harness.finish(1, 1, 30, 60)
    assert harness.files.ledger.covered_until == at(60)
    assert harness.gaps == []


def test_a_run_that_ended_while_nobody_listened_is_accounted_for(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.crash()
    harness.go_to(45)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 44))
    harness.start()
    assert harness.spawned == [1, 2]
    assert harness.gaps == [(44, None, "ffmpeg_crashed")]
    assert 1 not in harness.watcher.runs


def test_a_change_over_goes_on_after_a_failure(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.tell(RestartRun())
    harness.crash()
    harness.start()
    assert harness.spawned == [1, 2]
    assert harness.state == "running"
    harness.record(2)
    assert harness.watcher.stops == [1]
    harness.lose(1, None)
    assert harness.gaps == []


def test_a_change_over_that_was_done_while_nobody_listened_goes_on(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.tell(RestartRun())
    harness.crash()
    harness.record(2)
    harness.start()
    assert harness.watcher.stops == [1]
    harness.finish(1, 1, 30, 35)
    harness.lose(1, None)
    harness.finish(2, 0, 34, 60)
    assert harness.gaps == []
    assert harness.watcher.live == [2]


def test_an_incarnation_that_has_ended_commands_nothing(harness: RecorderHarness) -> None:
    harness.callers.hold()
    harness.start()
    harness.crash()
    harness.start()
    harness.callers.release()
    harness.settle()
    assert len(harness.spawned) == 1


def test_a_run_that_is_just_being_stopped_is_followed_by_another(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(33)
    harness.unwant()
    harness.crash()
    harness.start()
    assert harness.spawned == [1]
    harness.finish(1, 1, 30, 33.5)
    harness.lose(1, None)
    assert harness.spawned == [1, 2]


def test_an_open_gap_that_was_found_is_counted_on(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.shut_down()
    harness.lose(1, None)
    harness.wait_ended()
    harness.files.opened_with.clear()
    harness.files.alive_until = at(30)
    harness.renew_meter()
    harness.go_to(60)
    harness.start()
    harness.meter_timers.expire(1.0)
    assert harness.metrics.gap_s["shutdown"] == 28.0


def test_a_length_that_changed_while_nobody_listened_is_taken_over(
    harness: RecorderHarness,
) -> None:
    harness.started(seconds=30)
    harness.crash()
    harness.files.refuse("open")
    harness.start(seconds=30)
    harness.update(seconds=10)
    harness.expire(2.0)
    assert [order.segment_seconds for order in harness.watcher.orders] == [30, 10]
    harness.record(2)
    assert harness.watcher.stops == [1]
