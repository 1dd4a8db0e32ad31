"""Parameter sets that change in mid-stream, and the runs that are replaced for it."""

from __future__ import annotations

from itertools import pairwise

from streamwarden.actors.format_changes import FormatChanges
from streamwarden.mp4.formats import SetsAtEnd
from tests.unit.actors.recorder_harness import RecorderHarness

SMALL, LARGE = b"small", b"large"


def right(sets: bytes) -> SetsAtEnd:
    return SetsAtEnd(sets, in_header=True)


def wrong(sets: bytes) -> SetsAtEnd:
    return SetsAtEnd(sets, in_header=False)


def test_a_run_is_replaced_once_when_the_sets_are_no_longer_those_of_its_header() -> None:
    changes = FormatChanges()
    assert not changes.replaces(1, right(SMALL), 0)
    assert changes.replaces(1, wrong(LARGE), 30)
    assert not changes.replaces(1, wrong(LARGE), 60)
    assert not changes.replaces(2, right(LARGE), 90)


def test_a_camera_that_describes_other_sets_than_it_sends_is_replaced_once_and_no_more() -> None:
    changes = FormatChanges()
    seen = [changes.replaces(run, wrong(LARGE), 30 * run) for run in range(1, 200)]
    assert seen == [True] + [False] * 198
    assert changes.replaces(200, wrong(SMALL), 6000)
    assert not changes.replaces(201, wrong(SMALL), 6030)


def test_a_change_that_comes_back_is_a_change_again() -> None:
    changes = FormatChanges()
    sets, day_s = (LARGE, SMALL), 86_400.0
    for run in range(1, 100):
        assert changes.replaces(run, wrong(sets[run % 2]), run * day_s)
        assert not changes.replaces(run + 1, right(sets[run % 2]), run * day_s + 60)


def test_a_camera_that_alternates_for_ever_is_replaced_at_a_bounded_rate() -> None:
    changes, sets, run, replaced = FormatChanges(), (LARGE, SMALL), 1, []
    for second in range(0, 3600, 3):
        changes.replaces(run, right(sets[run % 2]), second)
        if changes.replaces(run, wrong(sets[second % 2]), second):
            replaced.append(second)
            run += 1
    assert 50 <= len(replaced) <= 3600 / 60 + 3
    assert min(later - before for before, later in pairwise(replaced[5:])) >= 57


def test_what_is_remembered_is_bounded() -> None:
    changes = FormatChanges()
    for number in range(1000):
        changes.replaces(1, wrong(b"%d" % number), number * 120.0)
    assert len(changes._tried) == 64


def test_the_recorder_makes_before_it_breaks(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.sets = {(1, 0): right(SMALL), (1, 1): wrong(LARGE), (1, 2): wrong(LARGE)}
    harness.finish(1, 0, 0, 30)
    assert harness.spawned == [1]
    harness.finish(1, 1, 30, 60)
    assert harness.spawned == [1, 2]
    assert harness.watcher.stops == []
    harness.go_to(63)
    harness.record(2)
    assert harness.watcher.stops == [1]
    harness.finish(1, 2, 60, 63.5)
    harness.lose(1, None)
    harness.finish(2, 0, 62, 90)
    assert harness.spawned == [1, 2]
    assert harness.gaps == []
    assert harness.status.respawns == 0


def test_a_file_that_cannot_be_looked_into_changes_nothing(harness: RecorderHarness) -> None:
    harness.started()
    harness.files.unreadable.add((1, 0))
    harness.finish(1, 0, 0, 30)
    harness.finish(1, 1, 30, 60)
    assert harness.spawned == [1]
    assert harness.state == "running"
