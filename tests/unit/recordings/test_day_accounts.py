"""The sum of a camera's day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Gap, Segment, TimeRange
from streamwarden.recordings.day_accounts import DayAccount, accounts
from tests.unit.recordings.test_footage_check import between, row

CAMERA = UUID("22222222-2222-2222-2222-222222222222")


def gap(from_s: float, to_s: float, *, clock_set: bool = False) -> tuple[Gap, TimeRange]:
    where = between(from_s, to_s)
    one = Gap(
        id=uuid4(),
        camera_id=CAMERA,
        started_at=where.from_,
        ended_at=where.to,
        cause="stalled",
        clock_set=clock_set,
    )
    return one, where


def sums(one: DayAccount) -> tuple[float, float, float]:
    return one.wanted_s, one.recorded_s, one.gap_s


def test_wanted_is_recorded_and_missing() -> None:
    rows = [row(2, 10), row(10, 30, number=2, holes="5000-11000"), row(33, 40, run=2)]
    gaps = [gap(0, 2), gap(15, 21), gap(30, 33)]
    (day,) = accounts(CAMERA, [between(0, 40)], rows, gaps)
    assert sums(day) == (40, 29, 11)
    assert day.unaccounted_s == pytest.approx(0)


def test_a_hole_that_is_in_no_gap_is_left_over() -> None:
    (day,) = accounts(CAMERA, [between(0, 30)], [row(0, 30, holes="5000-11000")], [])
    assert day.unaccounted_s == pytest.approx(6)
    # A row of an earlier version: a second at each of four ends, and half a second for the seam.
    assert day.bound_s == pytest.approx(4.5)


def test_a_gap_over_footage_counts_twice() -> None:
    (day,) = accounts(CAMERA, [between(0, 30)], [row(0, 30)], [gap(5, 11)])
    assert day.unaccounted_s == pytest.approx(-6)


def test_a_gap_over_footage_of_a_former_clock_does_not() -> None:
    (day,) = accounts(CAMERA, [between(0, 30)], [row(0, 20)], [gap(5, 30, clock_set=True)])
    assert sums(day) == (30, 20, 10)


def test_the_bound_is_the_error_at_the_ends_of_what_was_recorded() -> None:
    rows = [_with_error(row(0, 10), 40), _with_error(row(10, 20, number=2), 700)]
    (day,) = accounts(CAMERA, [between(0, 20)], rows, [])
    assert day.bound_s == pytest.approx(0.74)
    assert day.error_s == pytest.approx(0.7)


def test_each_day_has_an_account() -> None:
    midnight = datetime(2026, 3, 30, tzinfo=UTC)
    wanted = TimeRange(midnight - timedelta(hours=1), midnight + timedelta(hours=2))
    days = _all(wanted)
    assert [(one.day, one.wanted_s) for one in days] == [
        (date(2026, 3, 29), 3_600),
        (date(2026, 3, 30), 7_200),
    ]


def _all(wanted: TimeRange) -> Sequence[DayAccount]:
    return [*accounts(CAMERA, [wanted], [], [])]


def _with_error(one: Segment, error_ms: int) -> Segment:
    return replace(one, error_ms=error_ms)


def test_what_is_being_deleted_is_not_asked_for() -> None:
    (day,) = accounts(CAMERA, [between(0, 30)], [row(10, 30)], [], [between(0, 10)])
    assert sums(day) == (20, 20, 0)
