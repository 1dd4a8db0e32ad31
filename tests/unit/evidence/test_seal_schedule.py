"""The daily schedule of seals: when the index has all rows, also if one camera's disk fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamwarden.app.resources import Resources
from streamwarden.app.streaming_role import start_seal_schedule
from streamwarden.config.settings import Settings
from streamwarden.errors import Unavailable
from streamwarden.evidence.seal_files import SealingFailed
from streamwarden.evidence.seal_keys import new_key
from streamwarden.evidence.sealer import SealSchedule
from streamwarden.metrics.recording_metrics import RecordingMetrics, SealMetrics
from streamwarden.recordings.deletion_rules import DeletionRulesFile, Rules
from streamwarden.recordings.retention import ReckonedClock, RulesInForce
from tests.fakes.manual_time import ManualClock

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)


class FakeSealer:
    """Records its calls; raises the errors that a test sets."""

    def __init__(self) -> None:
        self.known = [uuid4(), uuid4()]
        self.refusals: dict[UUID, Exception] = {}
        self.sealed: list[tuple[UUID, datetime]] = []
        self.announced: list[UUID] = []

    def cameras(self) -> list[UUID]:
        return self.known

    def seal(self, camera_id: UUID, before: datetime, *, go_on: Callable[[], bool]) -> int:
        assert go_on()
        if camera_id in self.refusals:
            raise self.refusals[camera_id]
        self.sealed.append((camera_id, before))
        return 1

    def announce(self, camera_id: UUID, until: datetime) -> None:
        assert until
        if camera_id in self.refusals:
            raise self.refusals[camera_id]
        self.announced.append(camera_id)


class ScheduleHarness:
    """A schedule with a fake sealer and a fake clock."""

    def __init__(self) -> None:
        self.sealer = FakeSealer()
        self.clock = ManualClock(MIDNIGHT + timedelta(minutes=6))
        self.registry = CollectorRegistry()
        self.waiting: datetime | None = None
        self.schedule = SealSchedule(
            sealer=self.sealer,  # type: ignore[arg-type]  # all that is asked of it
            waiting_since=lambda: self.waiting,
            clock=self.clock,
            metrics=SealMetrics(self.registry),
        )

    def at(self, **later: float) -> None:
        self.clock.wall = MIDNIGHT + timedelta(**later)

    def figure(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"streamwarden_{name}")


@pytest.fixture
def harness() -> ScheduleHarness:
    return ScheduleHarness()


def test_what_began_before_midnight_is_sealed_once_a_day(harness: ScheduleHarness) -> None:
    assert harness.schedule.attempt()
    assert harness.schedule.attempt()
    assert harness.sealer.sealed == [(camera, MIDNIGHT) for camera in harness.sealer.known]
    assert harness.figure("seals_total") == 2
    assert harness.figure("sealed_timestamp_seconds") == MIDNIGHT.timestamp()
    harness.at(days=1, minutes=6)
    assert harness.schedule.attempt()
    assert len(harness.sealer.sealed) == 4


def test_nothing_is_sealed_before_the_index_can_have_it(harness: ScheduleHarness) -> None:
    harness.at(minutes=4)
    assert not harness.schedule.attempt()
    harness.at(hours=3)
    harness.waiting = MIDNIGHT - timedelta(minutes=1)  # Postgres was away over midnight
    assert not harness.schedule.attempt()
    assert harness.sealer.sealed == []
    harness.waiting = MIDNIGHT + timedelta(hours=2)
    assert harness.schedule.attempt()


@pytest.mark.parametrize("error", [SealingFailed("a seal that is none"), OSError(28, "full")])
def test_one_cameras_trouble_is_not_the_others_and_is_tried_again(
    error: Exception, harness: ScheduleHarness
) -> None:
    first, second = harness.sealer.known
    harness.sealer.refusals[first] = error
    assert not harness.schedule.attempt()
    assert harness.sealer.sealed == [(second, MIDNIGHT)]
    assert harness.figure("seals_failed_total") == 1
    assert harness.figure("sealed_timestamp_seconds") == 0
    harness.sealer.refusals.clear()
    assert harness.schedule.attempt()
    assert (first, MIDNIGHT) in harness.sealer.sealed


def test_retention_is_never_held_up_by_a_seal_that_fails(harness: ScheduleHarness) -> None:
    first, second = harness.sealer.known
    harness.sealer.refusals[first] = Unavailable("the database does not answer")
    for camera in (first, second):
        harness.schedule.announce(camera, MIDNIGHT)
    assert harness.sealer.announced == [second]
    assert harness.figure("seals_failed_total") == 1


def test_the_same_trouble_is_said_once_until_it_is_over(harness: ScheduleHarness) -> None:
    camera = harness.sealer.known[0]
    harness.sealer.refusals[camera] = SealingFailed("another's seal")
    with capture_logs() as lines:
        for _ in range(3):
            harness.schedule.announce(camera, MIDNIGHT)
        harness.schedule.attempt()
        del harness.sealer.refusals[camera]
        harness.schedule.attempt()
        harness.sealer.refusals[camera] = SealingFailed("another's seal")
        harness.schedule.announce(camera, MIDNIGHT)
    assert [line["event"] for line in lines].count("sealing_failed") == 2


def test_a_role_that_is_being_stopped_makes_no_other_seal(harness: ScheduleHarness) -> None:
    harness.schedule.start()
    harness.schedule.stop()
    assert not harness.schedule.attempt()
    assert harness.sealer.sealed == []


# As the role is put together


def resources_of(key_file: Path | None, registry: CollectorRegistry) -> Resources:
    settings = Settings(seal_key_file=key_file, retention_days=30)
    found = SimpleNamespace(
        settings=settings,
        metrics=RecordingMetrics(registry),
        root=SimpleNamespace(path=Path("recordings")),
        database=None,
        journal=SimpleNamespace(waiting_since=lambda: None),
        clock=ManualClock(MIDNIGHT),
    )
    return cast("Resources", found)


def rules(state: Path) -> RulesInForce:
    return RulesInForce(
        file=DeletionRulesFile(state),
        limits=Rules(keep_for=timedelta(days=30)),
        grace=timedelta(days=1),
        known=lambda: None,
        clock=ManualClock(MIDNIGHT),
        on_waits=lambda _waits: None,
    )


def test_nothing_is_sealed_by_a_clock_that_is_ahead(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT)
    in_force = RulesInForce(
        file=DeletionRulesFile(tmp_path),
        limits=Rules(keep_for=timedelta(days=30)),
        grace=timedelta(days=1),
        known=lambda: None,
        clock=clock,
        on_waits=lambda _waits: None,
    )
    in_force.current()
    clock.step_wall(40 * 86_400)
    in_force.current()
    assert ReckonedClock(clock, in_force).now() == MIDNIGHT
    clock.advance(60)
    assert ReckonedClock(clock, in_force).now() == MIDNIGHT + timedelta(seconds=60)


def test_a_key_that_is_no_use_stops_no_recording_and_is_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with ExitStack() as closing:
        assert (
            start_seal_schedule(
                resources_of(tmp_path / "none.pem", registry), rules(tmp_path), closing
            )
            is None
        )
    assert registry.get_sample_value("streamwarden_seals_failed_total") == 1


def test_without_a_key_nothing_is_sealed_and_there_is_no_figure(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with ExitStack() as closing:
        assert start_seal_schedule(resources_of(None, registry), rules(tmp_path), closing) is None
    assert registry.get_sample_value("streamwarden_seals_failed_total") is None


def test_with_a_key_a_seal_schedule_begins_and_ends_with_the_role(tmp_path: Path) -> None:
    new_key(tmp_path / "seal.pem")
    with ExitStack() as closing:
        schedule = start_seal_schedule(
            resources_of(tmp_path / "seal.pem", CollectorRegistry()), rules(tmp_path), closing
        )
        assert schedule is not None
        assert "seals" in [thread.name for thread in threading.enumerate()]
    assert "seals" not in [thread.name for thread in threading.enumerate()]
