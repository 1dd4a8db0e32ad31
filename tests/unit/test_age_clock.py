"""The age clock: no sequence of steps and boots ages anything faster than time passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamwarden.age_clock import (
    SLACK,
    AgeClock,
    Reading,
    decode_age_clock,
    encode_age_clock,
    started,
)

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
GRACE = timedelta(days=1)
KEEP = timedelta(days=30)
HOUR = 3600.0
DAY = 86_400.0
YEARS = 3650 * DAY


@dataclass
class Machine:
    """A machine whose clock is set, and the footage that it dates by that clock."""

    monotonic_s: float = 100.0
    offset_s: float = 0.0
    boot: int = 0
    clock: AgeClock = field(init=False)
    footage: list[tuple[datetime, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = started(self.reading(), None)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic_s + self.offset_s)

    def reading(self) -> Reading:
        return Reading(wall=self.now, boottime_s=self.monotonic_s, boot_id=str(self.boot))

    def look(self) -> None:
        self.clock = decode_age_clock(encode_age_clock(self.clock.moved_on(self.reading(), GRACE)))

    def run(self, seconds: float) -> None:
        """Record for some time, looking every so often."""
        steps = max(1, min(40, int(seconds / 60)))
        for _ in range(steps):
            self.footage.append((self.now, self.monotonic_s))
            self.monotonic_s += seconds / steps
            self.look()

    def step(self, seconds: float) -> None:
        self.offset_s += seconds
        self.look()

    def reboot(self, wall_by_s: float = 0.0) -> None:
        # The ages of footage are counted on; only the machine's own count begins anew.
        self.boot += 1
        self.offset_s += wall_by_s
        self.look()

    def live(self, kind: str, value: float) -> None:
        ways: dict[str, Callable[[float], None]] = {
            "run": self.run,
            "step": self.step,
            "reboot": self.reboot,
        }
        ways[kind](value)

    def too_early(self, keep: timedelta) -> list[tuple[datetime, float]]:
        """Return the footage that would be deleted before it is so old by the time that passed."""
        expired = self.clock.older_than(keep)
        least_s = keep.total_seconds() - SLACK.total_seconds() - 0.02 * self.monotonic_s
        return [
            (date, self.monotonic_s - taken_s)
            for date, taken_s in self.footage
            if self.monotonic_s - taken_s < least_s
            and any(each.from_ <= date < each.to for each in expired)
        ]


steps = st.sampled_from([-YEARS, -40 * DAY, -8 * HOUR, -600, 600, 8 * HOUR, 40 * DAY, YEARS])
stories = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from([12.0, 30.0, HOUR, 6 * HOUR, 20 * HOUR])),
        st.tuples(st.just("step"), steps.map(float)),
    ),
    max_size=12,
)
"""Without reboots: how long the machine was off then, nobody knows."""


def test_time_that_passes_ages() -> None:
    machine = Machine()
    machine.run(40 * DAY)
    expired = machine.clock.older_than(KEEP)
    assert len(expired) == 1
    assert abs(expired[0].to - (machine.now - KEEP)) <= SLACK


def test_forty_days_ahead_for_a_while_expire_nothing_and_are_not_kept_for_ever() -> None:
    machine = Machine()
    machine.run(HOUR)
    machine.step(40 * DAY)
    machine.run(12)
    wrong = machine.footage[-1][0]
    machine.step(-40 * DAY)
    assert machine.too_early(KEEP) == []
    machine.run(31 * DAY)
    assert any(each.from_ <= wrong < each.to for each in machine.clock.older_than(KEEP))


def test_a_board_without_a_clock_ages_on_at_each_boot() -> None:
    machine = Machine()
    machine.run(HOUR)
    for _ in range(40):
        machine.run(20 * HOUR)
        machine.reboot(-YEARS)
        machine.run(30)
        machine.step(YEARS)
        assert machine.clock.departure is None
    expired = machine.clock.older_than(KEEP)
    assert any(each.from_ <= machine.footage[0][0] < each.to for each in expired)
    assert machine.too_early(KEEP) == []


def test_small_leads_do_not_add_up_to_a_large_one() -> None:
    machine = Machine()
    for _ in range(200):
        machine.run(60)
        machine.step(600)
    assert machine.clock.at - EPOCH < timedelta(seconds=machine.monotonic_s) + 2 * SLACK


@given(stories)
@example([("step", -8 * HOUR), ("run", 12.0), ("step", 40 * DAY), ("run", 26 * HOUR)])
@example([("step", 8 * HOUR), ("run", 12.0), ("step", 40 * DAY), ("run", 26 * HOUR)])
def test_nothing_is_deleted_before_it_is_old_by_the_time_that_passed(
    story: list[tuple[str, float]],
) -> None:
    machine = Machine()
    machine.run(60)
    for kind, value in story:
        machine.live(kind, value)
        assert machine.too_early(KEEP) == [], (story, machine.clock)


def test_a_reboot_does_not_hide_that_the_clock_was_set() -> None:
    machine = Machine()
    machine.run(HOUR)
    machine.step(40 * DAY)
    machine.run(20 * HOUR)
    machine.reboot(8 * HOUR)
    machine.run(6 * HOUR)
    machine.run(20 * HOUR)
    assert machine.clock.departure is None
    assert machine.too_early(KEEP) == []


@given(stories)
def test_after_the_clock_is_right_for_long_everything_ages(
    story: list[tuple[str, float]],
) -> None:
    machine = Machine()
    machine.run(60)
    for kind, value in story:
        machine.live(kind, value)
    machine.step(-machine.offset_s)
    machine.run(2 * DAY)
    machine.run(34 * DAY)
    assert machine.clock.departure is None
    assert abs(machine.clock.low - machine.now) <= 2 * SLACK


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_this_boot_recorded_before_its_clock_was_set_is_only_so_old(
    confirmed: bool,
) -> None:
    machine = Machine()
    machine.run(60)
    machine.step(YEARS)
    # A run keeps the clock that it began with until another one takes its place.
    tail = (machine.now - timedelta(seconds=YEARS) + timedelta(seconds=30), machine.monotonic_s)
    machine.footage.append(tail)
    machine.run(120)
    if confirmed:
        machine.clock = machine.clock.confirmed(machine.reading())
    else:
        machine.run(2 * DAY)
    assert machine.clock.departure is None
    assert machine.too_early(KEEP) == []
    machine.run(31 * DAY)
    expired = machine.clock.older_than(KEEP)
    for date in (machine.footage[0][0], tail[0]):
        assert any(each.from_ <= date < each.to for each in expired)
