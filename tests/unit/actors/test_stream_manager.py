from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from streamwarden.actors import gateway as gateway_module
from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.messages import StartStream
from streamwarden.actors.stream_manager import READS_WITHOUT_ROW, READS_WITHOUT_ROWS
from streamwarden.errors import OtherOwner, Unavailable
from streamwarden.supervision import tell
from tests.unit.actors.manager_harness import Hold, ManagerHarness
from tests.unit.actors.recorder_harness import URL, at

CAMERA, OTHER = uuid4(), uuid4()


def spawned(tree: ManagerHarness, camera_id: UUID = CAMERA) -> list[int]:
    return [order.run for order in tree.cameras[camera_id].watcher.orders]


# What HTTP asks


def test_a_started_stream_records_and_a_stopped_one_does_not(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    assert tree.state(CAMERA) == "running"
    tree.clock.advance(60)
    tree.stop(CAMERA)
    assert tree.cameras[CAMERA].watcher.stops == [1]
    tree.end_runs(CAMERA)
    assert tree.state(CAMERA) == "stopped"
    assert tree.wanted.all() == {}
    assert tree.released == [(CAMERA, "otto", at(60))]
    assert tree.cameras[CAMERA].files.ledger.covered_until is None


def test_starting_again_is_harmless(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    since = tree.wanted.all()[CAMERA].since
    tree.clock.advance(10)
    tree.start(CAMERA)
    assert spawned(tree) == [1]
    assert tree.wanted.all()[CAMERA].since == since


def test_starting_with_another_length_replaces_the_run(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.start(CAMERA, seconds=10)
    orders = tree.cameras[CAMERA].watcher.orders
    assert [order.segment_seconds for order in orders] == [30, 10]


def test_the_answer_to_a_start_is_the_status_and_does_not_wait_for_it(tree: ManagerHarness) -> None:
    tree.callers.hold()
    start = StartStream(camera_id=CAMERA, owner="otto", rtsp_url=URL, segment_seconds=30)
    assert tree.gateway.start(start).camera_id == CAMERA
    tree.callers.release()


def test_a_camera_is_recorded_for_one_owner(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    with pytest.raises(OtherOwner) as refusal:
        tree.start(CAMERA, owner="anna")
    assert refusal.value.code == "other_owner"
    tree.settle()
    assert tree.state(CAMERA) == "running"


def test_a_stop_of_what_was_never_started_is_harmless(tree: ManagerHarness) -> None:
    assert str(tree.gateway.stop(CAMERA).status) == "stopped"
    assert tree.released == []


def test_a_stop_is_answered_with_what_comes_of_it(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    before = tree.gateway.status(CAMERA)
    answered = tree.gateway.stop(CAMERA)
    assert (str(before.status), str(answered.status)) == ("running", "stopping")
    assert answered.run == before.run
    assert answered.since >= before.since


def test_a_stop_twice_is_one_stop(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.stop(CAMERA)
    tree.stop(CAMERA)
    tree.end_runs(CAMERA)
    assert len(tree.released) == 1


def test_a_start_while_it_is_stopping_begins_once_it_has_stopped(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.stop(CAMERA)
    tree.start(CAMERA)
    assert tree.state(CAMERA) == "stopping"
    assert spawned(tree) == [1]
    tree.end_runs(CAMERA)
    assert spawned(tree) == [1, 2]
    assert tree.state(CAMERA) == "starting"
    assert CAMERA in tree.wanted.all()


def test_a_start_while_it_is_stopping_is_not_forgotten_over_the_stop(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.stop(CAMERA)
    again = StartStream(
        camera_id=CAMERA, owner="otto", rtsp_url=URL, segment_seconds=30, request_id="again"
    )
    tree.gateway.start(again)
    tree.clock.advance(3)
    with capture_logs() as logged:
        tree.end_runs(CAMERA)
        tree.cameras[CAMERA].watcher.record(2)
        tree.settle()
    assert tree.cameras[CAMERA].watcher.orders[-1].url == URL
    ordered = [line for line in logged if line["event"] == "run_ordered"]
    assert [(line["run"], line["request_id"]) for line in ordered] == [(2, "again")]
    tree.cameras[CAMERA].watcher.finish(2, 0, at(3), at(33))
    tree.settle()
    assert tree.metrics.first_segments[-1] == 3


def test_another_owner_may_start_once_the_first_one_has_stopped(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.stop(CAMERA)
    tree.start(CAMERA, owner="anna")
    tree.end_runs(CAMERA)
    assert tree.cameras[CAMERA].owner == "anna"
    assert tree.state(CAMERA) == "starting"


def test_a_restart_is_a_make_before_break(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.gateway.restart(CAMERA)
    tree.settle()
    assert spawned(tree) == [1, 2]
    assert tree.cameras[CAMERA].watcher.stops == []


def test_a_restart_of_what_is_not_there_is_harmless(tree: ManagerHarness) -> None:
    assert str(tree.gateway.restart(CAMERA).status) == "stopped"


def test_all_statuses_come_from_the_status_registry(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.recording(OTHER)
    assert [status.camera_id for status in tree.gateway.statuses()] == sorted([CAMERA, OTHER])
    assert str(tree.gateway.status(CAMERA).status) == "running"


# When the manager does not answer


def test_a_manager_that_is_busy_is_unavailable_and_still_does_it(
    tree: ManagerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "ASK_S", 0.02)
    gate = threading.Event()
    tell(tree.manager(), Hold(gate))
    with pytest.raises(Unavailable):
        tree.gateway.start(
            StartStream(camera_id=CAMERA, owner="otto", rtsp_url=URL, segment_seconds=30)
        )
    gate.set()
    tree.settle()
    assert tree.state(CAMERA) == "starting"


def test_a_manager_that_has_ended_is_unavailable(tree: ManagerHarness) -> None:
    ended = tree.manager()
    tree.crash(ended)
    gateway = StreamGateway(manager=lambda: ended, registry=tree.registry)
    for ask in (gateway.stop, gateway.restart):
        with pytest.raises(Unavailable) as refusal:
            ask(CAMERA)
        assert refusal.value.retry_after_s == 1


def test_a_manager_that_was_never_there_is_unavailable(tree: ManagerHarness) -> None:
    gateway = StreamGateway(manager=lambda: None, registry=tree.registry)
    with pytest.raises(Unavailable):
        gateway.stop(CAMERA)


def test_while_the_server_is_stopped_nothing_is_started(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.shut_down()
    tree.settle()
    assert tree.state(CAMERA) == "stopping"
    with pytest.raises(Unavailable):
        tree.start(OTHER)
    tree.end_runs(CAMERA)
    tree.wait_down()
    assert spawned(tree) == [1]
    assert tree.wanted.all().keys() == {CAMERA}
    gap = tree.cameras[CAMERA].files.ledger.gap
    assert gap is not None
    assert gap.cause == "shutdown"


def test_all_recorders_stop_together(tree: ManagerHarness) -> None:
    cameras = [uuid4() for _ in range(5)]
    for camera in cameras:
        tree.recording(camera)
    tree.shut_down()
    tree.settle()
    assert [tree.cameras[camera].watcher.stops for camera in cameras] == [[1]] * 5
    for camera in cameras:
        tree.end_runs(camera)
    tree.wait_down()


# What the database says


def test_a_desired_stream_whose_call_was_lost_is_found_in_the_database(
    tree: ManagerHarness,
) -> None:
    tree.row(CAMERA, wanted=True, changed_s=-20)
    tree.reconcile()
    assert tree.state(CAMERA) == "starting"
    assert tree.wanted.all()[CAMERA].since == at(-20)
    assert tree.cameras[CAMERA].files.ledger.covered_until == at(-20)


def test_the_database_is_asked_at_the_start_and_every_half_minute(tree: ManagerHarness) -> None:
    tree.row(CAMERA, wanted=True)
    tree.timers.expire(30.0)
    tree.settle()
    assert tree.state(CAMERA) == "starting"
    tree.row(CAMERA, wanted=False, changed_s=7)
    tree.timers.expire(30.0)
    tree.settle()
    tree.end_runs(CAMERA)
    assert tree.state(CAMERA) == "stopped"
    assert tree.released == [(CAMERA, "otto", at(7))]


def test_a_stream_that_the_database_does_not_know_is_left_alone(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.clock.advance(60)
    tree.reconcile()
    assert tree.state(CAMERA) == "running"


def test_a_database_that_is_away_changes_nothing_and_is_asked_again(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.database_away = True
    tree.timers.expire(30.0)
    tree.settle()
    assert tree.state(CAMERA) == "running"
    tree.database_away = False
    tree.clock.advance(60)
    tree.row(CAMERA, wanted=False)
    tree.timers.expire(30.0)
    tree.settle()
    assert tree.state(CAMERA) == "stopping"


def test_what_was_asked_for_while_the_rows_were_read_is_newer_than_the_rows(
    tree: ManagerHarness,
) -> None:
    tree.recording(CAMERA)
    tree.row(CAMERA, wanted=True)
    tree.row(OTHER, wanted=False)
    tree.clock.advance(60)
    tree.callers.hold()
    tree.reconcile()
    tree.clock.advance(1)
    tree.stop(CAMERA)
    tree.start(OTHER)
    tree.callers.do_next()
    tree.settle()
    assert tree.state(CAMERA) == "stopping"
    assert OTHER in tree.wanted.all()
    tree.callers.release()
    tree.settle()
    assert tree.state(OTHER) == "starting"
    tree.clock.advance(60)
    tree.reconcile()
    assert OTHER not in tree.wanted.all()
    assert CAMERA in tree.wanted.all()


def test_a_new_segment_length_reaches_every_stream(tree: ManagerHarness) -> None:
    for camera in (CAMERA, OTHER):
        tree.recording(camera)
        tree.row(camera, wanted=True)
    tree.clock.advance(60)
    tree.segment_seconds = 10
    tree.reconcile()
    for camera in (CAMERA, OTHER):
        orders = tree.cameras[camera].watcher.orders
        assert [order.segment_seconds for order in orders] == [30, 10]


def test_a_camera_that_changed_its_owner_is_recorded_for_the_new_one_from_then_on(
    tree: ManagerHarness,
) -> None:
    tree.recording(CAMERA)
    before = tree.cameras[CAMERA]
    tree.clock.advance(60)
    tree.row(CAMERA, wanted=True, owner="anna", changed_s=50)
    tree.reconcile()
    assert before.watcher.stops == [1]
    tree.end_runs(CAMERA)
    assert tree.wanted.all()[CAMERA].owner == "anna"
    assert tree.cameras[CAMERA].owner == "anna"
    assert tree.cameras[CAMERA].files.ledger.covered_until == at(50)
    assert tree.released == [(CAMERA, "otto", at(50))]


def test_rows_that_change_nothing_touch_nothing(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.row(CAMERA, wanted=True)
    tree.row(OTHER, wanted=False)
    tree.clock.advance(60)
    tree.reconcile()
    assert spawned(tree) == [1]
    assert OTHER not in tree.cameras


def test_a_camera_that_no_longer_exists_is_forgotten_once_nothing_of_it_is_left(
    tree: ManagerHarness,
) -> None:
    tree.recording(CAMERA)
    tree.gone = frozenset({CAMERA, OTHER})
    tree.clock.advance(60)
    tree.reconcile()
    assert tree.forgotten == [OTHER]
    tree.stop(CAMERA)
    tree.clock.advance(60)
    tree.reconcile()
    assert tree.forgotten == [OTHER, OTHER]
    tree.end_runs(CAMERA)
    tree.reconcile()
    assert tree.forgotten[-2:] == sorted([CAMERA, OTHER], key=list(tree.gone).index)


def test_a_stream_that_the_database_does_not_know_ends_after_some_reads(
    tree: ManagerHarness,
) -> None:
    # A dump was restored that is older than the camera.
    tree.recording(CAMERA)
    tree.row(OTHER, wanted=False)
    for _ in range(READS_WITHOUT_ROW - 1):
        tree.clock.advance(30)
        tree.reconcile()
    assert CAMERA in tree.wanted.all()
    tree.row(CAMERA, wanted=True)
    tree.reconcile()  # known after all
    del tree.rows[CAMERA]
    for _ in range(READS_WITHOUT_ROW):
        assert CAMERA in tree.wanted.all()
        tree.clock.advance(30)
        tree.reconcile()
    assert CAMERA not in tree.wanted.all()
    tree.end_runs(CAMERA)
    assert tree.state(CAMERA) == "stopped"


def test_a_database_without_any_stream_ends_none_soon(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    for _ in range(READS_WITHOUT_ROWS - 1):
        tree.clock.advance(30)
        tree.reconcile()
    assert CAMERA in tree.wanted.all()
    tree.clock.advance(30)
    tree.reconcile()
    assert CAMERA not in tree.wanted.all()
    tree.end_runs(CAMERA)


# When actors fail


def test_a_recorder_that_fails_is_restarted_and_the_others_go_on(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.recording(OTHER)
    tree.crash(tree.recorder(CAMERA))
    assert len(tree.refs[str(CAMERA)]) == 2
    assert len(tree.refs[str(OTHER)]) == 1
    assert spawned(tree) == [1]
    assert tree.state(CAMERA) == "running"
    assert tree.watcher.restarts == {str(CAMERA): 1}


def test_a_manager_that_fails_costs_no_run(tree: ManagerHarness) -> None:
    for camera in (CAMERA, OTHER):
        tree.recording(camera)
    tree.crash(tree.manager())
    assert len(tree.refs["manager"]) == 2
    for camera in (CAMERA, OTHER):
        assert len(tree.refs[str(camera)]) == 2
        assert spawned(tree, camera) == [1]
        assert tree.cameras[camera].watcher.stops == []
        assert tree.state(camera) == "running"
    tree.stop(CAMERA)
    assert tree.state(CAMERA) == "stopping"


def test_wanted_streams_are_taken_up_again_after_a_restart_of_the_server() -> None:
    first = ManagerHarness()
    first.recording(CAMERA)
    first.close()
    second = ManagerHarness(before=first.wanted)
    assert second.state(CAMERA) == "starting"
    assert second.cameras[CAMERA].watcher.orders[0].url == "rtsp://media/cam?fetched=1"
    second.close()


def test_a_recorder_that_fails_too_often_is_parked_and_the_others_go_on(
    tree: ManagerHarness,
) -> None:
    tree.recording(OTHER)
    tree.recording(CAMERA)
    for _ in range(6):
        tree.crash(tree.recorder(CAMERA))
    assert tree.parked == [(CAMERA, "otto")]
    assert tree.watcher.parkings == [(str(CAMERA), True)]
    tree.recording(uuid4())
    assert tree.state(OTHER) == "running"
    tree.start(CAMERA)
    assert len(tree.refs[str(CAMERA)]) == 6


def test_a_recorder_that_cannot_start_is_parked_too(tree: ManagerHarness) -> None:
    tree.recorders_fail = True
    tree.start(CAMERA)
    assert tree.parked == [(CAMERA, "otto")]


def test_a_parked_recorder_is_tried_again_by_hand_and_after_an_hour(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    for _ in range(6):
        tree.crash(tree.recorder(CAMERA))
    tree.gateway.restart(CAMERA)
    tree.settle()
    assert len(tree.refs[str(CAMERA)]) == 7
    for _ in range(6):
        tree.crash(tree.recorder(CAMERA))
    assert len(tree.parked) == 2
    tree.timers.expire(3600.0)
    tree.settle()
    assert tree.state(CAMERA) == "running"
    assert spawned(tree) == [1]


def test_a_parked_stream_that_is_stopped_has_its_ledger_closed(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    for _ in range(6):
        tree.crash(tree.recorder(CAMERA))
    tree.clock.advance(60)
    tree.stop(CAMERA)
    assert tree.released == [(CAMERA, "otto", at(60))]
    tree.start(CAMERA)
    assert len(tree.refs[str(CAMERA)]) == 7


def test_a_recorder_that_fails_while_it_stops_has_its_ledger_closed(tree: ManagerHarness) -> None:
    tree.recording(CAMERA)
    tree.stop(CAMERA)
    tree.crash(tree.recorder(CAMERA))
    assert tree.released == [(CAMERA, "otto", at(0))]
    assert len(tree.refs[str(CAMERA)]) == 1


def test_a_recorder_that_outlasts_its_time_is_left_behind_and_shows_nothing_more(
    tree: ManagerHarness,
) -> None:
    tree.recording(CAMERA)
    gate = threading.Event()
    old = tree.recorder(CAMERA)
    tell(old, Hold(gate))
    tree.gateway.stop(CAMERA)
    tree.gateway.start(
        StartStream(camera_id=CAMERA, owner="otto", rtsp_url=URL, segment_seconds=30)
    )
    tree.timers.expire(8.0)
    tree.wait_cast(str(CAMERA), 2)
    gate.set()
    tree.settle()
    assert tree.watcher.left_behind == [str(CAMERA)]
    assert tree.state(CAMERA) == "running"


def test_no_message_shows_the_url() -> None:
    start = StartStream(camera_id=CAMERA, owner="otto", rtsp_url=URL, segment_seconds=30)
    assert "rtsp" not in repr(start)
