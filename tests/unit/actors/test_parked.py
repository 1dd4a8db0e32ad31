from __future__ import annotations

import pytest

from streamwarden.actors.parked import ParkedCamera, close_ledger
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.workers import SerialExecutor
from tests.unit.actors.recorder_harness import CAMERA, RecorderHarness, at, closed


@pytest.fixture
def parked(harness: RecorderHarness) -> RecorderHarness:
    """A recorder that has recorded half a minute and will not be started again."""
    harness.started()
    harness.finish(1, 0, 0, 30)
    harness.crash()
    return harness


def care(harness: RecorderHarness) -> None:
    parked_camera = ParkedCamera(
        camera_id=CAMERA,
        files=harness.files,
        disk=SerialExecutor(harness.disk),
        meter=harness.meter,
        clock=harness.clock,
    )
    harness.watcher.adopt(CAMERA, parked_camera)


def test_what_the_stopped_run_still_lists_is_stored_and_then_the_gap_begins(
    parked: RecorderHarness,
) -> None:
    care(parked)
    assert parked.files.opened_with[-1] == {1}
    parked.finish(1, 1, 30, 33)
    assert parked.gaps == []
    parked.go_to(34)
    parked.lose(1, None)
    assert sorted(parked.files.rows) == [(1, 0), (1, 1)]
    assert parked.gaps == [(33, None, "actor_parked")]


def test_a_torn_tail_is_stored_before_the_gap_begins(parked: RecorderHarness) -> None:
    care(parked)
    parked.go_to(34)
    parked.lose(1, None, tail=(1, 30, 32))
    assert parked.gaps == [(32, None, "actor_parked")]


def test_without_a_run_the_gap_begins_at_once(harness: RecorderHarness) -> None:
    harness.files.ledger, _ = gap_ledger.stored(Ledger(covered_until=at(0)), at(0), at(30))
    care(harness)
    assert harness.gaps == [(30, None, "actor_parked")]


def test_a_gap_that_was_open_ends_where_the_parking_begins(harness: RecorderHarness) -> None:
    harness.start()
    harness.lose(1, Cause.SOURCE_OFFLINE, recorded=False)
    harness.crash()
    harness.go_to(20)
    care(harness)
    assert harness.gaps == [(0, 20, "source_offline"), (20, None, "actor_parked")]


def test_the_next_incarnation_takes_over_without_storing_or_losing_anything(
    parked: RecorderHarness,
) -> None:
    care(parked)
    parked.finish(1, 1, 30, 33)
    parked.lose(1, None)
    parked.go_to(3600)
    parked.start()
    assert parked.spawned == [1, 2]
    assert parked.gaps == [(33, None, "actor_parked")]
    parked.record(2)
    parked.finish(2, 0, 3601, 3630)
    assert parked.gaps == [(33, 3601, "actor_parked")]


def test_a_disk_that_refuses_leaves_it_to_the_next_incarnation(parked: RecorderHarness) -> None:
    care(parked)
    parked.files.refuse("publish")
    parked.finish(1, 1, 30, 33)
    parked.lose(1, None)
    assert (1, 1) not in parked.files.rows
    parked.start()
    assert (1, 1) in parked.files.rows


def test_closing_the_ledger_ends_the_open_gap_and_twice_is_once(harness: RecorderHarness) -> None:
    ledger, changes = gap_ledger.lost(Ledger(covered_until=at(30)), Cause.ACTOR_PARKED, at(31))
    harness.files.write_ledger(ledger, changes)
    for moment in (at(60), at(90)):
        close_ledger(camera_id=CAMERA, files=harness.files, meter=harness.meter, at=moment)
    assert harness.gaps == [(30, 60, "actor_parked")]
    assert (harness.files.ledger.covered_until, harness.files.ledger.gap) == (None, None)
    assert harness.files.opened_with == []
    assert harness.metrics.gap_s == {"actor_parked": 30.0}


def test_a_segment_of_an_earlier_life_is_not_accounted_twice(parked: RecorderHarness) -> None:
    parked.watcher.runs[1].pending[0] = closed(1, 0, 0, 30)
    care(parked)
    parked.lose(1, None)
    assert parked.files.ledger.covered_until == at(30)
    assert parked.gaps == [(30, None, "actor_parked")]


def test_a_hole_in_what_a_stopped_run_still_lists_is_missing(parked: RecorderHarness) -> None:
    care(parked)
    parked.files.holes[1, 1] = "1000-2500"
    parked.finish(1, 1, 30, 33)
    assert parked.gaps == [(31, 32.5, "pictures_missing")]
