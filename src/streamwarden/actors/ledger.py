"""The ledger of gaps: what was wanted and not recorded, as pure functions over a small state.

Segments and gaps together cover every wanted second. ``covered_until`` is how far they do; an open gap
reaches from there to the present. A gap is opened with what is known and its cause split where a new
one takes over; ``starting`` alone is renamed, for it was only a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from streamwarden.causes import Cause

_SEAM: Final = timedelta(milliseconds=500)
"""A hole between two segments up to this long is rounding, not a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGap:
    """A gap that has not ended."""

    id: UUID
    started_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """What is to be written of a gap; ``void`` when segments turned out to cover it."""

    id: UUID
    started_at: datetime
    ended_at: datetime | None
    cause: Cause
    void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Where one camera's record stands. ``covered_until`` is None while nothing is wanted."""

    covered_until: datetime | None = None
    gap: OpenGap | None = None


Step = tuple[Ledger, tuple[GapChange, ...]]


def wanted(ledger: Ledger, at: datetime) -> Step:
    """From ``at`` on every second counts; the first ones are missing while FFmpeg starts."""
    if ledger.covered_until is not None:
        return ledger, ()
    return _open(Ledger(covered_until=at), at, Cause.STARTING)


def resumed(ledger: Ledger, *, alive_until: datetime | None, at: datetime) -> Step:
    """The server has come back: what is missing since it was last alive was its own doing."""
    if ledger.covered_until is None:
        return wanted(ledger, at)
    if ledger.gap is None:
        return _open(ledger, ledger.covered_until, Cause.SERVER_DOWN)
    if ledger.gap.cause in {Cause.SERVER_DOWN, Cause.SHUTDOWN} or alive_until is None:
        return ledger, ()
    return lost(ledger, Cause.SERVER_DOWN, max(alive_until, ledger.gap.started_at))


def lost(ledger: Ledger, cause: Cause, at: datetime) -> Step:
    """Recording has stopped, or still does not begin, for ``cause``."""
    gap = ledger.gap
    if ledger.covered_until is None or (gap is not None and gap.cause is cause):
        return ledger, ()
    if gap is None:
        return _open(ledger, ledger.covered_until, cause)
    if gap.cause is Cause.STARTING or at <= gap.started_at:
        gap = replace(gap, cause=cause)
        return replace(ledger, gap=gap), (_change(gap),)
    following, opened = _open(replace(ledger, covered_until=at, gap=None), at, cause)
    return following, (_change(gap, ended_at=at), *opened)


def stored(ledger: Ledger, started_at: datetime, ended_at: datetime) -> Step:
    """A segment is on disk: the gap before it is over."""
    if ledger.covered_until is None:
        return ledger, ()
    covered_until = max(ledger.covered_until, ended_at)
    gap = ledger.gap
    if gap is not None:
        if ended_at <= gap.started_at:
            return ledger, ()
        void = started_at <= gap.started_at
        end = gap.started_at if void else started_at
        closed = _change(gap, ended_at=end, void=void)
        return Ledger(covered_until=covered_until), (closed,)
    hole: tuple[GapChange, ...] = ()
    if started_at - ledger.covered_until > _SEAM:
        # Every loss opens a gap; this one was not seen by anybody, which is a defect worth a row.
        missed = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=Cause.INTERNAL)
        hole = (_change(missed, ended_at=started_at),)
    return Ledger(covered_until=covered_until), hole


def clock_stepped(ledger: Ledger, started_at: datetime) -> Step:
    """The next segment starts at ``started_at`` by a clock that was set; nothing was lost."""
    if ledger.covered_until is None or ledger.gap is not None:
        return ledger, ()
    if started_at - ledger.covered_until <= _SEAM:
        return ledger, ()
    skipped = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=Cause.CLOCK_STEP)
    return Ledger(covered_until=started_at), (_change(skipped, ended_at=started_at),)


def unwanted(ledger: Ledger, at: datetime, *, missing: Cause = Cause.INTERNAL) -> Step:
    """From ``at`` on nothing is wanted; what the last segment lacks up to there is ``missing``."""
    if ledger.covered_until is None:
        return ledger, ()
    gap = ledger.gap
    if gap is None and at - ledger.covered_until > _SEAM:
        gap = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=missing)
    if gap is None:
        return Ledger(), ()
    return Ledger(), (_change(gap, ended_at=max(at, gap.started_at)),)


def opened(gap: OpenGap) -> GapChange:
    """Return what is to be known of a gap that is open."""
    return _change(gap)


def _open(ledger: Ledger, started_at: datetime, cause: Cause) -> Step:
    gap = OpenGap(id=uuid4(), started_at=started_at, cause=cause)
    return replace(ledger, gap=gap), (_change(gap),)


def _change(gap: OpenGap, *, ended_at: datetime | None = None, void: bool = False) -> GapChange:
    return GapChange(
        id=gap.id, started_at=gap.started_at, ended_at=ended_at, cause=gap.cause, void=void
    )
