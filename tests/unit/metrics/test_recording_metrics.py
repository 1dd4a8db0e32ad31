from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.actors.messages import RecorderState
from streamwarden.metrics.http_metrics import new_registry, render
from streamwarden.metrics.recording_metrics import STATES, RecordingMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RecordingMetrics:
    return RecordingMetrics(registry)


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"streamwarden_{name}", labels)


def test_the_states_are_those_of_the_recorder() -> None:
    assert set(STATES) == {state.value for state in RecorderState}


def test_one_state_is_one_and_the_others_are_zero(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.state("cam", "starting")
    metrics.state("cam", "running")
    values = {s: _value(registry, "recorder_state", camera="cam", state=s) for s in STATES}
    assert values.pop("running") == 1
    assert set(values.values()) == {0}


def test_an_unknown_state_is_refused(metrics: RecordingMetrics) -> None:
    with pytest.raises(ValueError, match="dancing"):
        metrics.state("cam", "dancing")


def test_an_added_camera_counts_from_zero(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.camera_added("cam")
    for name in ("segments_total", "segment_bytes_total", "recorded_seconds_total"):
        assert _value(registry, name, camera="cam") == 0
    for name in ("actor_restarts_total", "actor_abandoned_total", "actor_parked"):
        assert _value(registry, name, actor="recorder", camera="cam") == 0


def test_an_incarnation_that_is_added_again_keeps_what_was_counted(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.actor_restarted("recorder", "cam")
    metrics.actor_parked("recorder", "cam", parked=True)
    metrics.camera_added("cam")
    assert _value(registry, "actor_restarts_total", actor="recorder", camera="cam") == 1
    assert _value(registry, "actor_parked", actor="recorder", camera="cam") == 1


def test_a_stored_segment_is_counted_everywhere(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.segment_stored("cam", 29.5, 30.0, 4_096, 1_700_000_000.5)
    assert _value(registry, "segments_total", camera="cam") == 1
    assert _value(registry, "segment_bytes_total", camera="cam") == 4_096
    assert _value(registry, "recorded_seconds_total", camera="cam") == 30.0
    assert _value(registry, "last_segment_timestamp_seconds", camera="cam") == 1_700_000_000.5
    assert _value(registry, "segment_duration_seconds_sum") == 29.5


def test_a_clock_that_stepped_back_does_not_stop_the_counting(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.segment_stored("cam", 30.0, -3_570.0, 1, 0.0)
    metrics.gap("cam", "stalled", -1.0)
    assert _value(registry, "recorded_seconds_total", camera="cam") == 0
    assert _value(registry, "gap_seconds_total", camera="cam", cause="stalled") == 0


def test_a_loss_is_shown_at_0_first_and_then_in_full(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    metrics.gap("cam", "server_down", 125.0)
    metrics.gap("cam", "timeout", 3.0)
    lost = {"camera": "cam", "cause": "server_down"}
    assert _value(registry, "gap_seconds_total", **lost) == 0
    metrics.gap("cam", "server_down", 1.0)
    assert _value(registry, "gap_seconds_total", **lost) == 126
    assert _value(registry, "gap_seconds_total", camera="cam", cause="timeout") == 3


@pytest.mark.parametrize("cause", ["server_down", "shutdown", "pictures_missing", "actor_parked"])
def test_what_comes_in_one_piece_is_there_before(
    registry: CollectorRegistry, metrics: RecordingMetrics, cause: str
) -> None:
    metrics.camera_added("cam")
    assert _value(registry, "gap_seconds_total", camera="cam", cause=cause) == 0
    metrics.gap("cam", cause, 125.0)
    assert _value(registry, "gap_seconds_total", camera="cam", cause=cause) == 125


def test_a_forgotten_camera_leaves_no_series(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    for camera in ("gone", "kept"):
        metrics.camera_added(camera)
        metrics.state(camera, "running")
        metrics.segment_stored(camera, 30, 30, 1, 1)
        metrics.gap(camera, "timeout", 1)
        metrics.respawned(camera, "timeout")
        metrics.actor_restarted("recorder", camera)
        metrics.actor_parked("recorder", camera, parked=True)
    metrics.forget("gone")
    text = render(registry)[0].decode()
    assert "gone" not in text
    assert text.count('"kept"') == 21


def test_a_figure_that_fails_costs_neither_the_scrape_nor_a_line_each_time(
    registry: CollectorRegistry, metrics: RecordingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> dict[str, int]:
        raise RuntimeError("no inbox")

    metrics.watch_inboxes(broken)
    metrics.watch_ffmpeg(lambda: (12.5, 1_024))
    with caplog.at_level(logging.ERROR):
        render(registry)
        text = render(registry)[0].decode()
    assert "streamwarden_ffmpeg_cpu_seconds_total 12.5" in text
    assert "inbox_depth" not in text
    assert len(caplog.records) == 1


def test_inbox_depths_are_read_at_the_scrape(
    registry: CollectorRegistry, metrics: RecordingMetrics
) -> None:
    depths = {"recorder": 1}
    metrics.watch_inboxes(lambda: depths)
    depths["recorder"] = 7
    assert _value(registry, "actor_inbox_depth", actor="recorder") == 7
