from __future__ import annotations

from uuid import UUID

import pytest

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import RecorderState
from streamwarden.actors.recorders import Recorders
from streamwarden.actors.spawning import Backoff
from streamwarden.actors.status import RecorderStatus, StatusRegistry
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger as book
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.storage.pool import Database
from tests.fakes.recording import FakeRecordingMetrics, FakeWatcher, ManualWorkers
from tests.unit.actors.stage import at
from tests.unit.recordings.camera_files_harness import CAMERA, ArchiveDesk
from tests.unit.supervision.manual_time import ManualTimers


class Watcher(FakeWatcher):
    """A fake watcher that also stops cameras."""

    def __init__(self, desk: ArchiveDesk) -> None:
        super().__init__(desk.clock.now)
        self.stopped: list[object] = []

    def stop_camera(self, camera_id: object) -> None:
        self.stopped.append(camera_id)


class NoTokens:
    """Parking and releasing need no token."""

    def fetch(self, camera_id: UUID) -> str:
        raise AssertionError(camera_id)


class Site:
    """A factory of recorders over a real folder and a fake watcher."""

    def __init__(self, desk: ArchiveDesk) -> None:
        self.metrics = FakeRecordingMetrics()
        self.registry = StatusRegistry(desk.clock)
        self.watcher = Watcher(desk)
        self.recorders = Recorders(
            files=desk.store,
            watcher=self.watcher,
            tokens=NoTokens(),
            registry=self.registry,
            database=Database("postgresql://", application_name="none"),
            disk=ManualWorkers(),
            callers=ManualWorkers(),
            timers=ManualTimers(),
            clock=desk.clock,
            metrics=self.metrics,
            meter=GapMeter(metrics=self.metrics, clock=desk.clock, timers=ManualTimers()),
            node="here",
            backoff=Backoff(),
        )


@pytest.fixture
def site(desk: ArchiveDesk) -> Site:
    desk.files().open(())
    desk.files().write_ledger(Ledger(covered_until=at(30)), ())
    return Site(desk)


def test_a_parked_camera_says_so_and_its_books_go_on(site: Site, desk: ArchiveDesk) -> None:
    site.recorders.park(CAMERA, "otto")
    status = site.registry.get(CAMERA)
    assert status.status is RecorderState.PARKED
    assert status.last_error is not None
    assert status.last_error.cause == "actor_parked"
    assert site.metrics.states == ["parked"]
    assert site.watcher.stopped == [CAMERA]
    assert [(gap.started_at, gap.cause) for gap in desk.gaps()] == [(at(30), "actor_parked")]


def test_a_recorder_that_was_replaced_by_parking_shows_nothing_any_more(
    site: Site, desk: ArchiveDesk
) -> None:
    before = RecorderStatus(
        camera_id=CAMERA, registry=site.registry, metrics=site.metrics, clock=desk.clock
    )
    site.recorders.park(CAMERA, "otto")
    before.enter(RecorderState.RUNNING)
    assert site.registry.get(CAMERA).status is RecorderState.PARKED


def test_a_released_camera_is_stopped_and_its_books_are_closed(
    site: Site, desk: ArchiveDesk
) -> None:
    ledger, changes = book.lost(Ledger(covered_until=at(30)), Cause.STALLED, at(31))
    desk.files().write_ledger(ledger, changes)
    site.recorders.park(CAMERA, "otto")
    site.recorders.release(CAMERA, "otto", at(60))
    assert site.registry.get(CAMERA).status is RecorderState.STOPPED
    assert desk.files().read_ledger() == Ledger()
    assert all(gap.ended_at is not None for gap in {gap.id: gap for gap in desk.gaps()}.values())
