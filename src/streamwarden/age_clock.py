"""A clock for ages: the wall clock, moved on no faster than time passes.

What is deleted by its age is gone, and one wrong reading of the wall clock must not delete. So the age
clock moves on with ``CLOCK_BOOTTIME``. A wall clock that is ahead of it, because it was set or because the
machine was off, is believed after it has stayed so for a grace time, or once an operator confirms it.
Small leads, as of a reboot, are believed at once: ``SLACK`` in a grace time.

What was recorded while the wall clock was away from the age clock has dates of its own. They are
remembered, so that it is neither deleted early nor kept for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from streamwarden.clock import Clock, rfc3339
from streamwarden.model import TimeRange

SLACK: Final = timedelta(minutes=15)

SETTLED_S: Final = 3600.0
"""A board without a clock of its own has the time from the network long before."""

_REMEMBERED: Final = 32

_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)

_ZERO: Final = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The clocks of a machine at one moment."""

    wall: datetime
    boottime_s: float
    boot_id: str


def read_clocks(clock: Clock) -> Reading:
    """Return what the clocks show now."""
    return Reading(wall=clock.now(), boottime_s=clock.boottime(), boot_id=clock.boot_id())


@dataclass(frozen=True, slots=True, kw_only=True)
class Misdated:
    """Dates given by a clock that was ``ahead`` of the age clock (behind, where negative)."""

    dates: TimeRange
    ahead: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The wall clock is away from the age clock: since when, and for how much time that passed.

    ``seen``: the clock was set while the machine ran, so no time has passed.
    """

    ahead: timedelta
    since: datetime
    waited_s: float
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeClock:
    """The age clock ``at`` a moment of one boot.

    ``low`` is what ages are reckoned by: it falls with a wall clock that is behind, and rises no faster
    than time passes until the two agree again. ``since`` is when this boot began, by the age clock; where
    the clock was set and has not been believed yet, when the boot began in which it was set.
    """

    at: datetime
    low: datetime
    since: datetime
    boottime_s: float
    boot_id: str
    slack_s: float = SLACK.total_seconds()
    departure: Departure | None = None
    misdated: tuple[Misdated, ...] = ()

    def passed_s(self, reading: Reading) -> float:
        """Return for how long the machine ran between the last reading and this one, as far as known."""
        same = reading.boot_id == self.boot_id and reading.boottime_s >= self.boottime_s
        return reading.boottime_s - self.boottime_s if same else 0.0

    def moved_on(self, reading: Reading, grace: timedelta) -> AgeClock:
        """Return the clock at ``reading``; it moves on by the time that passed since the last one."""
        same = reading.boot_id == self.boot_id and reading.boottime_s >= self.boottime_s
        passed_s = self.passed_s(reading)
        passed = timedelta(seconds=passed_s)
        at = self.at + passed
        slack_s = min(
            SLACK.total_seconds(),
            self.slack_s + passed_s * SLACK.total_seconds() / max(1.0, grace.total_seconds()),
        )
        was_set = self.departure is not None and self.departure.seen
        now = replace(
            self,
            at=at,
            low=self.low + passed,
            since=self.since if same or was_set else at,
            boottime_s=reading.boottime_s,
            boot_id=reading.boot_id,
            slack_s=slack_s,
        )
        ahead = reading.wall - at
        if -SLACK <= ahead <= timedelta(seconds=slack_s):
            return now.agreeing(max(ahead, _ZERO))
        return now.departed(ahead, passed_s, grace, seen=same or was_set)

    def confirmed(self, reading: Reading) -> AgeClock:
        """Return the clock once an operator has confirmed that the wall clock is right."""
        return self._believing(reading.wall - self.at)

    def agreeing(self, lead: timedelta) -> AgeClock:
        """Return the clock where the wall clock agrees, but for a lead within the slack."""
        at = self.at + lead
        now = self._without_departure() if self.departure else self
        return replace(now, at=at, low=at, slack_s=self.slack_s - lead.total_seconds())

    def departed(
        self, ahead: timedelta, passed_s: float, grace: timedelta, *, seen: bool
    ) -> AgeClock:
        """Return the clock where the wall clock is ``ahead``, or behind."""
        before = self.departure
        if before is not None and abs(ahead - before.ahead) <= SLACK:
            waited_s = before.waited_s + passed_s
            if waited_s >= grace.total_seconds():
                return self._believing(ahead)
            departure = replace(before, waited_s=waited_s)
            now = self
        else:
            # What was dated meanwhile has dates of neither clock, whichever of the two is right.
            now = self._without_departure()
            departure = Departure(ahead=ahead, since=self.at, waited_s=0.0, seen=seen)
        low = min(now.low, now.at + min(ahead, _ZERO))
        return replace(now, low=low, departure=departure)

    def _without_departure(self) -> AgeClock:
        if self.departure is None:
            return self
        return replace(self, departure=None, misdated=self._with(self._of_departure()))

    def _of_departure(self) -> Misdated:
        gone = self.departure
        if gone is None:
            raise AssertionError("the clocks agree")
        # While it was away it may have moved by as much as the slack.
        dates = TimeRange(gone.since + gone.ahead - SLACK, self.at + gone.ahead + SLACK)
        return Misdated(dates=dates, ahead=gone.ahead)

    def _believing(self, ahead: timedelta) -> AgeClock:
        """Go over to the wall clock.

        Where it was set while the machine ran, what this boot recorded before is known to be only so old:
        its dates were off by as much.
        """
        at, gone = self.at + ahead, self.departure
        misdated = self.misdated
        if gone is not None and gone.seen:
            misdated = tuple(self._shifted(one, ahead) for one in misdated)
            # Within the slack the wall clock may have been behind, and runs go on by it for a moment.
            before = TimeRange(self.since - SLACK, gone.since + SLACK)
            misdated = (*misdated, Misdated(dates=before, ahead=-ahead))
        elif ahead < _ZERO:
            misdated = tuple(replace(one, ahead=one.ahead - ahead) for one in misdated)
        kept = tuple(one for one in misdated if one.ahead and one.dates.from_ < one.dates.to)
        since = self.since + ahead if gone is not None and gone.seen else at
        return replace(self, at=at, low=at, since=since, departure=None, misdated=_bounded(kept))

    def _shifted(self, one: Misdated, by: timedelta) -> Misdated:
        # The dates begin a slack early; one more, as in doubt footage counts as younger.
        of_this_boot = one.dates.from_ - one.ahead >= self.since - 2 * SLACK
        return replace(one, ahead=one.ahead - by) if of_this_boot or by < _ZERO else one

    def _with(self, one: Misdated) -> tuple[Misdated, ...]:
        return _bounded((*self.misdated, one) if one.dates.from_ < one.dates.to else self.misdated)

    # Ages

    def known_misdated(self) -> tuple[Misdated, ...]:
        """Return all dates of other clocks, also of a departure that lasts."""
        return self._with(self._of_departure()) if self.departure else self.misdated

    def older_than(self, age: timedelta) -> list[TimeRange]:
        """Return the dates whose footage is older than ``age``, in time order.

        A date that several clocks have shown counts as the youngest of them.
        """
        horizon, others = self.low - age, self.known_misdated()
        bounds = {_BEGINNING, horizon, self.low}
        for one in others:
            bounds |= {one.dates.from_, one.dates.to, horizon + one.ahead}
        expired = []
        for from_, to in pairwise(sorted(bounds)):
            middle = from_ + (to - from_) / 2
            ages = [middle - one.ahead for one in others if _holds(one.dates, middle)]
            if middle <= self.low or not ages:
                ages.append(middle)
            if max(ages) < horizon:
                expired.append(TimeRange(from_, to))
        return _joined(expired)

    def forgettable(self, age: timedelta) -> datetime:
        """Return the date before which everything is older than ``age``."""
        expired = self.older_than(age)
        return expired[0].to if expired and expired[0].from_ == _BEGINNING else _BEGINNING

    def without_old(self, age: timedelta) -> AgeClock:
        """Return the clock without dates that are older than ``age`` in every way."""
        horizon = self.low - age
        kept = tuple(
            one
            for one in self.misdated
            if max(one.dates.to, one.dates.to - one.ahead) >= horizon - age
        )
        return replace(self, misdated=kept)


def started(reading: Reading, known: datetime | None) -> AgeClock:
    """Return a new clock; ``known`` is a time that has passed for certain, None where none is known."""
    at = reading.wall if known is None else min(reading.wall, known)
    return AgeClock(at=at, low=at, since=at, boottime_s=reading.boottime_s, boot_id=reading.boot_id)


class SteadyClock:
    """The age clock of one process, kept in memory. Any thread.

    It begins with the wall clock, so it guards against a clock that is set. One that was wrong at the
    start is set within minutes, or never: nothing is deleted before ``settled``.
    """

    def __init__(self, clock: Clock, grace: timedelta = timedelta(days=1)) -> None:
        self._clock = clock
        self._grace = grace
        self._lock = threading.Lock()
        self._began_s = clock.boottime()
        self._age = started(read_clocks(clock), None)

    @property
    def settled(self) -> bool:
        """Whether the process has run for so long that a wrong clock would have been set."""
        return self._clock.boottime() - self._began_s >= SETTLED_S

    def now(self) -> datetime:
        """Return the time by which ages are reckoned; it is not ahead of the wall clock."""
        reading = read_clocks(self._clock)
        with self._lock:
            self._age = self._age.moved_on(reading, self._grace)
            return min(reading.wall, self._age.low)


def _bounded(misdated: tuple[Misdated, ...]) -> tuple[Misdated, ...]:
    """Join the oldest dates where there are too many; in doubt footage counts as younger."""
    while len(misdated) > _REMEMBERED:
        one, other, *rest = misdated
        dates = TimeRange(
            min(one.dates.from_, other.dates.from_), max(one.dates.to, other.dates.to)
        )
        misdated = (Misdated(dates=dates, ahead=min(one.ahead, other.ahead)), *rest)
    return misdated


def _holds(dates: TimeRange, moment: datetime) -> bool:
    return dates.from_ <= moment < dates.to


def _joined(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    joined: list[TimeRange] = []
    for each in ranges:
        if joined and joined[-1].to == each.from_:
            joined[-1] = TimeRange(joined[-1].from_, each.to)
        else:
            joined.append(each)
    return joined


def encode_age_clock(clock: AgeClock) -> dict[str, object]:
    """Return the clock as JSON values."""
    gone = clock.departure
    return {
        "at": rfc3339(clock.at),
        "low": rfc3339(clock.low),
        "since": rfc3339(clock.since),
        "boottime_s": clock.boottime_s,
        "boot_id": clock.boot_id,
        "slack_s": clock.slack_s,
        "departure": gone
        and {
            "ahead_s": gone.ahead.total_seconds(),
            "since": rfc3339(gone.since),
            "waited_s": gone.waited_s,
            "seen": gone.seen,
        },
        "misdated": [
            {
                "from": rfc3339(one.dates.from_),
                "to": rfc3339(one.dates.to),
                "ahead_s": one.ahead.total_seconds(),
            }
            for one in clock.misdated
        ],
    }


def decode_age_clock(content: Any) -> AgeClock:  # noqa: ANN401 - any JSON
    """Return the clock of JSON values.

    Raises:
        ValueError, KeyError, TypeError: they are none.
    """
    gone = content["departure"]
    return AgeClock(
        at=datetime.fromisoformat(content["at"]),
        low=datetime.fromisoformat(content["low"]),
        since=datetime.fromisoformat(content["since"]),
        boottime_s=float(content["boottime_s"]),
        boot_id=str(content["boot_id"]),
        slack_s=float(content["slack_s"]),
        departure=gone
        and Departure(
            ahead=timedelta(seconds=gone["ahead_s"]),
            since=datetime.fromisoformat(gone["since"]),
            waited_s=float(gone["waited_s"]),
            seen=bool(gone["seen"]),
        ),
        misdated=tuple(
            Misdated(
                dates=TimeRange(
                    datetime.fromisoformat(one["from"]), datetime.fromisoformat(one["to"])
                ),
                ahead=timedelta(seconds=one["ahead_s"]),
            )
            for one in content["misdated"]
        ),
    )
