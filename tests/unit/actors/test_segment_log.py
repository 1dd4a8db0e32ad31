from __future__ import annotations

from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CannotStore
from tests.unit.actors.stage import RecorderStage


def test_segments_are_stored_one_after_the_other_in_order(stage: RecorderStage) -> None:
    stage.started()
    stage.disk.hold()
    for number in range(4):
        stage.finish(1, number, 30.0 * number, 30.0 * number + 30)
    assert stage.disk.waiting == 1
    while stage.disk.waiting:
        stage.disk.do_next()
        stage.settle()
    assert stage.files.calls == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_a_segment_that_the_disk_refuses_is_tried_again_before_its_successors(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.files.refuse("publish", times=2)
    stage.finish(1, 0, 0, 30)
    stage.finish(1, 1, 30, 60)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(2, 60, 65))
    assert stage.files.calls == []
    assert stage.status.last_error is not None
    stage.expire(2.0)
    stage.expire(2.0)
    assert stage.files.calls == [(1, 0), (1, 1), (1, 2)]
    assert stage.gaps == [(65, None, "ffmpeg_crashed")]


def test_a_segment_that_a_defect_keeps_from_its_place_does_not_hold_up_the_others_for_ever(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.files.refuse("publish", ValueError("a defect"), times=5)
    stage.finish(1, 0, 0, 30)
    stage.finish(1, 1, 30, 60)
    for _ in range(4):
        stage.expire(2.0)
    assert stage.files.calls == [(1, 1)]
    assert stage.status.last_error is not None
    assert stage.status.last_error.cause == "internal"


def test_a_disk_that_refuses_a_segment_stops_no_recording(stage: RecorderStage) -> None:
    stage.started()
    stage.files.refuse("publish", CannotStore(Cause.NOT_WRITABLE, "read-only"))
    stage.finish(1, 0, 0, 30)
    assert stage.state == "running"
    assert stage.status.last_error is not None
    assert stage.status.last_error.cause == "not_writable"
    assert stage.watcher.stops == []


def test_a_segment_told_twice_is_stored_once(stage: RecorderStage) -> None:
    stage.started()
    stage.disk.hold()
    stage.finish(1, 0, 0, 30)
    stage.finish(1, 0, 0, 30)
    stage.disk.release()
    stage.settle()
    assert stage.files.calls == [(1, 0)]


def test_an_ended_run_is_kept_until_its_last_segment_is_stored(stage: RecorderStage) -> None:
    stage.started()
    stage.files.refuse("publish")
    stage.finish(1, 0, 0, 30)
    stage.lose(1, Cause.SOURCE_OFFLINE)
    assert 1 in stage.watcher.runs
    stage.expire(2.0)
    assert 1 not in stage.watcher.runs


def test_an_error_that_nobody_expected_is_shown_as_ours_without_its_length(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.files.refuse("publish", ValueError("x" * 5000))
    stage.finish(1, 0, 0, 30)
    error = stage.status.last_error
    assert error is not None
    assert error.cause == "internal"
    assert len(error.message) == 300


def test_a_stop_waits_for_a_segment_that_is_to_be_tried_again(stage: RecorderStage) -> None:
    stage.started()
    stage.files.refuse("publish")
    stage.finish(1, 0, 0, 30)
    stage.shut_down()
    stage.lose(1, None)
    assert not stage.ended
    stage.expire(2.0)
    stage.wait_ended()
    assert stage.files.calls == [(1, 0)]
