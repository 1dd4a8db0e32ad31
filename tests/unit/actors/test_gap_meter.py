from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import GapChange
from tests.fakes.manual_time import ManualClock, ManualTimers
from tests.fakes.recording import FakeRecordingMetrics
from tests.unit.actors.recorder_harness import CAMERA, START_S, at

OTHER = uuid4()


class MeterHarness:
    def __init__(self) -> None:
        self.clock, self.timers = ManualClock(), ManualTimers()
        self.counter = FakeRecordingMetrics()
        self.meter = GapMeter(metrics=self.counter, clock=self.clock, timers=self.timers)

    def tick_at(self, seconds: float) -> float:
        self.clock.move_to(START_S + seconds)
        self.timers.expire(1.0)
        return self.total_s

    @property
    def total_s(self) -> float:
        return round(sum(self.counter.gap_s.values()), 3)


def change(cause: Cause = Cause.STALLED, start_s: float = 0.0) -> GapChange:
    return GapChange(id=uuid4(), started_at=at(start_s), ended_at=None, cause=cause)


def closed(gap: GapChange, end_s: float, *, retracted: bool = False) -> GapChange:
    return replace(gap, ended_at=at(end_s), retracted=retracted)


def test_what_is_left_of_a_gap_that_gave_way_is_not_counted_again() -> None:
    meter = MeterHarness()
    gap = change()
    meter.meter.changed(CAMERA, gap)
    meter.meter.changed(CAMERA, closed(gap, 9))
    meter.meter.changed(CAMERA, closed(gap, 0, retracted=True))
    meter.meter.changed(CAMERA, replace(closed(change(), 4), remainder=True))
    assert meter.total_s == 9


def test_a_gap_is_counted_while_it_is_open_with_a_little_lag() -> None:
    meter = MeterHarness()
    meter.meter.changed(CAMERA, change())
    assert [meter.tick_at(s) for s in (1, 3, 10)] == [0, 1.0, 8.0]


def test_at_its_end_a_gap_is_counted_exactly() -> None:
    meter, gap = MeterHarness(), change()
    meter.meter.changed(CAMERA, gap)
    meter.tick_at(10)
    meter.meter.changed(CAMERA, closed(gap, 10.25))
    assert meter.total_s == 10.25
    assert meter.tick_at(60) == 10.25


def test_a_gap_that_is_only_heard_of_at_its_end_is_counted_whole() -> None:
    meter = MeterHarness()
    meter.meter.changed(CAMERA, closed(change(), 7.5))
    assert meter.total_s == 7.5


def test_a_gap_that_turned_out_to_be_none_is_counted_no_further() -> None:
    meter, gap = MeterHarness(), change()
    meter.meter.changed(CAMERA, gap)
    meter.tick_at(1.5)
    meter.meter.changed(CAMERA, closed(gap, 5, retracted=True))
    assert meter.tick_at(60) == 0


def test_when_frames_come_the_count_waits_for_the_segment() -> None:
    meter, gap = MeterHarness(), change()
    meter.meter.changed(CAMERA, gap)
    meter.meter.frames_again(CAMERA, at(10))
    assert meter.tick_at(60) == 8.0
    meter.meter.lost_again(CAMERA)
    assert meter.tick_at(61) == 59.0


def test_frames_of_one_camera_are_nothing_to_another() -> None:
    meter = MeterHarness()
    meter.meter.changed(OTHER, change())
    meter.meter.frames_again(CAMERA, at(1))
    assert meter.tick_at(10) == 8.0


def test_a_gap_that_gets_another_name_is_counted_once() -> None:
    meter, gap = MeterHarness(), change(Cause.STARTING)
    meter.meter.changed(CAMERA, gap)
    meter.tick_at(5)
    renamed = replace(gap, cause=Cause.SOURCE_OFFLINE)
    meter.meter.changed(CAMERA, renamed)
    meter.meter.changed(CAMERA, closed(renamed, 10))
    assert meter.counter.gap_s == {"starting": 3.0, "source_offline": 7.0}


def test_a_gap_that_begins_in_the_future_counts_nothing() -> None:
    meter = MeterHarness()
    meter.meter.changed(CAMERA, change(start_s=100))
    assert meter.tick_at(50) == 0


def test_a_clock_that_is_set_counts_no_seconds() -> None:
    meter, gap = MeterHarness(), change()
    meter.meter.changed(CAMERA, gap)
    meter.tick_at(5)
    meter.clock.step_wall(315_360_000)
    assert meter.tick_at(6) == 4.0
    never_were = replace(closed(change(Cause.CLOCK_STEP), 315_360_000))
    meter.meter.changed(CAMERA, never_were)
    assert meter.total_s == 4.0


def test_an_outage_by_a_clock_that_nothing_confirms_counts_a_day_at_most() -> None:
    meter = MeterHarness()
    gap = change(Cause.SERVER_DOWN, start_s=-315_360_000)
    meter.meter.changed(CAMERA, gap)
    assert meter.tick_at(2) == 86_400
    meter.meter.changed(CAMERA, closed(gap, 2))
    assert meter.total_s == 86_402


def test_a_gap_that_is_moved_by_a_set_clock_goes_on_being_counted() -> None:
    meter, gap = MeterHarness(), change()
    calls: list[str] = []
    meter.meter.watch_clock(CAMERA, lambda: calls.append("set"))
    meter.meter.changed(CAMERA, gap)
    meter.tick_at(10)
    meter.clock.step_wall(-600)
    meter.tick_at(600 + 11)
    assert calls == ["set"]
    moved = replace(change(start_s=-600), continues=gap.id)
    meter.meter.changed(CAMERA, closed(gap, 0, retracted=True))
    meter.meter.changed(CAMERA, moved)
    meter.meter.changed(CAMERA, closed(moved, -580))
    assert meter.total_s == 609.0


def test_a_closed_meter_counts_no_more() -> None:
    meter = MeterHarness()
    meter.meter.changed(CAMERA, change())
    meter.meter.close()
    assert meter.timers.pending() == []


moments = st.lists(st.floats(min_value=0, max_value=300), min_size=1, max_size=30)


@given(moments, st.floats(min_value=0, max_value=300))
def test_the_counter_never_goes_back_whatever_the_clock_does(
    ticks: list[float], end_s: float
) -> None:
    meter, gap = MeterHarness(), change()
    meter.meter.changed(CAMERA, gap)
    totals = [meter.tick_at(moment) for moment in ticks]
    meter.meter.changed(CAMERA, closed(gap, end_s))
    totals.append(meter.total_s)
    assert totals == sorted(totals)
