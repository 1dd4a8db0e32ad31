from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.app.resources import index_waiting
from streamwarden.metrics.recording_metrics import RecordingMetrics
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import CameraFilesHarness, whole


@pytest.fixture
def registry(files_harness: CameraFilesHarness) -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry)
    metrics.watch_index(lambda: index_waiting(files_harness.journal, files_harness.clock))
    return registry


def waiting(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    read = registry.get_sample_value
    return read("streamwarden_index_journal_segments"), read("streamwarden_index_lag_seconds")


def test_what_waits_for_the_index_is_shown_at_each_scrape(
    registry: CollectorRegistry, files_harness: CameraFilesHarness
) -> None:
    assert waiting(registry) == (0, 0)
    files_harness.files().open(())
    files_harness.write(1, 0)
    files_harness.files().publish(whole(1, 0, 0, 30))
    files_harness.clock.advance(12)
    assert waiting(registry) == (1, 12)


def test_a_clock_set_back_shows_no_negative_lag(
    registry: CollectorRegistry, files_harness: CameraFilesHarness
) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0)
    files_harness.files().publish(whole(1, 0, 0, 30))
    files_harness.clock.move_to((at(0) - timedelta(hours=1)).timestamp())
    assert waiting(registry)[1] == 0
