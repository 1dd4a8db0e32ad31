"""Gaps inside stored segments."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

from streamwarden.model import Cause, TimeRange
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.recordings.missing_pictures import missing_inside
from tests.unit.actors.recorder_harness import at


def between(from_s: float, to_s: float) -> TimeRange:
    return TimeRange(at(from_s), at(to_s))


def test_a_hole_is_a_closed_gap() -> None:
    ledger, changes = missing_inside(Ledger(covered_until=at(30)), [between(10, 16)], recorded=())
    (gap,) = changes
    assert (gap.started_at, gap.ended_at, gap.cause) == (at(10), at(16), Cause.PICTURES_MISSING)
    assert ledger.covered_until == at(30)
    assert ledger.gap is None


def test_the_same_hole_is_entered_once() -> None:
    ledger, _ = missing_inside(Ledger(covered_until=at(30)), [between(10, 16)], recorded=())
    assert missing_inside(ledger, [between(10, 16)], recorded=()) == (ledger, ())


def test_what_another_run_recorded_is_not_missing() -> None:
    _, changes = missing_inside(
        Ledger(covered_until=at(30)), [between(10, 16)], recorded=[between(13, 40)]
    )
    assert [(one.started_at, one.ended_at) for one in changes] == [(at(10), at(13))]


def test_pictures_that_come_late_are_taken_out_and_a_hole_of_theirs_is_not() -> None:
    ledger, _ = missing_inside(Ledger(covered_until=at(30)), [between(10, 16)], recorded=())
    ledger, changes = gap_ledger.stored(
        ledger, at(8), at(31), pictures=[between(8, 12), between(18, 31)]
    )
    assert _open_time(changes) == timedelta(seconds=4) - timedelta(seconds=6)
    assert [(one.started_at, one.ended_at) for one in ledger.closed] == [(at(12), at(16))]


def _open_time(changes: tuple[gap_ledger.GapChange, ...]) -> timedelta:
    total = timedelta()
    for change in changes:
        if change.remainder:
            total += (change.ended_at or _never()) - change.started_at
        if change.retracted:
            total -= timedelta(seconds=6)
    return total


def _never() -> datetime:
    raise AssertionError("a remainder without an end")


def test_nothing_is_missing_while_nothing_is_wanted() -> None:
    assert missing_inside(Ledger(), [between(10, 16)], recorded=()) == (Ledger(), ())


def test_a_loss_between_two_segments_of_a_run_has_its_cause() -> None:
    _, changes = gap_ledger.stored(
        Ledger(covered_until=at(10)), at(16), at(20), missed=Cause.PICTURES_MISSING
    )
    assert [(one.started_at, one.cause) for one in changes] == [(at(10), Cause.PICTURES_MISSING)]


def test_what_was_missing_while_a_gap_was_open_has_its_cause_and_is_counted() -> None:
    open_gap = gap_ledger.OpenGap(id=uuid4(), started_at=at(12), cause=Cause.RECORD_ROOT_HANGS)
    _, changes = missing_inside(
        Ledger(covered_until=at(30)),
        [between(2, 5), between(11, 16)],
        recorded=(),
        reported=open_gap,
    )
    assert [(one.cause, one.remainder) for one in changes] == [
        (Cause.PICTURES_MISSING, False),
        (Cause.RECORD_ROOT_HANGS, True),
    ]
