from __future__ import annotations

import pytest

from streamwarden.actors.messages import RestartRun, SpawnPrepared
from streamwarden.actors.spawning import CannotRead
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.supervision._actor import ExitKind
from tests.unit.actors.recorder_harness import RecorderHarness, at


def test_from_the_start_request_to_the_first_segment(harness: RecorderHarness) -> None:
    harness.start(seconds=30)
    assert harness.state == "starting"
    assert harness.status.segment_seconds == 30
    order = harness.watcher.orders[0]
    assert (order.run, order.segment_seconds, order.audio, order.probe_s) == (1, 30, "copy", 1.0)
    harness.go_to(2)
    harness.record(1)
    assert (harness.state, harness.status.since, harness.status.run) == ("running", at(2), 1)
    harness.finish(1, 0, 1.5, 31)
    assert harness.gaps == [(0, 1.5, "starting")]
    assert harness.files.ledger.covered_until == at(31)
    last = harness.status.last_segment
    assert last is not None
    assert (last.started_at, last.ended_at, last.size_bytes) == (at(1.5), at(31), 1000)
    assert harness.watcher.runs[1].pending == {}
    assert harness.metrics.first_segments == [31.0]
    assert harness.status.respawns == 0
    assert harness.status.last_error is None


def test_the_offered_url_serves_one_spawn_and_then_a_fresh_token_is_asked_for(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.lose(1)
    assert [order.url for order in harness.watcher.orders] == [
        "rtsp://media/cam?offered",
        "rtsp://media/cam?fetched=1",
    ]


def test_a_running_recorder_keeps_its_run_when_it_is_started_again(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.update(seconds=30, url="rtsp://media/cam?newer")
    assert harness.spawned == [1]
    harness.lose(1)
    assert harness.watcher.orders[1].url == "rtsp://media/cam?newer"


def test_the_time_to_the_first_segment_is_reported_once(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 1, 31)
    harness.finish(1, 1, 31, 61)
    assert harness.metrics.first_segments == [31.0]


def test_without_a_token_the_recorder_comes_back_and_says_when(harness: RecorderHarness) -> None:
    harness.tokens.refusals.append(CannotRead(Cause.TOKEN_UNAVAILABLE, "the API is away"))
    harness.start(url=None)
    assert harness.state == "backoff"
    error = harness.status.last_error
    assert error is not None
    assert (error.cause, error.message, error.at) == (
        "token_unavailable",
        "the API is away",
        at(0),
    )
    assert harness.status.next_retry_at == at(0.5)
    assert harness.gaps == [(0, None, "token_unavailable")]
    harness.go_to(0.5)
    harness.expire(0.5)
    assert harness.state == "starting"
    assert harness.spawned == [1]
    assert harness.status.respawns == 1
    assert harness.metrics.respawns == ["token_unavailable"]


def test_the_next_try_is_no_longer_announced_once_it_is_under_way(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.expire(0.5)
    assert harness.status.next_retry_at is None


def test_a_folder_that_is_refused_is_looked_at_again(harness: RecorderHarness) -> None:
    harness.files.refuse("open", times=2)
    harness.start()
    assert harness.state == "backoff"
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "disk_full"
    harness.expire(2.0)
    assert harness.spawned == []
    harness.expire(2.0)
    assert harness.spawned == [1]
    assert harness.state == "starting"


def test_what_is_asked_for_before_the_folder_is_open_is_done_afterwards(
    harness: RecorderHarness,
) -> None:
    harness.files.refuse("open")
    harness.start()
    harness.tell(RestartRun())
    harness.update(seconds=10)
    harness.expire(2.0)
    assert [order.segment_seconds for order in harness.watcher.orders] == [10]


def test_an_orderly_stop_stores_the_last_segment_and_leaves_the_gap_open(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 1, 31)
    harness.go_to(40)
    harness.shut_down()
    assert (harness.state, harness.watcher.stops) == ("stopping", [1])
    harness.finish(1, 1, 31, 41)
    assert not harness.ended
    harness.lose(1, None)
    assert harness.wait_ended().reason.kind is ExitKind.NORMAL
    assert harness.state == "stopped"
    assert harness.gaps == [(0, 1, "starting"), (41, None, "shutdown")]
    assert harness.files.ledger.covered_until == at(41)


def test_what_is_no_longer_wanted_leaves_no_open_gap(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 1, 31)
    harness.go_to(40)
    harness.unwant()
    harness.finish(1, 1, 31, 41)
    harness.lose(1, None)
    harness.wait_ended()
    assert harness.gaps == [(0, 1, "starting")]
    assert harness.files.ledger.covered_until is None


def test_a_camera_that_is_off_is_missing_until_it_is_no_longer_wanted(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.go_to(20)
    harness.unwant()
    harness.wait_ended()
    assert harness.gaps == [(0, 20, "source_offline")]


def test_a_run_that_had_fallen_silent_before_the_stop_is_missing_since_then(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(40)
    harness.unwant()
    harness.go_to(44)
    harness.lose(1, None, tail=(1, 30, 34))
    harness.wait_ended()
    assert harness.gaps == [(34, 40, "stalled")]


def test_a_stop_while_the_token_is_fetched_spawns_nothing(harness: RecorderHarness) -> None:
    harness.callers.hold()
    harness.start()
    harness.unwant()
    harness.wait_ended()
    harness.callers.release()
    assert harness.spawned == []
    assert harness.state == "stopped"


def test_a_stop_while_the_folder_is_opened_waits_for_it(harness: RecorderHarness) -> None:
    harness.disk.hold()
    harness.start()
    harness.shut_down()
    assert not harness.ended
    harness.disk.release()
    harness.wait_ended()
    assert harness.spawned == []
    assert harness.gaps == [(0, None, "shutdown")]


def test_a_stop_in_backoff_is_over_at_once(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    assert harness.state == "backoff"
    harness.shut_down()
    harness.wait_ended()
    assert harness.status.next_retry_at is None
    harness.expire(0.5)
    assert harness.spawned == [1]


def test_a_stop_ends_although_the_disk_refuses_the_folder(harness: RecorderHarness) -> None:
    harness.files.refuse("open", times=2)
    harness.start()
    harness.shut_down()
    harness.expire(2.0)
    harness.wait_ended()
    assert harness.state == "stopped"


def test_a_stop_ends_although_the_disk_refuses_the_last_segment(harness: RecorderHarness) -> None:
    harness.started()
    harness.shut_down()
    harness.files.refuse("publish")
    harness.finish(1, 0, 0, 30)
    harness.lose(1, None)
    harness.wait_ended()
    assert harness.files.calls == []
    assert harness.gaps == [(0, None, "shutdown")]


def test_a_stop_that_finds_the_disk_full_says_so_of_what_is_not_stored(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(40)
    harness.unwant()
    harness.files.refuse("publish")
    harness.finish(1, 1, 30, 40.5)
    harness.lose(1, None)
    harness.wait_ended()
    assert harness.gaps == [(30, 40, "disk_full")]


def test_runs_that_an_earlier_incarnation_has_left_are_stopped_although_the_folder_is_refused(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.crash()
    harness.files.refuse("open", times=2)
    harness.start()
    harness.shut_down()
    harness.expire(2.0)
    harness.wait_ended()
    assert harness.watcher.stops == [1]


def test_a_stop_ends_although_the_ledger_cannot_be_written(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.refuse("write_ledger", times=9)
    harness.shut_down()
    harness.lose(1, None)
    harness.wait_ended()


@pytest.mark.parametrize("attempt", [0, 2])
def test_an_answer_to_an_attempt_that_is_over_is_dropped(
    harness: RecorderHarness, attempt: int
) -> None:
    harness.callers.hold()
    harness.start()
    harness.tell(SpawnPrepared(attempt, OSError("late")))
    assert harness.state == "starting"
    assert harness.status.last_error is None
    harness.callers.release()
    harness.settle()
    assert harness.spawned == [1]


def test_since_moves_with_the_state_and_not_with_what_else_changes(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.finish(1, 1, 30, 60)
    assert harness.status.since == at(0)
    assert harness.metrics.states == ["starting", "running"]


def test_a_stop_twice_is_one_stop(harness: RecorderHarness) -> None:
    harness.started()
    harness.shut_down()
    harness.shut_down()
    assert harness.watcher.stops == [1]


def test_the_server_that_comes_back_says_since_when_it_was_down(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.lose(1, Cause.SOURCE_OFFLINE, tail=(1, 30, 33))
    harness.go_to(100)
    harness.files.opened_with.clear()
    harness.files.alive_until = at(50)
    harness.watcher.runs.clear()
    harness.start()
    assert harness.gaps == [(33, 50, "source_offline"), (50, None, "server_down")]


@pytest.mark.parametrize(
    ("covered_s", "gap"), [(-50, (0, None, "starting")), (0, (0, None, "server_down"))]
)
def test_a_rebuilt_ledger_counts_from_the_start_request_on(
    harness: RecorderHarness, covered_s: float, gap: tuple[float, None, str]
) -> None:
    harness.files.ledger = Ledger(covered_until=at(covered_s))
    harness.files.rebuilt = True
    harness.start()
    assert harness.gaps == [gap]
