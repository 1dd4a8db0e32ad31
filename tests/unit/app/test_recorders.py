from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import RecorderState
from streamwarden.actors.status import StatusBoard
from streamwarden.app.recorders import Recorders
from streamwarden.app.resources import Ground
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger as book
from streamwarden.recordings.gap_ledger import Ledger
from tests.fakes.recording import FakeInstruments, FakeWatcher, HandWorkers
from tests.unit.actors.stage import at
from tests.unit.app.desk import CAMERA, ArchiveDesk
from tests.unit.supervision.by_hand import HandTimers


class Watcher(FakeWatcher):
    """A fake watcher that also stops cameras."""

    def __init__(self, desk: ArchiveDesk) -> None:
        super().__init__(desk.clock.now)
        self.stopped: list[object] = []

    def stop_camera(self, camera_id: object) -> None:
        self.stopped.append(camera_id)


class Site:
    """The part of the ground that parking and releasing stand on."""

    def __init__(self, desk: ArchiveDesk) -> None:
        self.instruments = FakeInstruments()
        self.board = StatusBoard(desk.clock)
        self.watcher = Watcher(desk)
        meter = GapMeter(counter=self.instruments, clock=desk.clock, timers=HandTimers())
        ground: Any = SimpleNamespace(
            archive=desk.archive,
            board=self.board,
            clock=desk.clock,
            meter=meter,
            metrics=self.instruments,
            pools=SimpleNamespace(disk=HandWorkers()),
            watcher=self.watcher,
        )
        self.recorders = Recorders(cast("Ground", ground))


@pytest.fixture
def site(desk: ArchiveDesk) -> Site:
    desk.files().open(())
    desk.files().note(Ledger(covered_until=at(30)), ())
    return Site(desk)


def test_a_parked_camera_says_so_and_its_books_go_on(site: Site, desk: ArchiveDesk) -> None:
    site.recorders.park(CAMERA, "otto")
    status = site.board.get(CAMERA)
    assert status.status is RecorderState.PARKED
    assert status.last_error is not None
    assert status.last_error.cause == "actor_parked"
    assert site.instruments.states == ["parked"]
    assert site.watcher.stopped == [CAMERA]
    assert [(gap.started_at, gap.cause) for gap in desk.gaps()] == [(at(30), "actor_parked")]


def test_a_recorder_that_was_replaced_by_parking_shows_nothing_any_more(site: Site) -> None:
    before = site.board.take_over(CAMERA)
    site.recorders.park(CAMERA, "otto")
    before.put(before.last().__class__(camera_id=CAMERA, status=RecorderState.RUNNING, since=at(0)))
    assert site.board.get(CAMERA).status is RecorderState.PARKED


def test_a_released_camera_is_stopped_and_its_books_are_closed(
    site: Site, desk: ArchiveDesk
) -> None:
    ledger, changes = book.lost(Ledger(covered_until=at(30)), Cause.STALLED, at(31))
    desk.files().note(ledger, changes)
    site.recorders.park(CAMERA, "otto")
    site.recorders.release(CAMERA, "otto", at(60))
    assert site.board.get(CAMERA).status is RecorderState.STOPPED
    assert desk.files().books() == Ledger()
    assert all(gap.ended_at is not None for gap in {gap.id: gap for gap in desk.gaps()}.values())
