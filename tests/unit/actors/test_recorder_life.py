from __future__ import annotations

import pytest

from streamwarden.actors.messages import RestartRun, SpawnPrepared
from streamwarden.actors.spawning import CannotRead
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.supervision._actor import ExitKind
from tests.unit.actors.stage import RecorderStage, at


def test_from_the_wish_to_the_first_segment(stage: RecorderStage) -> None:
    stage.start(seconds=30)
    assert stage.state == "starting"
    assert stage.status.segment_seconds == 30
    order = stage.watcher.orders[0]
    assert (order.run, order.segment_seconds, order.audio, order.probe_s) == (1, 30, "copy", 1.0)
    stage.go_to(2)
    stage.record(1)
    assert (stage.state, stage.status.since, stage.status.run) == ("running", at(2), 1)
    stage.finish(1, 0, 1.5, 31)
    assert stage.gaps == [(0, 1.5, "starting")]
    assert stage.files.ledger.covered_until == at(31)
    last = stage.status.last_segment
    assert last is not None
    assert (last.started_at, last.ended_at, last.size_bytes) == (at(1.5), at(31), 1000)
    assert stage.watcher.runs[1].pending == {}
    assert stage.metrics.first_segments == [31.0]
    assert stage.status.respawns == 0
    assert stage.status.last_error is None


def test_the_offered_url_serves_one_spawn_and_then_a_fresh_token_is_asked_for(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.lose(1)
    assert [order.url for order in stage.watcher.orders] == [
        "rtsp://media/cam?offered",
        "rtsp://media/cam?fetched=1",
    ]


def test_a_running_recorder_keeps_its_run_when_it_is_started_again(stage: RecorderStage) -> None:
    stage.started()
    stage.update(seconds=30, url="rtsp://media/cam?newer")
    assert stage.spawned == [1]
    stage.lose(1)
    assert stage.watcher.orders[1].url == "rtsp://media/cam?newer"


def test_the_time_to_the_first_segment_is_told_once(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 1, 31)
    stage.finish(1, 1, 31, 61)
    assert stage.metrics.first_segments == [31.0]


def test_without_a_token_the_recorder_comes_back_and_says_when(stage: RecorderStage) -> None:
    stage.tokens.refusals.append(CannotRead(Cause.TOKEN_UNAVAILABLE, "the API is away"))
    stage.start(url=None)
    assert stage.state == "backoff"
    error = stage.status.last_error
    assert error is not None
    assert (error.cause, error.message, error.at) == (
        "token_unavailable",
        "the API is away",
        at(0),
    )
    assert stage.status.next_retry_at == at(0.5)
    assert stage.gaps == [(0, None, "token_unavailable")]
    stage.go_to(0.5)
    stage.expire(0.5)
    assert stage.state == "starting"
    assert stage.spawned == [1]
    assert stage.status.respawns == 1
    assert stage.metrics.respawns == ["token_unavailable"]


def test_the_next_try_is_no_longer_announced_once_it_is_under_way(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.expire(0.5)
    assert stage.status.next_retry_at is None


def test_a_folder_that_is_refused_is_looked_at_again(stage: RecorderStage) -> None:
    stage.files.refuse("open", times=2)
    stage.start()
    assert stage.state == "backoff"
    assert stage.status.last_error is not None
    assert stage.status.last_error.cause == "disk_full"
    stage.expire(2.0)
    assert stage.spawned == []
    stage.expire(2.0)
    assert stage.spawned == [1]
    assert stage.state == "starting"


def test_what_is_asked_for_before_the_folder_is_open_is_done_afterwards(
    stage: RecorderStage,
) -> None:
    stage.files.refuse("open")
    stage.start()
    stage.tell(RestartRun())
    stage.update(seconds=10)
    stage.expire(2.0)
    assert [order.segment_seconds for order in stage.watcher.orders] == [10]


def test_an_orderly_stop_stores_the_last_segment_and_leaves_the_gap_open(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 1, 31)
    stage.go_to(40)
    stage.shut_down()
    assert (stage.state, stage.watcher.stops) == ("stopping", [1])
    stage.finish(1, 1, 31, 41)
    assert not stage.ended
    stage.lose(1, None)
    assert stage.wait_ended().reason.kind is ExitKind.NORMAL
    assert stage.state == "stopped"
    assert stage.gaps == [(0, 1, "starting"), (41, None, "shutdown")]
    assert stage.files.ledger.covered_until == at(41)


def test_what_is_no_longer_wanted_leaves_no_open_gap(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 1, 31)
    stage.go_to(40)
    stage.unwant()
    stage.finish(1, 1, 31, 41)
    stage.lose(1, None)
    stage.wait_ended()
    assert stage.gaps == [(0, 1, "starting")]
    assert stage.files.ledger.covered_until is None


def test_a_camera_that_is_off_is_missing_until_it_is_no_longer_wanted(
    stage: RecorderStage,
) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.go_to(20)
    stage.unwant()
    stage.wait_ended()
    assert stage.gaps == [(0, 20, "source_offline")]


def test_a_run_that_had_fallen_silent_before_the_stop_is_missing_since_then(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.go_to(40)
    stage.unwant()
    stage.go_to(44)
    stage.lose(1, None, tail=(1, 30, 34))
    stage.wait_ended()
    assert stage.gaps == [(34, 40, "stalled")]


def test_a_stop_while_the_token_is_fetched_spawns_nothing(stage: RecorderStage) -> None:
    stage.callers.hold()
    stage.start()
    stage.unwant()
    stage.wait_ended()
    stage.callers.release()
    assert stage.spawned == []
    assert stage.state == "stopped"


def test_a_stop_while_the_folder_is_opened_waits_for_it(stage: RecorderStage) -> None:
    stage.disk.hold()
    stage.start()
    stage.shut_down()
    assert not stage.ended
    stage.disk.release()
    stage.wait_ended()
    assert stage.spawned == []
    assert stage.gaps == [(0, None, "shutdown")]


def test_a_stop_in_backoff_is_over_at_once(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    assert stage.state == "backoff"
    stage.shut_down()
    stage.wait_ended()
    assert stage.status.next_retry_at is None
    stage.expire(0.5)
    assert stage.spawned == [1]


def test_a_stop_ends_although_the_disk_refuses_the_folder(stage: RecorderStage) -> None:
    stage.files.refuse("open", times=2)
    stage.start()
    stage.shut_down()
    stage.expire(2.0)
    stage.wait_ended()
    assert stage.state == "stopped"


def test_a_stop_ends_although_the_disk_refuses_the_last_segment(stage: RecorderStage) -> None:
    stage.started()
    stage.shut_down()
    stage.files.refuse("publish")
    stage.finish(1, 0, 0, 30)
    stage.lose(1, None)
    stage.wait_ended()
    assert stage.files.calls == []
    assert stage.gaps == [(0, None, "shutdown")]


def test_a_stop_that_finds_the_disk_full_says_so_of_what_is_not_stored(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.go_to(40)
    stage.unwant()
    stage.files.refuse("publish")
    stage.finish(1, 1, 30, 40.5)
    stage.lose(1, None)
    stage.wait_ended()
    assert stage.gaps == [(30, 40, "disk_full")]


def test_runs_that_an_earlier_incarnation_has_left_are_stopped_although_the_folder_is_refused(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.crash()
    stage.files.refuse("open", times=2)
    stage.start()
    stage.shut_down()
    stage.expire(2.0)
    stage.wait_ended()
    assert stage.watcher.stops == [1]


def test_a_stop_ends_although_the_ledger_cannot_be_written(stage: RecorderStage) -> None:
    stage.started()
    stage.files.refuse("write_ledger", times=9)
    stage.shut_down()
    stage.lose(1, None)
    stage.wait_ended()


@pytest.mark.parametrize("attempt", [0, 2])
def test_an_answer_to_an_attempt_that_is_over_is_dropped(
    stage: RecorderStage, attempt: int
) -> None:
    stage.callers.hold()
    stage.start()
    stage.tell(SpawnPrepared(attempt, OSError("late")))
    assert stage.state == "starting"
    assert stage.status.last_error is None
    stage.callers.release()
    stage.settle()
    assert stage.spawned == [1]


def test_since_moves_with_the_state_and_not_with_what_else_changes(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.finish(1, 1, 30, 60)
    assert stage.status.since == at(0)
    assert stage.metrics.states == ["starting", "running"]


def test_a_stop_twice_is_one_stop(stage: RecorderStage) -> None:
    stage.started()
    stage.shut_down()
    stage.shut_down()
    assert stage.watcher.stops == [1]


def test_the_server_that_comes_back_says_since_when_it_was_down(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.lose(1, Cause.SOURCE_OFFLINE, tail=(1, 30, 33))
    stage.go_to(100)
    stage.files.opened_with.clear()
    stage.files.alive_until = at(50)
    stage.watcher.runs.clear()
    stage.start()
    assert stage.gaps == [(33, 50, "source_offline"), (50, None, "server_down")]


@pytest.mark.parametrize(
    ("covered_s", "gap"), [(-50, (0, None, "starting")), (7, (7, None, "server_down"))]
)
def test_a_rebuilt_ledger_counts_from_the_wish_on(
    stage: RecorderStage, covered_s: float, gap: tuple[float, None, str]
) -> None:
    stage.files.ledger = Ledger(covered_until=at(covered_s))
    stage.files.rebuilt = True
    stage.start()
    assert stage.gaps == [gap]
