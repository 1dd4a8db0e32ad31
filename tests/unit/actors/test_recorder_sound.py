"""A recorder's way with sound: the picture is recorded at once, the sound joins once it flows."""

from __future__ import annotations

from streamwarden.ffmpeg.stream_tracks import StreamTracks
from streamwarden.model import Cause
from tests.unit.actors.recorder_harness import RecorderHarness

G711 = StreamTracks("H264", "PCMA")


def listening(harness: RecorderHarness) -> None:
    harness.camera.tracks = G711
    harness.started()
    assert harness.ways == ["listen"]


def test_a_g711_camera_is_recorded_at_once_and_its_sound_joins(harness: RecorderHarness) -> None:
    listening(harness)
    harness.judge(1, flows=True)
    assert (harness.ways, harness.watcher.stops) == (["listen", "aac"], [])
    harness.record(2)
    harness.judge(2, flows=True)
    assert harness.watcher.stops == [1]
    harness.finish(1, 0, 0, 4)
    harness.lose(1, None)
    assert (harness.ways, harness.state) == (["listen", "aac"], "running")
    assert (harness.status.last_error, harness.status.respawns) == (None, 0)


def test_a_silent_microphone_costs_nothing(harness: RecorderHarness) -> None:
    listening(harness)
    harness.finish(1, 0, 0, 30)
    assert (harness.ways, harness.status.last_error) == (["listen"], None)


def test_a_copied_track_without_sound_is_replaced_by_the_picture_alone(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.judge(1, flows=False)
    assert harness.ways == ["copy", "listen"]
    harness.record(2)
    harness.lose(1, None)
    assert harness.status.last_error is None


def test_sound_that_cannot_be_recorded_is_no_loss(harness: RecorderHarness) -> None:
    listening(harness)
    harness.judge(1, flows=True)
    harness.lose(2, Cause.TIMEOUT, recorded=False)
    assert harness.ways == ["listen", "aac"]
    assert (harness.state, harness.status.last_error, harness.status.respawns) == (
        "running",
        None,
        0,
    )
    harness.go_to(15)
    harness.expire(15.0)
    assert harness.ways == ["listen", "aac", "aac"]


def test_a_lost_run_with_sound_is_followed_by_the_picture_alone(harness: RecorderHarness) -> None:
    listening(harness)
    harness.judge(1, flows=True)
    harness.record(2)
    harness.lose(1, None)
    harness.lose(2, Cause.SOURCE_OFFLINE)
    assert harness.ways == ["listen", "aac", "listen"]
    harness.record(3)
    harness.judge(3, flows=True)
    assert harness.ways == ["listen", "aac", "listen", "aac"]


def test_a_successor_with_another_length_is_still_ordered_after_one_that_failed(
    harness: RecorderHarness,
) -> None:
    listening(harness)
    harness.update(seconds=60)
    harness.lose(2, Cause.TIMEOUT, recorded=False)
    harness.expire(0.5)
    assert [order.segment_seconds for order in harness.watcher.orders] == [30, 60, 60]


def test_the_next_incarnation_goes_on_with_what_was_heard(harness: RecorderHarness) -> None:
    listening(harness)
    harness.crash()
    harness.start()
    harness.judge(1, flows=True)
    assert harness.ways == ["listen", "aac"]
    harness.record(2)
    harness.lose(1, None)
    assert harness.status.last_error is None


def test_sound_that_stops_inside_a_run_is_left_out_until_it_returns(
    harness: RecorderHarness,
) -> None:
    listening(harness)
    harness.judge(1, flows=True)
    harness.record(2)
    harness.judge(2, flows=True)
    harness.lose(1, None)
    harness.files.silent = {(2, 1), (2, 2)}
    harness.finish(2, 0, 4, 34)
    assert harness.ways == ["listen", "aac"]
    harness.finish(2, 1, 34, 64)
    harness.finish(2, 2, 64, 94)
    assert harness.ways == ["listen", "aac", "listen"]
    harness.record(3)
    assert harness.watcher.stops == [1, 2]
    harness.lose(2, None)
    assert (harness.status.last_error, harness.status.respawns) == (None, 0)
    harness.go_to(300)
    harness.judge(3, flows=True)
    assert harness.ways == ["listen", "aac", "listen", "aac"]


def test_a_run_whose_sound_stopped_goes_on_while_none_can_replace_it(
    harness: RecorderHarness,
) -> None:
    harness.started()
    harness.judge(1, flows=True)
    harness.files.silent = {(1, 0)}
    harness.finish(1, 0, 0, 30)
    assert harness.ways == ["copy", "listen"]
    harness.lose(2, Cause.CONNECTION_REFUSED, recorded=False)
    assert harness.ways == ["copy", "listen"]
    harness.go_to(45)
    harness.expire(15.0)
    assert harness.ways == ["copy", "listen", "listen"]


def test_a_stream_that_was_not_described_is_recorded_and_described_later(
    harness: RecorderHarness,
) -> None:
    harness.camera.tracks = None
    harness.started()
    assert harness.ways == ["none"]
    harness.camera.tracks = G711
    harness.go_to(15)
    harness.expire(15.0)
    assert harness.ways == ["none", "listen"]
