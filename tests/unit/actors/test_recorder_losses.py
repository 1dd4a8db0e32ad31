from __future__ import annotations

import pytest

from streamwarden.actors.messages import RespawnDue
from streamwarden.mediamtx.path_watch import IDLE_S
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CannotStore, SegmentVanished
from tests.unit.actors.recorder_harness import RecorderHarness, at


def test_a_gap_begins_at_the_end_of_the_torn_tail_and_only_once_that_is_stored(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(45)
    harness.disk.hold()
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 42))
    assert harness.gaps == []
    assert harness.spawned == [1, 2]
    harness.disk.release()
    harness.settle()
    assert harness.gaps == [(42, None, "ffmpeg_crashed")]
    assert 1 not in harness.watcher.runs
    harness.go_to(46)
    harness.record(2)
    harness.finish(2, 0, 45.5, 75)
    assert harness.gaps == [(42, 45.5, "ffmpeg_crashed")]


def test_a_torn_first_file_is_dated_from_its_end(harness: RecorderHarness) -> None:
    harness.started()
    harness.go_to(12)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(0, 1, 10))
    assert harness.gaps == [(0, 8, "starting"), (10, None, "ffmpeg_crashed")]


def test_a_tail_that_holds_nothing_leaves_the_gap_to_the_segment_before(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.files.hollow.add((1, 1))
    harness.go_to(31)
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 30.5))
    assert harness.gaps == [(30, None, "ffmpeg_crashed")]
    assert harness.status.last_segment is not None
    assert harness.status.last_segment.ended_at == at(30)


def test_the_first_respawn_after_a_recording_run_follows_at_once(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.lose(1, Cause.FFMPEG_CRASHED)
    assert harness.spawned == [1, 2]
    assert harness.state == "starting"
    assert harness.status.respawns == 1
    assert harness.metrics.respawns == ["ffmpeg_crashed"]
    assert harness.status.respawn_causes == {"ffmpeg_crashed": 1}


def test_a_run_that_dies_before_it_has_closed_a_segment_has_had_its_one_respawn_at_once(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.lose(1, Cause.FFMPEG_CRASHED)
    harness.record(2)
    harness.lose(2, Cause.FFMPEG_CRASHED)
    assert harness.spawned == [1, 2]
    assert harness.state == "backoff"
    harness.expire(0.5)
    harness.record(3)
    harness.lose(3, Cause.FFMPEG_CRASHED)
    harness.expire(1.0)
    harness.record(4)
    harness.finish(4, 0, 0, 30)
    harness.lose(4, Cause.FFMPEG_CRASHED)
    assert harness.spawned == [1, 2, 3, 4, 5]


def test_a_torn_segment_does_not_begin_the_pauses_anew(harness: RecorderHarness) -> None:
    harness.started()
    harness.lose(1, Cause.FFMPEG_CRASHED, tail=(0, 0, 5))
    harness.record(2)
    harness.lose(2, Cause.FFMPEG_CRASHED, tail=(0, 6, 9))
    assert harness.spawned == [1, 2]


def test_a_camera_that_is_off_is_asked_after_growing_pauses(harness: RecorderHarness) -> None:
    harness.start()
    for run, pause_s in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], start=1):
        harness.lose(run, Cause.SOURCE_OFFLINE, recorded=False)
        harness.expire(pause_s)
    assert harness.spawned == list(range(1, 10))
    assert harness.gaps == [(0, None, "source_offline")]


def test_a_refused_token_is_replaced_at_once_and_then_waited_for(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.UNAUTHORIZED, recorded=False)
    assert harness.watcher.orders[1].url == "rtsp://media/cam?fetched=1"
    harness.lose(2, Cause.UNAUTHORIZED, recorded=False)
    assert harness.state == "backoff"
    harness.expire(1.0)
    assert harness.watcher.orders[2].url == "rtsp://media/cam?fetched=2"


def test_media_that_do_not_fit_are_tried_without_the_sound_and_then_without_listening(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.lose(1, Cause.UNSUPPORTED_MEDIA, recorded=False)
    harness.lose(2, Cause.UNSUPPORTED_MEDIA, recorded=False)
    assert harness.ways == ["copy", "listen", "none"]
    harness.lose(3, Cause.UNSUPPORTED_MEDIA, recorded=False)
    assert harness.state == "backoff"


def test_a_probe_that_was_too_short_is_made_longer_at_once(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.STARTING, recorded=False)
    assert [order.probe_s for order in harness.watcher.orders] == [1.0, 5.0]


def test_a_gap_is_open_while_segments_wait_for_a_root_that_is_gone(
    harness: RecorderHarness,
) -> None:
    gone = Cause.RECORD_ROOT_MISSING
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.files.refuse("publish", CannotStore(gone, "scripted"), times=2)
    harness.files.refuse("next_run", CannotStore(gone, "scripted"))
    harness.finish(1, 1, 30, 60)
    harness.go_to(65)
    harness.lose(1, gone, tail=(2, 60, 63))
    assert harness.gaps == [(63, None, "record_root_missing")]
    harness.go_to(165)
    harness.meter_timers.expire(1.0)
    assert (
        harness.metrics.gap_s["record_root_missing"] == 100
    )  # with the meter's lag of two seconds
    for _ in range(2):
        harness.expire(2.0)  # of the store
        harness.expire(2.0)  # of the spawn
    assert harness.spawned == [1, 2]
    harness.record(2)
    harness.finish(2, 0, 170, 200)
    assert harness.gaps == [(63, 170, "record_root_missing")]
    assert harness.metrics.gap_s["record_root_missing"] == 107


def test_what_waited_for_a_root_and_never_came_back_is_missing(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.files.refuse("publish", CannotStore(Cause.RECORD_ROOT_CHANGED, "scripted"))
    harness.finish(1, 1, 30, 60)
    harness.lose(1, Cause.RECORD_ROOT_CHANGED)
    harness.files.refuse("publish", SegmentVanished())
    for _ in range(2):
        harness.expire(2.0)
    harness.record(2)
    harness.finish(2, 0, 70, 100)
    assert harness.gaps == [(30, 60, "file_lost"), (60, 70, "record_root_changed")]


def test_a_segment_that_vanished_is_a_gap_and_its_run_is_replaced(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.files.refuse("publish", SegmentVanished())
    harness.finish(1, 1, 30, 60)
    assert harness.gaps == [(30, 60, "file_lost")]
    assert harness.spawned == [1, 2]
    harness.finish(1, 2, 60, 90)
    assert harness.gaps == [(30, 60, "file_lost")]


def test_a_folder_that_cannot_be_opened_is_a_gap_from_the_first_refusal(
    harness: RecorderHarness,
) -> None:
    harness.files.refuse("open", CannotStore(Cause.RECORD_ROOT_MISSING, "scripted"), times=2)
    harness.start()
    assert harness.state == "backoff"
    harness.go_to(12)
    harness.meter_timers.expire(1.0)
    assert harness.metrics.gap_s["record_root_missing"] == 10
    for _ in range(2):
        harness.expire(2.0)
    assert harness.spawned == [1]
    assert harness.gaps == [(0, None, "record_root_missing")]
    harness.record(1)
    harness.finish(1, 0, 15, 45)
    assert harness.gaps == [(0, 15, "record_root_missing")]
    assert harness.metrics.gap_s["record_root_missing"] == 15


@pytest.mark.parametrize(
    "cause",
    [
        Cause.DISK_FULL,
        Cause.NOT_WRITABLE,
        Cause.RECORD_ROOT_MISSING,
        Cause.RECORD_ROOT_CHANGED,
        Cause.RECORD_ROOT_READ_ONLY,
        Cause.RECORD_ROOT_HANGS,
    ],
)
def test_a_disk_that_refuses_is_looked_at_every_two_seconds(
    harness: RecorderHarness, cause: Cause
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.files.refuse("next_run", CannotStore(cause, "scripted"), times=3)
    harness.lose(1, cause)
    for _ in range(4):
        assert harness.spawned == [1]
        assert harness.state == "backoff"
        harness.expire(2.0)
    assert harness.spawned == [1, 2]
    assert harness.gaps == [(30, None, str(cause))]


def test_a_second_cause_takes_over_where_the_first_one_ended(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(31)
    harness.lose(1, Cause.SOURCE_OFFLINE)
    harness.go_to(35)
    harness.lose(2, Cause.CONNECTION_REFUSED, recorded=False)
    assert harness.gaps == [(30, 35, "source_offline"), (35, None, "connection_refused")]


def test_a_stall_shows_until_the_run_is_replaced(harness: RecorderHarness) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.watcher.stall(1)
    harness.settle()
    assert harness.state == "stalled"
    harness.lose(1, Cause.STALLED, tail=(1, 30, 33))
    assert harness.state == "starting"
    harness.record(2)
    assert harness.state == "running"
    assert harness.gaps == [(33, None, "stalled")]


def test_a_pause_that_has_been_overtaken_ends_without_effect(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.tell(RespawnDue(1))
    assert harness.spawned == [1]


def test_the_gap_is_counted_while_it_is_open_and_stops_when_frames_come(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.go_to(12)
    harness.meter_timers.expire(1.0)
    assert harness.metrics.gap_s == {"source_offline": 10.0}
    harness.expire(0.5)
    harness.record(2)
    harness.go_to(40)
    harness.meter_timers.expire(1.0)
    harness.finish(2, 0, 11.5, 41)
    assert harness.metrics.gap_s == {"source_offline": 11.5}


def test_a_run_lost_before_its_first_segment_is_missing_after_all(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.expire(0.5)
    harness.go_to(10)
    harness.record(2)
    harness.go_to(12)
    harness.lose(2, Cause.SOURCE_OFFLINE)
    harness.go_to(22)
    harness.meter_timers.expire(1.0)
    assert harness.metrics.gap_s == {"source_offline": 20.0}


def test_a_run_that_somebody_else_has_stopped_is_followed_by_another(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.lose(1, None, tail=(1, 30, 32))
    assert harness.spawned == [1, 2]
    assert harness.gaps == [(32, None, "internal")]


def test_a_path_that_is_ready_again_ends_the_pause_and_its_timer_ends_nothing_more(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    assert harness.state == "backoff"
    harness.server.ready("cam", None)
    harness.paths.turn()
    assert harness.spawned == [1]
    harness.server.ready("cam", "10:00")
    harness.paths.turn()
    harness.settle()
    assert harness.spawned == [1, 2]
    harness.expire(0.5)
    assert harness.spawned == [1, 2]


def test_a_camera_whose_stream_was_lost_is_called_while_its_recorder_tries_at_once(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 1, 31)
    harness.server.ready("cam", None)
    harness.lose(1, Cause.SOURCE_OFFLINE)
    assert harness.spawned == [1, 2], "it tries at once"
    harness.paths.turn()
    assert harness.server.called == ["cam"]
    harness.server.ready("cam", "10:00")
    harness.paths.turn()
    harness.settle()
    assert harness.spawned == [1, 2], "and is not disturbed"


def test_a_loss_that_is_not_the_sources_waits_for_its_own_time(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.FFMPEG_CRASHED, recorded=False)
    harness.server.ready("cam", "10:00")
    harness.paths.turn()
    harness.settle()
    assert harness.spawned == [1]


def test_a_camera_that_is_no_longer_wanted_is_watched_no_longer(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.unwant()
    harness.wait_ended()
    assert harness.paths.turn() == IDLE_S
    assert harness.server.read == 0


def last_cause(harness: RecorderHarness) -> str | None:
    error = harness.status.last_error
    return None if error is None else error.cause


def test_a_run_that_waits_for_a_key_frame_says_so_in_status_and_ledger(
    harness: RecorderHarness,
) -> None:
    harness.start()
    harness.watcher.wait_for_key_frame(1, at(2))
    harness.settle()
    assert harness.state == "waiting_for_key_frame"
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "no_key_frame"
    assert "since 1970-" in harness.status.last_error.message
    assert harness.gaps == [(0, None, "no_key_frame")]
    harness.go_to(300)
    harness.record(1)
    assert harness.state == "running"
    assert last_cause(harness) is None
    harness.finish(1, 0, 299, 330)
    assert harness.gaps == [(0, 299, "no_key_frame")]


def test_a_run_that_got_nothing_is_followed_at_once_by_one_that_waits_for_the_key_frame(
    harness: RecorderHarness,
) -> None:
    harness.start()
    for run in range(1, 5):
        harness.lose(run, Cause.NO_KEY_FRAME, recorded=False)
        assert harness.spawned == list(range(1, run + 2))
        assert harness.state == "waiting_for_key_frame"
    assert [order.patient for order in harness.watcher.orders] == [False, *(True,) * 4]


def test_a_successor_that_waits_for_a_key_frame_changes_nothing_while_another_records(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.update(seconds=60)
    harness.settle()
    assert harness.spawned == [1, 2]
    harness.watcher.wait_for_key_frame(2, at(31))
    harness.settle()
    assert harness.state == "running"
    assert harness.gaps == []


def test_a_disk_that_hangs_is_a_gap_at_once_from_what_was_seen_last(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(50)
    harness.watcher.hang_disk(1, at(41))
    harness.settle()
    assert harness.state == "stalled"
    assert harness.status.last_error is not None
    assert harness.status.last_error.cause == "record_root_hangs"
    assert harness.gaps == [(41, None, "record_root_hangs")]
    assert harness.watcher.stops == []
    assert harness.spawned == [1]


def test_a_run_that_has_kept_everything_while_its_disk_hung_leaves_no_gap(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(50)
    harness.watcher.hang_disk(1, at(41))
    harness.go_to(55)
    harness.record(1)
    assert harness.state == "running"
    assert last_cause(harness) is None
    harness.finish(1, 1, 30, 60)
    assert harness.gaps == []


def test_what_is_missing_between_segments_after_a_disk_hung_has_that_cause(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(50)
    harness.watcher.hang_disk(1, at(41))
    harness.go_to(90)
    harness.record(1)
    harness.finish(1, 1, 30, 45)
    harness.finish(1, 2, 88, 118)
    assert harness.gaps == [(45, 88, "record_root_hangs")]
    harness.finish(1, 3, 130, 148)
    assert harness.gaps[1:] == [(118, 130, "pictures_missing")]


def test_a_run_that_is_lost_to_a_hanging_disk_leaves_the_gap_after_its_tail(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.go_to(50)
    harness.watcher.hang_disk(1, at(41))
    harness.go_to(90)
    harness.lose(1, Cause.RECORD_ROOT_HANGS, tail=(1, 30, 41))
    harness.expire(2.0)
    harness.record(2)
    harness.finish(2, 0, 92, 122)
    assert harness.gaps == [(41, 92, "record_root_hangs")]
