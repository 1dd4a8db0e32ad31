from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.gap_ledger import GapChange, Ledger, Step

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROUNDING_MS = 1000


def at(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(moment: datetime) -> int:
    return round((moment - EPOCH).total_seconds() * 1000)


@dataclass
class ReplayedIndex:
    """What the index makes of a ledger's changes: one row a gap; a closed one can only be removed."""

    ledger: Ledger = field(default_factory=Ledger)
    gaps: dict[UUID, GapChange] = field(default_factory=dict)
    segments: list[tuple[int, int]] = field(default_factory=list)

    def take(self, step: Step) -> None:
        self.ledger, changes = step
        for change in changes:
            before = self.gaps.get(change.id)
            assert before is None or before.ended_at is None or change.retracted, (
                "a closed gap changed"
            )
            assert before is None or before.started_at == change.started_at
            assert change.ended_at is None or change.ended_at >= change.started_at
            self.gaps[change.id] = change
        self.check_open()

    def check_open(self) -> None:
        ids = [gap.id for gap in self.gaps.values() if gap.ended_at is None]
        assert ids == ([self.ledger.gap.id] if self.ledger.gap else [])

    def stored(self, start: int, end: int) -> None:
        self.segments.append((start, end))
        self.take(gap_ledger.stored(self.ledger, at(start), at(end)))

    def closed(self) -> list[tuple[int, int, str]]:
        return sorted(
            (milliseconds(gap.started_at), milliseconds(gap.ended_at), str(gap.cause))
            for gap in self.gaps.values()
            if gap.ended_at is not None and not gap.retracted
        )


causes = st.sampled_from(
    [Cause.SOURCE_OFFLINE, Cause.STALLED, Cause.DISK_FULL, Cause.STARTING, Cause.SHUTDOWN]
)
pauses = st.integers(min_value=0, max_value=30_000)
events = st.lists(
    st.tuples(
        pauses,
        st.sampled_from(["stored", "stored", "lost", "resumed", "late"]),
        causes,
        st.floats(min_value=0, max_value=1),
    ),
    max_size=20,
)


def play(replay: ReplayedIndex, story: list[tuple[int, str, Cause, float]]) -> int:
    """Play a story in growing time; return when it ended."""
    now = 0
    for pause, kind, cause, share in story:
        before, now = now, now + pause
        between = before + int(share * pause)
        if kind == "stored":
            replay.stored(between, now)
        elif kind == "late":
            replay.stored(max(0, between - 60_000), max(0, between - 60_000 + pause // 2))
        elif kind == "lost":
            replay.take(gap_ledger.lost(replay.ledger, cause, at(now)))
        else:
            alive = at(between) if share < 0.9 else None
            replay.take(gap_ledger.resumed(replay.ledger, alive_until=alive, at=at(now)))
    return now


@given(events, pauses)
def test_segments_and_gaps_cover_every_wanted_second(
    story: list[tuple[int, str, Cause, float]], pause: int
) -> None:
    replay = ReplayedIndex()
    replay.take(gap_ledger.wanted(replay.ledger, at(0)))
    end = play(replay, story) + pause
    replay.take(gap_ledger.unwanted(replay.ledger, at(end)))
    assert replay.ledger.covered_until is None
    covered = 0
    known = [*replay.segments, *((start, stop) for start, stop, _ in replay.closed())]
    for start, stop in sorted(known):
        assert start - covered <= ROUNDING_MS, f"nothing says what was from {covered} to {start}"
        covered = max(covered, stop)
    assert end - covered <= ROUNDING_MS


@given(events)
def test_what_is_recorded_is_not_also_missing(
    story: list[tuple[int, str, Cause, float]],
) -> None:
    replay = ReplayedIndex()
    replay.take(gap_ledger.wanted(replay.ledger, at(0)))
    end = play(replay, story)
    replay.take(gap_ledger.unwanted(replay.ledger, at(end)))
    spans = [(start, stop) for start, stop, _ in replay.closed() if stop > start]
    for start, stop in spans:
        for began, ended in replay.segments:
            assert min(stop, ended) - max(start, began) <= 1
    for (_, stop), (start, _) in pairwise(spans):
        assert stop <= start


def wanted_at_0() -> ReplayedIndex:
    replay = ReplayedIndex()
    replay.take(gap_ledger.wanted(replay.ledger, at(0)))
    return replay


def test_the_seconds_before_the_first_segment_are_starting() -> None:
    replay = wanted_at_0()
    replay.stored(2_000, 30_000)
    assert replay.closed() == [(0, 2_000, "starting")]


def test_wanting_twice_changes_nothing() -> None:
    replay = wanted_at_0()
    assert gap_ledger.wanted(replay.ledger, at(5_000)) == (replay.ledger, ())


def test_starting_takes_the_name_of_what_stands_in_the_way() -> None:
    replay = wanted_at_0()
    replay.take(gap_ledger.lost(replay.ledger, Cause.SOURCE_OFFLINE, at(5_000)))
    replay.stored(9_000, 30_000)
    assert replay.closed() == [(0, 9_000, "source_offline")]
    assert len(replay.gaps) == 1


def test_a_gap_begins_where_the_last_segment_ended_and_not_where_the_loss_was_seen() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.STALLED, at(40_000)))
    replay.stored(50_000, 60_000)
    assert replay.closed() == [(30_000, 50_000, "stalled")]


def test_another_cause_ends_one_gap_and_begins_the_next() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.SOURCE_OFFLINE, at(31_000)))
    replay.take(gap_ledger.lost(replay.ledger, Cause.SOURCE_OFFLINE, at(35_000)))
    replay.take(gap_ledger.lost(replay.ledger, Cause.TIMEOUT, at(40_000)))
    replay.stored(50_000, 60_000)
    assert replay.closed() == [(30_000, 40_000, "source_offline"), (40_000, 50_000, "timeout")]


def test_a_gap_that_segments_cover_is_void() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.FFMPEG_CRASHED, at(31_000)))
    replay.stored(29_000, 40_000)
    assert replay.closed() == []
    assert replay.ledger == Ledger(covered_until=at(40_000))


def test_a_segment_from_before_the_gap_does_not_end_it() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.FFMPEG_CRASHED, at(31_000)))
    replay.stored(10_000, 30_000)
    assert replay.ledger.gap is not None


@pytest.mark.parametrize(("hole_ms", "written"), [(500, False), (501, True)])
def test_a_hole_that_nobody_saw_is_our_own_defect(hole_ms: int, written: bool) -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.stored(30_000 + hole_ms, 60_000)
    assert replay.closed() == ([(30_000, 30_000 + hole_ms, "internal")] if written else [])


def test_what_a_relieved_run_had_recorded_is_taken_out_of_the_gap_closed_meanwhile() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.STALLED, at(38_000)))
    replay.stored(45_000, 50_000)
    assert replay.closed() == [(30_000, 45_000, "stalled")]
    replay.stored(33_000, 35_000)
    assert replay.closed() == [(30_000, 33_000, "stalled"), (35_000, 45_000, "stalled")]
    replay.stored(34_000, 46_000)
    assert replay.closed() == [(30_000, 33_000, "stalled")]
    assert replay.ledger.covered_until == at(50_000)


def test_gaps_that_ended_long_ago_are_no_longer_remembered() -> None:
    replay = wanted_at_0()
    replay.stored(1_000, 30_000)
    assert len(replay.ledger.closed) == 1
    replay.stored(30_000, 200_000)
    assert not replay.ledger.closed


def test_a_server_that_comes_back_was_itself_down() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.resumed(replay.ledger, alive_until=at(40_000), at=at(90_000)))
    replay.stored(91_000, 120_000)
    assert replay.closed() == [(30_000, 91_000, "server_down")]


def test_a_gap_from_before_the_server_went_down_keeps_its_cause_until_then() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.SOURCE_OFFLINE, at(31_000)))
    replay.take(gap_ledger.resumed(replay.ledger, alive_until=at(40_000), at=at(90_000)))
    replay.stored(91_000, 120_000)
    assert replay.closed() == [
        (30_000, 40_000, "source_offline"),
        (40_000, 91_000, "server_down"),
    ]


def test_an_orderly_stop_explains_the_whole_pause() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.lost(replay.ledger, Cause.SHUTDOWN, at(30_500)))
    replay.take(gap_ledger.resumed(replay.ledger, alive_until=at(30_500), at=at(90_000)))
    replay.stored(91_000, 120_000)
    assert replay.closed() == [(30_000, 91_000, "shutdown")]


def test_seconds_that_end_without_a_segment_are_missing_until_nothing_is_wanted() -> None:
    replay = wanted_at_0()
    replay.stored(0, 30_000)
    replay.take(gap_ledger.unwanted(replay.ledger, at(36_000), missing=Cause.STALLED))
    assert replay.closed() == [(30_000, 36_000, "stalled")]


def test_what_comes_after_nothing_is_wanted_is_nobodys_business() -> None:
    assert gap_ledger.lost(Ledger(), Cause.STALLED, at(0)) == (Ledger(), ())
    assert gap_ledger.stored(Ledger(), at(0), at(1)) == (Ledger(), ())
    assert gap_ledger.unwanted(Ledger(), at(9_000)) == (Ledger(), ())


def test_a_tail_that_is_stored_after_the_end_of_wanting_is_not_missing_too() -> None:
    replay = wanted_at_0()
    replay.take(gap_ledger.lost(replay.ledger, Cause.SOURCE_OFFLINE, at(1_000)))
    replay.take(gap_ledger.unwanted(replay.ledger, at(9_000)))
    replay.stored(6_000, 8_500)
    assert [one[:2] for one in replay.closed()] == [(0, 6_000), (8_500, 9_000)]
    replay.take(gap_ledger.wanted(replay.ledger, at(9_100)))
    replay.stored(8_500, 8_900)
    assert [one[:2] for one in replay.closed()] == [(0, 6_000), (8_900, 9_000)]
