from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.app.resources import Heartbeat, index_waiting
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.recordings.durable import free_bytes
from streamwarden.recordings.record_root import RecordRoot
from tests.fakes.manual_time import ManualTimers
from tests.fakes.recording import ManualWorkers
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import CameraFilesHarness, whole


class HeartbeatHarness:
    def __init__(self, files_harness: CameraFilesHarness) -> None:
        self.registry = CollectorRegistry()
        self.timers = ManualTimers()
        self.metrics = RecordingMetrics(self.registry)
        self.metrics.watch_index(lambda: index_waiting(files_harness.journal, files_harness.clock))
        self.root = RecordRoot(files_harness.root)
        self.root.take()
        Heartbeat(
            root=self.root,
            metrics=self.metrics,
            disk=ManualWorkers(),
            timers=self.timers,
        )

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"streamwarden_{name}")


@pytest.fixture
def first(files_harness: CameraFilesHarness) -> HeartbeatHarness:
    return HeartbeatHarness(files_harness)


def test_that_the_server_lives_is_noted_at_once(first: HeartbeatHarness) -> None:
    assert first.root.alive_until() is not None
    first.root.release()


def test_what_waits_for_the_index_is_shown_at_each_scrape(
    first: HeartbeatHarness, files_harness: CameraFilesHarness
) -> None:
    assert (first.value("index_journal_segments"), first.value("index_lag_seconds")) == (0, 0)
    files_harness.files().open(())
    files_harness.write(1, 0)
    files_harness.files().publish(whole(1, 0, 0, 30))
    files_harness.clock.advance(12)
    assert (first.value("index_journal_segments"), first.value("index_lag_seconds")) == (1, 12)
    free = first.value("record_root_free_bytes")
    assert free is not None
    assert free > 0
    first.root.release()


def test_a_round_that_fails_is_followed_by_the_next(
    first: HeartbeatHarness, files_harness: CameraFilesHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (first.root.state / "alive").unlink()
    state = first.root.state.rename(files_harness.root / "away")
    first.timers.expire(2.0)
    state.rename(first.root.state)
    first.timers.expire(2.0)
    assert first.root.alive_until() is not None
    first.root.release()


def test_a_clock_set_back_shows_no_negative_lag(
    first: HeartbeatHarness, files_harness: CameraFilesHarness
) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0)
    files_harness.files().publish(whole(1, 0, 0, 30))
    files_harness.clock.move_to((at(0) - timedelta(hours=1)).timestamp())
    assert first.value("index_lag_seconds") == 0
    first.root.release()


def test_free_space_is_what_an_ordinary_user_may_write(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
