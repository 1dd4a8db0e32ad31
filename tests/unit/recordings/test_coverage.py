"""Interval arithmetic against a model that asks of each tenth of a second on its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamwarden.model import TimeRange
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.time_ranges import TOLERANCE, holes, merged, overlaps

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
STEP = timedelta(milliseconds=100)
STEPS = 60
TOLERATED = TOLERANCE // STEP

Steps = tuple[int, int]


def span(steps: Steps) -> TimeRange:
    return TimeRange(NOON + steps[0] * STEP, NOON + steps[1] * STEP)


def steps_in(spans: Iterable[TimeRange]) -> set[int]:
    """Return the steps that lie within one of ``spans``."""
    return {
        step for one in spans for step in range((one.from_ - NOON) // STEP, (one.to - NOON) // STEP)
    }


def runs_of(steps: set[int]) -> list[Steps]:
    """Return the stretches of neighbouring steps."""
    starts = sorted(step for step in steps if step - 1 not in steps)
    ends = sorted(step + 1 for step in steps if step + 1 not in steps)
    return list(zip(starts, ends, strict=True))


def long_enough(stretches: Iterable[Steps]) -> list[TimeRange]:
    return [span(one) for one in stretches if one[1] - one[0] > TOLERATED]


@st.composite
def a_span(draw: st.DrawFn) -> TimeRange:
    start = draw(st.integers(0, STEPS))
    return span((start, draw(st.integers(start, STEPS))))


spans = st.lists(a_span(), max_size=8)


@given(spans)
def test_a_union_is_disjoint_in_order_and_the_same_time(given_spans: list[TimeRange]) -> None:
    union = merged(given_spans)
    assert steps_in(union) == steps_in(given_spans)
    assert all(left.to < right.from_ for left, right in itertools.pairwise(union))


@given(spans, spans)
@example([span((0, 10))], [])
@example([span((0, 10)), span((10, 20))], [span((4, 16))])
@example([span((0, 10))], [span((7, 7))])
def test_holes_are_the_wanted_stretches_that_nothing_covers(
    wanted: list[TimeRange], covered: list[TimeRange]
) -> None:
    # A wanted period that ends where the next one begins is one period; and so is a hole across the seam.
    missing = steps_in(wanted) - steps_in(covered)
    assert list(holes(wanted, covered)) == long_enough(runs_of(missing))


@given(spans, spans)
def test_overlaps_are_what_both_say(left: list[TimeRange], right: list[TimeRange]) -> None:
    # Runs of steps cannot tell two touching spans from one, and merging does not either.
    both = steps_in(left) & steps_in(right)
    assert list(overlaps(left, right)) == long_enough(runs_of(both))


@given(spans, spans)
def test_overlaps_do_not_ask_which_side_they_are_on(
    left: list[TimeRange], right: list[TimeRange]
) -> None:
    assert list(overlaps(left, right)) == list(overlaps(right, left))


@given(spans, spans)
def test_what_is_filled_has_no_holes(wanted: list[TimeRange], covered: list[TimeRange]) -> None:
    assert list(holes(wanted, [*covered, *holes(wanted, covered)])) == []


@pytest.mark.parametrize(
    ("length_ms", "found"), [(499, 0), (500, 0), (501, 1), (600, 1), (1000, 1)]
)
def test_a_hole_counts_from_above_half_a_second(length_ms: int, found: int) -> None:
    missing = timedelta(milliseconds=length_ms)
    wanted = TimeRange(NOON, NOON + timedelta(seconds=10))
    middle = NOON + timedelta(seconds=5)
    around = [TimeRange(wanted.from_, middle), TimeRange(middle + missing, wanted.to)]
    assert len(list(holes([wanted], around))) == found
    assert len(list(holes([wanted], [TimeRange(NOON + missing, wanted.to)]))) == found
    assert len(list(holes([wanted], [TimeRange(NOON, wanted.to - missing)]))) == found
    assert len(list(overlaps([wanted], [TimeRange(middle, middle + missing)]))) == found


@pytest.mark.parametrize("missing_ms", [0, 499, 500, 501, 700, 1000, 5000])
def test_what_the_ledger_lets_pass_is_no_hole_and_what_it_enters_fills_it(missing_ms: int) -> None:
    begun, stopped = NOON, NOON + timedelta(seconds=10)
    recorded = TimeRange(begun, stopped - timedelta(milliseconds=missing_ms))
    ledger = gap_ledger.Ledger(covered_until=recorded.to)
    _, at_stop = gap_ledger.unwanted(ledger, stopped)
    _, at_next = gap_ledger.stored(ledger, stopped, stopped)
    for changes in (at_stop, at_next):
        gaps = [
            TimeRange(gap.started_at, gap.ended_at) for gap in changes if gap.ended_at is not None
        ]
        assert list(holes([TimeRange(begun, stopped)], [recorded, *gaps])) == []


def test_a_span_is_as_long_as_from_its_start_to_its_end() -> None:
    assert span((3, 10)).length == timedelta(milliseconds=700)
