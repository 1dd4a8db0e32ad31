"""The ledger of gaps across a clock that was set, as pure functions.

A run dates its segments by the clock that it was started with, so the change is known exactly: the wall
clock minus the monotonic clock, before and after. The ledger goes on by the new clock from the same
moment. A step forward skips seconds, which the cause ``clock_step`` accounts for. A step back takes away
what the ledger assumed of the time that has not come yet: a step forward that is undone, an outage whose
end was dated by a wrong clock. What was recorded keeps its dates.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from streamwarden.clock import ClockLine
from streamwarden.model import Cause, TimeRange
from streamwarden.recordings.gap_ledger import (
    SEAM,
    ClockEntry,
    ClockHistory,
    ClosedGap,
    GapChange,
    Ledger,
    OpenGap,
    Step,
    change_of,
)

NOISE_S: Final = 0.2
"""Two readings of the same clock differ by less, also on a busy machine."""

_REMEMBERED: Final = 8

_DOWN: Final = frozenset({Cause.SERVER_DOWN, Cause.SHUTDOWN})


def dated_by(ledger: Ledger, line: ClockLine, at: datetime) -> Step:
    """Go on by the clock ``line`` from ``at`` on, a time of that clock. Noise changes nothing."""
    if ledger.covered_until is None:
        return ledger, ()
    by = _ahead(line, ledger.clock)
    if by is not None and _is_noise(by):
        return ledger, ()
    known = _known(ledger, line)
    return (known, ()) if by is None else clock_set(known, by=by, at=at)


def restarted_by(
    ledger: Ledger, line: ClockLine, at: datetime, *, alive_until: datetime | None
) -> Step:
    """Go on by ``line`` after a start of the server, which has opened a gap for the time before ``at``.

    Within one boot the change of the clock is known. After another boot it is not: a clock that shows
    less than what is accounted for is behind, and how long the server was down is not known yet.
    """
    gap = ledger.gap
    if _ahead(line, ledger.clock) is not None:
        restarted = ledger.clock.restarted and ledger.clock.reach is not None
        clock = replace(ledger.clock, restarted=restarted)
        return dated_by(replace(ledger, clock=clock), line, at)
    known = _known(ledger, line)
    known = replace(known, clock=replace(known.clock, restarted=True))
    if gap is None or gap.started_at <= at:
        return known, ()
    until = max(gap.started_at, alive_until or gap.started_at)
    reach = until if known.clock.reach is None else max(known.clock.reach, until)
    clock = replace(known.clock, since=at, reach=reach)
    following, opened = _reopened(replace(known, gap=None, closed=(), clock=clock), gap, at)
    return following, (_ended(gap, until, clock), opened)


def in_ledgers_time(ledger: Ledger, line: ClockLine, at: datetime) -> datetime:
    """Convert a time of an earlier clock to the clock that the ledger goes by. Noise changes nothing."""
    ahead = _ahead(line, ledger.clock)
    return at if ahead is None or _is_noise(ahead) else at - ahead


def _ahead(line: ClockLine, clock: ClockHistory) -> timedelta | None:
    """Return by how much ``line`` is ahead of a ledger's clock; None where they cannot be compared."""
    if clock.offset_s is None or clock.boot_id != line.boot_id:
        return None
    return timedelta(milliseconds=round(1000 * (line.offset_s - clock.offset_s)))


def _is_noise(ahead: timedelta) -> bool:
    return abs(ahead.total_seconds()) <= NOISE_S


def _known(ledger: Ledger, line: ClockLine) -> Ledger:
    clock = replace(ledger.clock, boot_id=line.boot_id, offset_s=line.offset_s)
    return replace(ledger, clock=clock)


def clock_set(ledger: Ledger, *, by: timedelta, at: datetime) -> Step:
    """The clock was set by ``by`` and now shows ``at``; what was lost stays lost where it was.

    How long the server was down is dated by the clock that it started with, hence not at all once that
    clock is set: after a boot the gap of that time stays open from where it began.
    """
    gap, clock = ledger.gap, ledger.clock
    if ledger.covered_until is None:
        return ledger, ()
    if gap is not None and gap.cause in _DOWN and clock.restarted:
        began = gap.started_at
        if clock.since == began and clock.reach is not None:
            began = clock.reach if clock.reach <= at else began
        if began <= at:
            return _down_since(ledger, gap, began)
    if by > timedelta():
        until = ledger.covered_until if gap is None else max(gap.started_at, at - by)
        return _set_forward(ledger, until, until + by)
    until = ledger.covered_until if gap is None else gap.started_at
    return _set_back(ledger, until, by)


def _down_since(ledger: Ledger, gap: OpenGap, began: datetime) -> Step:
    if began == gap.started_at:
        return ledger, ()
    known = replace(ledger, gap=None, covered_until=began)
    following, opened = _reopened(known, gap, began)
    return following, (_ended(gap, gap.started_at, ledger.clock), opened)


def _set_forward(ledger: Ledger, until: datetime, now: datetime) -> Step:
    """Account for the seconds from ``until`` to ``now`` that the clock skipped.

    What an earlier clock has accounted for is not entered again. A clock that was behind from a start of
    the server on recorded its first seconds under other dates; before them the server was down.
    """
    gap, clock = ledger.gap, ledger.clock
    changes: list[GapChange] = [] if gap is None else [_ended(gap, until, clock)]
    begun = until if clock.reach is None else max(until, clock.reach)
    skipped: list[ClosedGap] = []
    if now - begun > SEAM:
        split = begun
        if (
            clock.restarted
            and clock.since is not None
            and clock.reach is not None
            and begun > until
        ):
            split = max(begun, now - (until - clock.since))
        skipped = [
            ClosedGap(id=uuid4(), started_at=from_, ended_at=to, cause=cause)
            for from_, to, cause in (
                (begun, split, Cause.SERVER_DOWN),
                (split, now, Cause.CLOCK_STEP),
            )
            if from_ < to
        ]
    clock = replace(
        clock,
        since=now,
        restarted=False,
        reach=None if clock.reach is None or clock.reach <= now else clock.reach,
        entries=(
            *(replace(entry, began=entry.began + (now - until)) for entry in clock.entries),
            *_entries_of(skipped),
        )[-_REMEMBERED:],
        twice=tuple(both for both in clock.twice if both.to > now),
    )
    changes += [_entered(one, clock) for one in skipped]
    following = replace(ledger, covered_until=now, gap=None, closed=(), clock=clock)
    if gap is None:
        return following, tuple(changes)
    following, opened = _reopened(following, gap, now)
    return following, (*changes, replace(opened, continues=None))


def _set_back(ledger: Ledger, until: datetime, by: timedelta) -> Step:
    """Go back by ``by``: from now on the seconds before ``until`` come a second time.

    What was assumed of the time that has not come yet is taken back, where the step explains it: the
    seconds that a step forward had skipped, and the end of an outage that a wrong clock had dated.
    """
    gap, clock, now = ledger.gap, ledger.clock, until + by
    since = clock.since or now
    twice = clock.twice
    if max(since, now) < until:
        twice = (*twice, TimeRange(max(since, now), until))[-_REMEMBERED:]
    clock = replace(clock, twice=twice)
    changes: list[GapChange] = []
    reach = until if clock.reach is None else max(clock.reach, until)
    kept: list[ClockEntry] = []
    for entry in clock.entries:
        moved = replace(entry, began=entry.began + by)
        if not entry.gap.started_at - SEAM <= moved.began < entry.gap.ended_at:
            kept.append(moved)
            continue
        reach = max(now, min(reach, entry.gap.started_at))
        rests = _taken_back(moved, now)
        changes.append(_entered(entry.gap, clock, retracted=True))
        changes += [replace(_entered(rest, clock), remainder=True) for rest in rests]
        kept += _entries_of(rests)
    clock = replace(
        clock,
        since=now,
        restarted=False,
        reach=reach if reach > now else None,
        entries=tuple(kept),
    )
    following = replace(ledger, covered_until=now, gap=None, closed=(), clock=clock)
    if gap is None:
        return following, tuple(changes)
    following, opened = _reopened(following, gap, now)
    return following, (*changes, _ended(gap, gap.started_at, clock), opened)


def _entries_of(gaps: list[ClosedGap]) -> list[ClockEntry]:
    """Return what a later step may take back; an outage that a step has dated is known by now."""
    skipped = [gap for gap in gaps if gap.cause is Cause.CLOCK_STEP]
    return [ClockEntry(gap=gap, began=gap.ended_at) for gap in skipped]


def _taken_back(entry: ClockEntry, now: datetime) -> list[ClosedGap]:
    """Return what is left of a gap: up to where its clock began, and the footage with other dates."""
    gap = entry.gap
    split = max(gap.started_at, min(entry.began, now))
    parts = (
        (gap.started_at, split, gap.cause),
        (split, min(now, gap.ended_at), Cause.CLOCK_STEP),
    )
    return [
        ClosedGap(id=uuid4(), started_at=from_, ended_at=to, cause=cause)
        for from_, to, cause in parts
        if from_ < to
    ]


def _reopened(ledger: Ledger, gap: OpenGap, at: datetime) -> tuple[Ledger, GapChange]:
    cause = gap.cause
    again = OpenGap(id=uuid4(), started_at=at, cause=cause)
    opened = replace(change_of(again, clock=ledger.clock), continues=gap.id)
    return replace(ledger, covered_until=at, gap=again), opened


def _ended(gap: OpenGap, at: datetime, clock: ClockHistory) -> GapChange:
    return change_of(gap, ended_at=at, retracted=at <= gap.started_at, clock=clock)


def _entered(gap: ClosedGap, clock: ClockHistory, *, retracted: bool = False) -> GapChange:
    return change_of(
        OpenGap(id=gap.id, started_at=gap.started_at, cause=gap.cause),
        ended_at=gap.started_at if retracted else gap.ended_at,
        retracted=retracted,
        clock=clock,
    )
