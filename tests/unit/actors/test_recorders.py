from __future__ import annotations

from uuid import UUID

import pytest

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import RecorderState
from streamwarden.actors.recorders import Recorders
from streamwarden.actors.spawning import Backoff
from streamwarden.actors.status import RecorderStatus, StatusRegistry
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.storage.pool import Database
from tests.fakes.manual_time import ManualTimers
from tests.fakes.recording import FakeRecordingMetrics, FakeWatcher, ManualWorkers
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import CAMERA, CameraFilesHarness


class StoppingWatcher(FakeWatcher):
    """A fake watcher that also stops cameras."""

    def __init__(self, files_harness: CameraFilesHarness) -> None:
        super().__init__(files_harness.clock)
        self.stopped: list[object] = []

    def stop_camera(self, camera_id: object) -> None:
        self.stopped.append(camera_id)


class NoTokens:
    """Parking and releasing need no token."""

    def fetch(self, camera_id: UUID) -> str:
        raise AssertionError(camera_id)


class RecordersHarness:
    """A factory of recorders over a real folder and a fake watcher."""

    def __init__(self, files_harness: CameraFilesHarness) -> None:
        self.metrics = FakeRecordingMetrics()
        self.registry = StatusRegistry(files_harness.clock)
        self.watcher = StoppingWatcher(files_harness)
        self.recorders = Recorders(
            files=files_harness.store,
            watcher=self.watcher,
            tokens=NoTokens(),
            registry=self.registry,
            database=Database("postgresql://", application_name="none"),
            disk=ManualWorkers(),
            callers=ManualWorkers(),
            timers=ManualTimers(),
            clock=files_harness.clock,
            metrics=self.metrics,
            meter=GapMeter(metrics=self.metrics, clock=files_harness.clock, timers=ManualTimers()),
            paths=PathWatch(None, files_harness.clock),
            node="here",
            backoff=Backoff(),
        )


@pytest.fixture
def harness(files_harness: CameraFilesHarness) -> RecordersHarness:
    files_harness.files().open(())
    files_harness.files().write_ledger(Ledger(covered_until=at(30)), ())
    return RecordersHarness(files_harness)


def test_a_parked_camera_shows_as_parked_and_its_ledger_goes_on(
    harness: RecordersHarness, files_harness: CameraFilesHarness
) -> None:
    harness.recorders.park(CAMERA, "otto")
    status = harness.registry.get(CAMERA)
    assert status.status is RecorderState.PARKED
    assert status.last_error is not None
    assert status.last_error.cause == "actor_parked"
    assert harness.metrics.states == ["parked"]
    assert harness.watcher.stopped == [CAMERA]
    assert [(gap.started_at, gap.cause) for gap in files_harness.gaps()] == [
        (at(30), "actor_parked")
    ]


def test_a_recorder_that_was_replaced_by_parking_shows_nothing_any_more(
    harness: RecordersHarness, files_harness: CameraFilesHarness
) -> None:
    before = RecorderStatus(
        camera_id=CAMERA,
        registry=harness.registry,
        metrics=harness.metrics,
        clock=files_harness.clock,
    )
    harness.recorders.park(CAMERA, "otto")
    before.enter(RecorderState.RUNNING)
    assert harness.registry.get(CAMERA).status is RecorderState.PARKED


def test_a_released_camera_is_stopped_and_its_ledger_is_closed(
    harness: RecordersHarness, files_harness: CameraFilesHarness
) -> None:
    ledger, changes = gap_ledger.lost(Ledger(covered_until=at(30)), Cause.STALLED, at(31))
    files_harness.files().write_ledger(ledger, changes)
    harness.recorders.park(CAMERA, "otto")
    harness.recorders.release(CAMERA, "otto", at(60))
    assert harness.registry.get(CAMERA).status is RecorderState.STOPPED
    assert files_harness.files().read_ledger().covered_until is None
    assert all(
        gap.ended_at is not None for gap in {gap.id: gap for gap in files_harness.gaps()}.values()
    )
