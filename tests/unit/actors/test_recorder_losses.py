from __future__ import annotations

import pytest

from streamwarden.actors.messages import RespawnDue
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CannotStore
from tests.unit.actors.stage import RecorderStage, at


def test_a_gap_begins_at_the_end_of_the_torn_tail_and_only_once_that_is_stored(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.go_to(45)
    stage.disk.hold()
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 42))
    assert stage.gaps == []
    assert stage.spawned == [1, 2]
    stage.disk.release()
    stage.settle()
    assert stage.gaps == [(42, None, "ffmpeg_crashed")]
    assert 1 not in stage.watcher.runs
    stage.go_to(46)
    stage.record(2)
    stage.finish(2, 0, 45.5, 75)
    assert stage.gaps == [(42, 45.5, "ffmpeg_crashed")]


def test_a_torn_first_file_is_dated_from_its_end(stage: RecorderStage) -> None:
    stage.started()
    stage.go_to(12)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(0, 1, 10))
    assert stage.gaps == [(0, 8, "starting"), (10, None, "ffmpeg_crashed")]


def test_a_tail_that_holds_nothing_leaves_the_gap_to_the_segment_before(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.files.hollow.add((1, 1))
    stage.go_to(31)
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(1, 30, 30.5))
    assert stage.gaps == [(30, None, "ffmpeg_crashed")]
    assert stage.status.last_segment is not None
    assert stage.status.last_segment.ended_at == at(30)


def test_the_first_respawn_after_a_recording_run_follows_at_once(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.lose(1, Cause.FFMPEG_CRASHED)
    assert stage.spawned == [1, 2]
    assert stage.state == "starting"
    assert stage.status.respawns == 1
    assert stage.metrics.respawns == ["ffmpeg_crashed"]
    assert stage.status.respawn_causes == {"ffmpeg_crashed": 1}


def test_a_run_that_dies_before_it_has_closed_a_segment_has_had_its_one_respawn_at_once(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.lose(1, Cause.FFMPEG_CRASHED)
    stage.record(2)
    stage.lose(2, Cause.FFMPEG_CRASHED)
    assert stage.spawned == [1, 2]
    assert stage.state == "backoff"
    stage.expire(0.5)
    stage.record(3)
    stage.lose(3, Cause.FFMPEG_CRASHED)
    stage.expire(1.0)
    stage.record(4)
    stage.finish(4, 0, 0, 30)
    stage.lose(4, Cause.FFMPEG_CRASHED)
    assert stage.spawned == [1, 2, 3, 4, 5]


def test_a_torn_segment_does_not_begin_the_pauses_anew(stage: RecorderStage) -> None:
    stage.started()
    stage.lose(1, Cause.FFMPEG_CRASHED, tail=(0, 0, 5))
    stage.record(2)
    stage.lose(2, Cause.FFMPEG_CRASHED, tail=(0, 6, 9))
    assert stage.spawned == [1, 2]


def test_a_camera_that_is_off_is_asked_after_growing_pauses(stage: RecorderStage) -> None:
    stage.start()
    for run, pause_s in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], start=1):
        stage.lose(run, Cause.SOURCE_OFFLINE, recorded=False)
        stage.expire(pause_s)
    assert stage.spawned == list(range(1, 10))
    assert stage.gaps == [(0, None, "source_offline")]


def test_a_refused_token_is_replaced_at_once_and_then_waited_for(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.UNAUTHORIZED, recorded=False)
    assert stage.watcher.orders[1].url == "rtsp://media/cam?fetched=1"
    stage.lose(2, Cause.UNAUTHORIZED, recorded=False)
    assert stage.state == "backoff"
    stage.expire(1.0)
    assert stage.watcher.orders[2].url == "rtsp://media/cam?fetched=2"


def test_media_that_do_not_fit_are_tried_with_aac_and_then_without_audio(
    stage: RecorderStage,
) -> None:
    stage.start()
    stage.lose(1, Cause.UNSUPPORTED_MEDIA, recorded=False)
    stage.lose(2, Cause.UNSUPPORTED_MEDIA, recorded=False)
    assert [order.audio for order in stage.watcher.orders] == ["copy", "aac", "none"]
    stage.lose(3, Cause.UNSUPPORTED_MEDIA, recorded=False)
    assert stage.state == "backoff"


def test_a_probe_that_was_too_short_is_made_longer_at_once(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.STARTING, recorded=False)
    assert [order.probe_s for order in stage.watcher.orders] == [1.0, 5.0]


@pytest.mark.parametrize("cause", [Cause.DISK_FULL, Cause.NOT_WRITABLE])
def test_a_disk_that_refuses_is_looked_at_every_two_seconds(
    stage: RecorderStage, cause: Cause
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.files.refuse("next_run", CannotStore(cause, "scripted"), times=3)
    stage.lose(1, cause)
    for _ in range(4):
        assert stage.spawned == [1]
        assert stage.state == "backoff"
        stage.expire(2.0)
    assert stage.spawned == [1, 2]
    assert stage.gaps == [(30, None, str(cause))]


def test_a_second_cause_takes_over_where_the_first_one_ended(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.go_to(31)
    stage.lose(1, Cause.SOURCE_OFFLINE)
    stage.go_to(35)
    stage.lose(2, Cause.CONNECTION_REFUSED, recorded=False)
    assert stage.gaps == [(30, 35, "source_offline"), (35, None, "connection_refused")]


def test_a_stall_shows_until_the_run_is_replaced(stage: RecorderStage) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.watcher.stall(1)
    stage.settle()
    assert stage.state == "stalled"
    stage.lose(1, Cause.STALLED, tail=(1, 30, 33))
    assert stage.state == "starting"
    stage.record(2)
    assert stage.state == "running"
    assert stage.gaps == [(33, None, "stalled")]


def test_a_pause_that_has_been_overtaken_ends_without_effect(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.tell(RespawnDue(1))
    assert stage.spawned == [1]


def test_the_gap_is_counted_while_it_is_open_and_stops_when_frames_come(
    stage: RecorderStage,
) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.go_to(12)
    stage.meter_timers.expire(1.0)
    assert stage.metrics.gap_s == {"source_offline": 10.0}
    stage.expire(0.5)
    stage.record(2)
    stage.go_to(40)
    stage.meter_timers.expire(1.0)
    stage.finish(2, 0, 11.5, 41)
    assert stage.metrics.gap_s == {"source_offline": 11.5}


def test_a_run_lost_before_its_first_segment_is_missing_after_all(stage: RecorderStage) -> None:
    stage.start()
    stage.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    stage.expire(0.5)
    stage.go_to(10)
    stage.record(2)
    stage.go_to(12)
    stage.lose(2, Cause.SOURCE_OFFLINE)
    stage.go_to(22)
    stage.meter_timers.expire(1.0)
    assert stage.metrics.gap_s == {"source_offline": 20.0}


def test_a_run_that_somebody_else_has_stopped_is_followed_by_another(
    stage: RecorderStage,
) -> None:
    stage.started()
    stage.finish(1, 0, 0, 30)
    stage.lose(1, None, tail=(1, 30, 32))
    assert stage.spawned == [1, 2]
    assert stage.gaps == [(32, None, "internal")]
