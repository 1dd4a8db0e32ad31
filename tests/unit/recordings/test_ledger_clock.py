"""The ledger of gaps while the wall clock is set, in any order with losses and restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from streamwarden.clock import ClockLine
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger, ledger_clock
from streamwarden.recordings.gap_ledger import GapChange, Ledger, Step

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = 3600.0
YEARS = 10 * 365 * 24 * HOUR
SLACK_S = 1.0


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(milliseconds=round(seconds * 1000))


@dataclass
class Recorder:
    """A recorder that accounts by the clock of its runs, which begin by the clock of the moment."""

    monotonic_s: float = 0.0
    offset_s: float = 0.0
    boot: int = 0
    run_offset_s: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    gaps: dict[UUID, GapChange] = field(default_factory=dict)
    lost_s: float = 0.0
    wanted: bool = False

    def __post_init__(self) -> None:
        self._take(gap_ledger.wanted(self.ledger, self.now))
        self._restarted()

    @property
    def now(self) -> datetime:
        return at(self.monotonic_s + self.offset_s)

    def _line(self, offset_s: float) -> ClockLine:
        return ClockLine(str(self.boot), EPOCH.timestamp() + offset_s)

    def _take(self, step: Step) -> None:
        self.ledger, changes = step
        for change in changes:
            before = self.gaps.get(change.id)
            assert before is None or before.ended_at is None or change.retracted
            assert change.ended_at is None or change.ended_at >= change.started_at
            self.gaps[change.id] = change

    def _restarted(self, alive_until: datetime | None = None) -> None:
        line = self._line(self.offset_s)
        step = ledger_clock.restarted_by(self.ledger, line, self.now, alive_until=alive_until)
        self._take(step)

    def step(self, seconds: float) -> None:
        """Set the clock; the run is replaced without a loss."""
        self.offset_s += seconds

    def record(self, seconds: float) -> None:
        """Record a segment by a run of the present clock."""
        self.run_offset_s = self.offset_s
        began, self.monotonic_s = self.now, self.monotonic_s + seconds
        self._take(ledger_clock.dated_by(self.ledger, self._line(self.run_offset_s), began))
        self._take(gap_ledger.stored(self.ledger, began, self.now))

    def lose(self, seconds: float, cause: Cause = Cause.SOURCE_OFFLINE) -> None:
        """The run ends by its own clock; then nothing comes for some time."""
        line = self._line(self.run_offset_s)
        ended = at(self.monotonic_s + self.run_offset_s)
        self._take(ledger_clock.dated_by(self.ledger, line, ended))
        self._take(gap_ledger.lost(self.ledger, cause, ended))
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.lost_s += seconds

    def look(self) -> None:
        """The meter has noticed the step while a gap is open."""
        self._take(ledger_clock.dated_by(self.ledger, self._line(self.offset_s), self.now))

    def restart(self, down_s: float, *, reboot: bool = False, set_by: float = 0.0) -> None:
        if self.ledger.gap is not None:
            self.look()
        alive_until = self.now
        self.wait(down_s)
        self.offset_s += set_by
        if reboot:
            self.boot += 1
        self._take(gap_ledger.resumed(self.ledger, alive_until=alive_until, at=self.now))
        self._restarted(alive_until)
        self.run_offset_s = self.offset_s

    def rows(self) -> list[tuple[float, float | None, str]]:
        def seconds(moment: datetime | None) -> float | None:
            return None if moment is None else (moment - EPOCH).total_seconds()

        found = [
            ((gap.started_at - EPOCH).total_seconds(), seconds(gap.ended_at), str(gap.cause))
            for gap in self.gaps.values()
            if not gap.retracted
        ]
        return sorted(found, key=lambda row: row[0])

    def missing_s(self) -> float:
        """All seconds of gaps, but for those that never existed; an open one lasts until now."""
        now = (self.now - EPOCH).total_seconds()
        return sum(
            (now if end is None else end) - start
            for start, end, cause in self.rows()
            if cause != "clock_step"
        )


def recorder() -> Recorder:
    made = Recorder()
    made.record(100)
    return made


def test_an_hour_forward_is_a_gap_of_seconds_that_never_were() -> None:
    one = recorder()
    one.step(HOUR)
    one.record(16)
    assert one.rows() == [(100, 3700, "clock_step")]


def test_an_hour_forward_that_is_undone_leaves_the_seconds_with_other_dates() -> None:
    one = recorder()
    one.step(HOUR)
    one.record(16)
    one.step(-HOUR)
    one.record(10)
    assert one.rows() == [(100, 116, "clock_step")]
    assert one.ledger.covered_until == at(126)


def test_a_loss_after_a_step_back_is_where_it_was() -> None:
    one = recorder()
    one.step(-600)
    one.record(16)
    one.lose(20)
    one.record(10)
    assert one.rows() == [(-484, -464, "source_offline")]
    assert [gap.clock_set for gap in one.gaps.values() if gap.started_at < EPOCH] == [True]


def test_a_step_back_while_a_gap_is_open_moves_it_along() -> None:
    one = recorder()
    one.lose(20)
    one.step(-600)
    one.wait(5)
    one.look()
    one.wait(15)
    one.record(10)
    assert one.rows() == [(-500, -460, "source_offline")]


def test_a_step_forward_while_a_gap_is_open_divides_it() -> None:
    one = recorder()
    one.lose(20)
    one.step(HOUR)
    one.look()
    one.wait(20)
    one.record(10)
    assert one.rows() == [
        (100, 120, "source_offline"),
        (120, 3720, "clock_step"),
        (3720, 3740, "source_offline"),
    ]


def test_a_clock_in_local_time_at_the_boot_makes_no_outage_of_eight_hours() -> None:
    one = recorder()
    one.restart(60, reboot=True, set_by=8 * HOUR)
    one.record(30)
    one.step(-8 * HOUR)
    one.record(30)
    assert one.rows() == [(100, 160, "server_down"), (160, 190, "clock_step")]
    one.lose(20)
    one.record(5)
    assert one.rows()[2:] == [(220, 240, "source_offline")]


def test_an_outage_is_not_dated_before_the_clock_is_right() -> None:
    one = recorder()
    one.restart(60, reboot=True, set_by=8 * HOUR)
    one.step(-8 * HOUR)
    one.look()
    one.record(30)
    assert one.rows() == [(100, 160, "server_down")]


def test_a_boot_ten_years_back_costs_only_the_time_that_the_server_was_down() -> None:
    one = recorder()
    one.restart(60, reboot=True, set_by=-YEARS)
    one.record(30)
    one.step(YEARS)
    one.record(30)
    assert one.rows() == [(100, 160, "server_down"), (160, 190, "clock_step")]


def test_a_boot_ten_years_back_that_is_put_right_before_the_first_picture() -> None:
    one = recorder()
    one.restart(60, reboot=True, set_by=-YEARS)
    one.wait(5)
    one.step(YEARS)
    one.look()
    one.wait(5)
    one.record(30)
    assert one.rows() == [(100, 170, "server_down")]


def test_a_clock_set_while_the_server_is_down_is_known_in_the_same_boot() -> None:
    for by in (HOUR, -HOUR):
        one = recorder()
        one.restart(60, set_by=by)
        one.record(30)
        assert one.missing_s() == 60


small = st.sampled_from([-2.0, -1.5, -0.5, 0.5, 1.5, 2.0])
large = st.sampled_from([-YEARS, -8 * HOUR, -HOUR, -600.0, -30.0, 30.0, 600.0, HOUR, YEARS])
lengths = st.integers(min_value=2, max_value=120).map(float)
events = st.one_of(
    st.tuples(st.just("record"), lengths),
    st.tuples(st.just("lose"), lengths),
    st.tuples(st.just("step"), st.one_of(small, large)),
    st.tuples(st.just("look"), st.just(0.0)),
    st.tuples(st.just("restart"), lengths),
)


def play(one: Recorder, story: list[tuple[str, float]]) -> None:
    for kind, value in story:
        match kind:
            case "record":
                one.record(value)
            case "lose":
                one.lose(value)
            case "step":
                one.step(value)
            case "look" if one.ledger.gap is not None:
                one.look()
            case "restart":
                one.restart(value)
    one.record(5)


@given(st.lists(events, max_size=12))
def test_every_loss_is_in_the_ledger_and_nothing_else(story: list[tuple[str, float]]) -> None:
    one = recorder()
    play(one, story)
    assert abs(one.missing_s() - one.lost_s) <= SLACK_S * (1 + len(story)), one.rows()


@given(st.lists(events, max_size=12))
def test_no_gap_is_open_in_the_future(story: list[tuple[str, float]]) -> None:
    one = recorder()
    play(one, story)
    one.lose(3)
    one.look()
    gap = one.ledger.gap
    assert gap is not None
    assert gap.started_at <= one.now
    assert one.ledger.covered_until is not None
    assert one.ledger.covered_until <= one.now


@given(st.lists(events, max_size=12), st.sampled_from([-YEARS, -8 * HOUR, 8 * HOUR, YEARS]))
def test_a_boot_by_a_wrong_clock_that_is_put_right_makes_no_phantom(
    story: list[tuple[str, float]], by: float
) -> None:
    one = recorder()
    one.restart(60, reboot=True, set_by=by)
    one.record(30)
    one.step(-by)
    one.record(30)
    before = one.missing_s()
    assert abs(before - 60) <= SLACK_S
    play(one, story)
    assert abs(one.missing_s() - one.lost_s) <= SLACK_S * (1 + len(story)), one.rows()
