from __future__ import annotations

from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CannotStore
from tests.unit.actors.recorder_harness import RecorderHarness


def test_segments_are_stored_one_after_the_other_in_order(harness: RecorderHarness) -> None:
    harness.started()
    harness.disk.hold()
    for number in range(4):
        harness.finish(1, number, 30.0 * number, 30.0 * number + 30)
    assert harness.disk.waiting == 1
    while harness.disk.waiting:
        harness.disk.do_next()
        harness.settle()
    assert harness.files.calls == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_a_segment_that_the_disk_refuses_is_tried_again_before_its_successors(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.files.refuse("publish", times=2)
    harness.finish(1, 0, 0, 30)
    harness.finish(1, 1, 30, 60)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(2, 60, 65))
    assert harness.files.calls == []
    assert harness.status.last_error is not None
    harness.expire(2.0)
    harness.expire(2.0)
    assert harness.files.calls == [(1, 0), (1, 1), (1, 2)]
    assert harness.gaps == [(65, None, "ffmpeg_crashed")]


def test_a_segment_that_a_defect_keeps_from_its_place_does_not_hold_up_the_others_for_ever(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.files.refuse("publish", ValueError("a defect"), times=5)
    harness.finish(1, 0, 0, 30)
    harness.finish(1, 1, 30, 60)
    for _ in range(4):
        harness.expire(2.0)
    assert harness.files.calls == [(1, 1)]
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "internal"


def test_a_disk_that_refuses_a_segment_stops_no_recording(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.refuse("publish", CannotStore(Cause.NOT_WRITABLE, "read-only"))
    harness.finish(1, 0, 0, 30)
    assert harness.state == "running"
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "not_writable"
    assert harness.watcher.stops == []


def test_a_segment_reported_twice_is_stored_once(harness: RecorderHarness) -> None:
    harness.started()
    harness.disk.hold()
    harness.finish(1, 0, 0, 30)
    harness.finish(1, 0, 0, 30)
    harness.disk.release()
    harness.settle()
    assert harness.files.calls == [(1, 0)]


def test_an_ended_run_is_kept_until_its_last_segment_is_stored(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.refuse("publish")
    harness.finish(1, 0, 0, 30)
    harness.lose(1, Cause.SOURCE_OFFLINE)
    assert 1 in harness.watcher.runs
    harness.expire(2.0)
    assert 1 not in harness.watcher.runs


def test_an_error_that_nobody_expected_is_shown_as_ours_without_its_length(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.files.refuse("publish", ValueError("x" * 5000))
    harness.finish(1, 0, 0, 30)
    error = harness.status.last_error
    assert error is not None
    assert error.cause == "internal"
    assert len(error.message) == 300


def test_a_stop_waits_for_a_segment_that_is_to_be_tried_again(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.refuse("publish")
    harness.finish(1, 0, 0, 30)
    harness.shut_down()
    harness.lose(1, None)
    assert not harness.ended
    harness.expire(2.0)
    harness.wait_ended()
    assert harness.files.calls == [(1, 0)]
