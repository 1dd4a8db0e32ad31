"""The ledger of gaps: what was wanted and not recorded, as pure functions over a small state.

Segments and gaps together cover every wanted second. ``covered_until`` is how far they do; an open gap
reaches from there to the present. A gap opens with the cause that is known; where another cause takes
over, it is split. ``starting`` alone is renamed, for it was only a guess.

In a make-before-break the old run ends last. Its final segment may then fall into a gap that is already
closed; the segment is subtracted from that gap.

On disk the ledger is a small JSON file (``.live/ledger.json``), replaced as a whole, with the newest
segment beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from streamwarden.clock import rfc3339
from streamwarden.model import Cause, LastSegment, TimeRange

LEDGER: Final = "ledger.json"
"""The file's name, in a camera's ``.live``."""

SEAM: Final = timedelta(milliseconds=500)
"""A hole between two segments up to this long is rounding, not a loss."""


_LATE: Final = timedelta(seconds=120)
"""A segment comes at most this late; gaps that ended longer ago are final."""


_REMEMBERED: Final = 32

_ENTRIES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGap:
    """A gap that has not ended."""

    id: UUID
    started_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """A change of one gap, to be written to the index.

    ``retracted``: segments turned out to cover it. ``remainder``: what was left of a retracted gap, so
    its seconds have been counted already. ``clock_set``: the clock was set back over it, so it may also
    be recorded, under the former time. ``continues`` is the retracted gap that goes on as this one.
    """

    id: UUID
    started_at: datetime
    ended_at: datetime | None
    cause: Cause
    retracted: bool = False
    remainder: bool = False
    clock_set: bool = False
    continues: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedGap:
    """A gap that ended recently, so that a late segment can still be subtracted from it."""

    id: UUID
    started_at: datetime
    ended_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockEntry:
    """A gap that ended where a clock began; ``began`` is that moment by the present clock."""

    gap: ClosedGap
    began: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockHistory:
    """The clock by which a ledger dates, and what it has dated by others; see ``ledger_clock``.

    ``offset_s`` is the wall clock minus the monotonic clock of the boot ``boot_id``. ``since`` is when the
    present clock began, ``restarted`` whether with a boot whose clock nothing has confirmed. ``reach`` is
    how far the time is accounted for by any clock. ``entries`` are wrong if the clock was with which they
    ended. ``twice`` are times that exist twice, since the clock was set back over them.
    """

    boot_id: str = ""
    offset_s: float | None = None
    since: datetime | None = None
    restarted: bool = False
    reach: datetime | None = None
    entries: tuple[ClockEntry, ...] = ()
    twice: tuple[TimeRange, ...] = ()


_ONE_CLOCK: Final = ClockHistory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """State of one camera's ledger. ``covered_until`` is None while nothing is wanted."""

    covered_until: datetime | None = None
    gap: OpenGap | None = None
    closed: tuple[ClosedGap, ...] = ()
    clock: ClockHistory = _ONE_CLOCK


Step = tuple[Ledger, tuple[GapChange, ...]]


def wanted(ledger: Ledger, at: datetime) -> Step:
    """From ``at`` on every second counts; the first ones are missing while FFmpeg starts."""
    if ledger.covered_until is not None:
        return ledger, ()
    return _open(replace(ledger, covered_until=at), at, Cause.STARTING)


def resumed(ledger: Ledger, *, alive_until: datetime | None, at: datetime) -> Step:
    """The server has restarted: what is missing since it was last alive has the cause server_down."""
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
        return replace(ledger, gap=gap), (change_of(gap, clock=ledger.clock),)
    before = _closed(replace(ledger, covered_until=at), gap, at)
    following, opened = _open(before, at, cause)
    return following, (change_of(gap, ended_at=at, clock=ledger.clock), *opened)


def interrupted(ledger: Ledger, cause: Cause, since: datetime) -> Step:
    """The open segment, which covers the time up to ``since``, is not known to go on."""
    if ledger.covered_until is None or ledger.gap is not None:
        return lost(ledger, cause, since)
    return _open(ledger, max(since, ledger.covered_until), cause)


def stored(
    ledger: Ledger,
    started_at: datetime,
    ended_at: datetime,
    *,
    pictures: Sequence[TimeRange] = (),
    missed: Cause = Cause.INTERNAL,
) -> Step:
    """A segment is on disk: the gap before it is over.

    ``pictures`` are the parts of it with pictures, all of it where there are none. ``missed`` is the cause
    of a loss before it that nothing has reported.
    """
    changes: tuple[GapChange, ...] = ()
    for part in pictures or (TimeRange(started_at, ended_at),):
        ledger, taken = subtracted(ledger, part.from_, part.to)
        changes += taken
    covered_until, gap = ledger.covered_until, ledger.gap
    if covered_until is None:
        return ledger, changes
    following = replace(ledger, covered_until=max(covered_until, ended_at))
    if gap is None and started_at - covered_until > SEAM:
        # Every loss of a run opens a gap; any other loss that nothing reported is a bug, and worth a row.
        before = OpenGap(id=uuid4(), started_at=covered_until, cause=missed)
        following = _closed(following, before, started_at)
        changes += (change_of(before, ended_at=started_at, clock=ledger.clock),)
    elif gap is not None and ended_at <= gap.started_at:
        pass  # it waited for the disk while the gap after it was open already
    elif gap is not None and started_at <= gap.started_at:
        following = replace(following, gap=None)
        changes += (change_of(gap, ended_at=gap.started_at, retracted=True),)
    elif gap is not None:
        following = _closed(following, gap, started_at)
        changes += (change_of(gap, ended_at=started_at, clock=ledger.clock),)
    if following.covered_until is not None and following.closed:
        since = following.covered_until - _LATE
        closed = tuple(gap for gap in following.closed if gap.ended_at > since)
        following = replace(following, closed=closed)
    return following, changes


def vanished(ledger: Ledger, ended_at: datetime, cause: Cause) -> Step:
    """A segment up to ``ended_at`` will never be stored: its time is missing for ``cause``."""
    covered_until, gap = ledger.covered_until, ledger.gap
    if covered_until is None:
        return ledger, ()
    until = ended_at if gap is None else min(ended_at, gap.started_at)
    if until <= covered_until:
        return ledger, ()  # the open gap reaches back over it
    missed = OpenGap(id=uuid4(), started_at=covered_until, cause=cause)
    following = _closed(replace(ledger, covered_until=until), missed, until)
    return replace(following, gap=gap), (change_of(missed, ended_at=until, clock=ledger.clock),)


def _closed(ledger: Ledger, gap: OpenGap, at: datetime) -> Ledger:
    """Return the ledger once ``gap`` has ended, which is remembered for a while."""
    ended = _ended(gap, at)
    if gap.cause in {Cause.SERVER_DOWN, Cause.SHUTDOWN} and ledger.clock.restarted:
        # Its end is by the clock that the server started with, which may turn out to be wrong.
        entry = ClockEntry(gap=ended, began=at)
        entries = (*ledger.clock.entries, entry)[-_ENTRIES:]
        clock = replace(ledger.clock, since=at, entries=entries)
        ledger = replace(ledger, clock=clock)
    return _remembering(ledger, ended)


def _ended(gap: OpenGap, at: datetime) -> ClosedGap:
    return ClosedGap(id=gap.id, started_at=gap.started_at, ended_at=at, cause=gap.cause)


def _remembering(ledger: Ledger, ended: ClosedGap) -> Ledger:
    return replace(ledger, gap=None, closed=(*ledger.closed, ended)[-_REMEMBERED:])


def subtracted(
    ledger: Ledger, started_at: datetime, ended_at: datetime, *, only: Cause | None = None
) -> Step:
    """Subtract a segment from the gaps that were closed over it, and from seconds that were skipped.

    ``only`` from those with this cause, where it is given.
    """
    kept: list[ClosedGap] = []
    entries: list[ClockEntry] = []
    changes: list[GapChange] = []
    for gap in ledger.closed:
        if only is not None and gap.cause is not only:
            kept.append(gap)
            continue
        rests, changed = _without(gap, started_at, ended_at)
        kept += rests
        changes += changed
    gone = {change.id for change in changes if change.retracted}
    for entry in ledger.clock.entries:
        if entry.gap.cause is not Cause.CLOCK_STEP or only not in {None, Cause.CLOCK_STEP}:
            entries += [entry] if entry.gap.id not in gone else []
            continue
        rests, changed = _without(entry.gap, started_at, ended_at)
        entries += [replace(entry, gap=rest) for rest in rests]
        changes += changed
    if not changes:
        return ledger, ()
    clock = replace(ledger.clock, entries=tuple(entries)[-_ENTRIES:])
    return replace(ledger, closed=tuple(kept), clock=clock), tuple(changes)


def _without(
    gap: ClosedGap, started_at: datetime, ended_at: datetime
) -> tuple[list[ClosedGap], list[GapChange]]:
    if ended_at <= gap.started_at or started_at >= gap.ended_at:
        return [gap], []
    rests = [
        replace(gap, id=uuid4(), started_at=begin, ended_at=end)
        for begin, end in ((gap.started_at, started_at), (ended_at, gap.ended_at))
        if begin < end
    ]
    changes = [_rewritten(rest, remainder=True) for rest in rests]
    return rests, [_rewritten(gap, retracted=True), *changes]


def _rewritten(gap: ClosedGap, *, retracted: bool = False, remainder: bool = False) -> GapChange:
    return GapChange(
        id=gap.id,
        started_at=gap.started_at,
        ended_at=gap.started_at if retracted else gap.ended_at,
        cause=gap.cause,
        retracted=retracted,
        remainder=remainder,
    )


def unwanted(ledger: Ledger, at: datetime, *, missing: Cause = Cause.INTERNAL) -> Step:
    """From ``at`` on nothing is wanted; a hole before ``at`` has the cause ``missing``."""
    if ledger.covered_until is None:
        return ledger, ()
    gap = ledger.gap
    if gap is None and at - ledger.covered_until > SEAM:
        gap = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=missing)
    # A tail that a killed FFmpeg has left may be stored only at the next start.
    following = replace(ledger, covered_until=None)
    if gap is None:
        return following, ()
    end = max(at, gap.started_at)
    change = change_of(gap, ended_at=end, clock=ledger.clock)
    return _remembering(following, _ended(gap, end)), (change,)


def opened(gap: OpenGap) -> GapChange:
    """Return the change that opens ``gap``."""
    return change_of(gap)


def _open(ledger: Ledger, started_at: datetime, cause: Cause) -> Step:
    gap = OpenGap(id=uuid4(), started_at=started_at, cause=cause)
    return replace(ledger, gap=gap), (change_of(gap, clock=ledger.clock),)


def change_of(
    gap: OpenGap,
    *,
    ended_at: datetime | None = None,
    retracted: bool = False,
    clock: ClockHistory = _ONE_CLOCK,
) -> GapChange:
    """Return the change that enters ``gap``, or ends or retracts it."""
    return GapChange(
        id=gap.id,
        started_at=gap.started_at,
        ended_at=ended_at,
        cause=gap.cause,
        retracted=retracted,
        clock_set=any(
            gap.started_at < both.to and (ended_at is None or ended_at > both.from_)
            for both in clock.twice
        ),
    )


def encode_ledger(ledger: Ledger, last: LastSegment | None) -> bytes:
    """Return the file's content."""
    gap = ledger.gap
    content = {
        "covered_until": ledger.covered_until and rfc3339(ledger.covered_until),
        "gap": gap
        and {"id": str(gap.id), "started_at": rfc3339(gap.started_at), "cause": gap.cause},
        "closed": [_closed_content(one) for one in ledger.closed],
        "clock": _clock_content(ledger.clock),
        "last_segment": last
        and {
            "started_at": rfc3339(last.started_at),
            "ended_at": rfc3339(last.ended_at),
            "bytes": last.size_bytes,
        },
    }
    return json.dumps(content).encode()


def _closed_content(gap: ClosedGap) -> dict[str, str]:
    return {
        "id": str(gap.id),
        "started_at": rfc3339(gap.started_at),
        "ended_at": rfc3339(gap.ended_at),
        "cause": gap.cause,
    }


def _clock_content(clock: ClockHistory) -> dict[str, object]:
    return {
        "boot_id": clock.boot_id,
        "offset_s": clock.offset_s,
        "since": clock.since and rfc3339(clock.since),
        "restarted": clock.restarted,
        "reach": clock.reach and rfc3339(clock.reach),
        "entries": [
            {**_closed_content(one.gap), "began": rfc3339(one.began)} for one in clock.entries
        ],
        "twice": [[rfc3339(one.from_), rfc3339(one.to)] for one in clock.twice],
    }


def decode_ledger(content: bytes) -> tuple[Ledger, LastSegment | None]:
    """Return the ledger and the newest segment that a file holds.

    Raises:
        ValueError: the content is no ledger.
    """
    try:
        return _parse_ledger(json.loads(content))
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a ledger: {error}") from error


def _parse_closed(content: Any) -> ClosedGap:  # noqa: ANN401 - any JSON
    return ClosedGap(
        id=UUID(content["id"]),
        started_at=datetime.fromisoformat(content["started_at"]),
        ended_at=datetime.fromisoformat(content["ended_at"]),
        cause=Cause(content["cause"]),
    )


def _parse_clock(content: Any) -> ClockHistory:  # noqa: ANN401 - any JSON
    offset_s, since, reach = content["offset_s"], content["since"], content["reach"]
    return ClockHistory(
        boot_id=str(content["boot_id"]),
        offset_s=None if offset_s is None else float(offset_s),
        since=datetime.fromisoformat(since) if since else None,
        restarted=bool(content["restarted"]),
        reach=datetime.fromisoformat(reach) if reach else None,
        entries=tuple(
            ClockEntry(gap=_parse_closed(one), began=datetime.fromisoformat(one["began"]))
            for one in content["entries"]
        ),
        twice=tuple(
            TimeRange(datetime.fromisoformat(from_), datetime.fromisoformat(to))
            for from_, to in content["twice"]
        ),
    )


def _parse_ledger(content: Any) -> tuple[Ledger, LastSegment | None]:  # noqa: ANN401 - any JSON
    gap, last, covered = content["gap"], content["last_segment"], content["covered_until"]
    ledger = Ledger(
        covered_until=datetime.fromisoformat(covered) if covered else None,
        gap=gap
        and OpenGap(
            id=UUID(gap["id"]),
            started_at=datetime.fromisoformat(gap["started_at"]),
            cause=Cause(gap["cause"]),
        ),
        # A file of an earlier version has none.
        closed=tuple(_parse_closed(one) for one in content.get("closed", ())),
        clock=_parse_clock(content["clock"]) if content.get("clock") else _ONE_CLOCK,
    )
    return ledger, last and LastSegment(
        started_at=datetime.fromisoformat(last["started_at"]),
        ended_at=datetime.fromisoformat(last["ended_at"]),
        size_bytes=int(last["bytes"]),
    )
