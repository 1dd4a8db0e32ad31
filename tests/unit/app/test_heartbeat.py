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
from tests.fakes.recording import ManualWorkers
from tests.unit.actors.stage import at
from tests.unit.recordings.camera_files_harness import ArchiveDesk, whole
from tests.unit.supervision.manual_time import ManualTimers


class Round:
    def __init__(self, desk: ArchiveDesk) -> None:
        self.registry = CollectorRegistry()
        self.timers = ManualTimers()
        self.metrics = RecordingMetrics(self.registry)
        self.metrics.watch_index(lambda: index_waiting(desk.journal, desk.clock))
        self.root = RecordRoot(desk.root)
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
def first(desk: ArchiveDesk) -> Round:
    return Round(desk)


def test_that_the_server_lives_is_noted_at_once(first: Round) -> None:
    assert first.root.alive_until() is not None
    first.root.release()


def test_what_waits_for_the_index_is_shown_at_each_scrape(first: Round, desk: ArchiveDesk) -> None:
    assert (first.value("index_journal_segments"), first.value("index_lag_seconds")) == (0, 0)
    desk.files().open(())
    desk.write(1, 0)
    desk.files().publish(whole(1, 0, 0, 30))
    desk.clock.seconds += 12
    assert (first.value("index_journal_segments"), first.value("index_lag_seconds")) == (1, 12)
    free = first.value("record_root_free_bytes")
    assert free is not None
    assert free > 0
    first.root.release()


def test_a_round_that_fails_is_followed_by_the_next(
    first: Round, desk: ArchiveDesk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (first.root.state / "alive").unlink()
    state = first.root.state.rename(desk.root / "away")
    first.timers.expire(2.0)
    state.rename(first.root.state)
    first.timers.expire(2.0)
    assert first.root.alive_until() is not None
    first.root.release()


def test_a_clock_set_back_shows_no_negative_lag(first: Round, desk: ArchiveDesk) -> None:
    desk.files().open(())
    desk.write(1, 0)
    desk.files().publish(whole(1, 0, 0, 30))
    desk.clock.seconds = (at(0) - timedelta(hours=1)).timestamp()
    assert first.value("index_lag_seconds") == 0
    first.root.release()


def test_free_space_is_what_an_ordinary_user_may_write(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
