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
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from streamwarden.clock import rfc3339
from streamwarden.model import Cause, LastSegment

_SEAM: Final = timedelta(milliseconds=500)
"""A hole between two segments up to this long is rounding, not a loss."""


_LATE: Final = timedelta(seconds=120)
"""A segment comes at most this late; gaps that ended longer ago are final."""


_REMEMBERED: Final = 32


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
    its seconds have been counted already.
    """

    id: UUID
    started_at: datetime
    ended_at: datetime | None
    cause: Cause
    retracted: bool = False
    remainder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedGap:
    """A gap that ended recently, so that a late segment can still be subtracted from it."""

    id: UUID
    started_at: datetime
    ended_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """State of one camera's ledger. ``covered_until`` is None while nothing is wanted."""

    covered_until: datetime | None = None
    gap: OpenGap | None = None
    closed: tuple[ClosedGap, ...] = ()


Step = tuple[Ledger, tuple[GapChange, ...]]


def wanted(ledger: Ledger, at: datetime) -> Step:
    """From ``at`` on every second counts; the first ones are missing while FFmpeg starts."""
    if ledger.covered_until is not None:
        return ledger, ()
    return _open(Ledger(covered_until=at), at, Cause.STARTING)


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
        return replace(ledger, gap=gap), (_change(gap),)
    before = _closed(replace(ledger, covered_until=at), gap, at)
    following, opened = _open(before, at, cause)
    return following, (_change(gap, ended_at=at), *opened)


def interrupted(ledger: Ledger, cause: Cause, since: datetime) -> Step:
    """The open segment, which covers the time up to ``since``, is not known to go on."""
    if ledger.covered_until is None or ledger.gap is not None:
        return lost(ledger, cause, since)
    return _open(ledger, max(since, ledger.covered_until), cause)


def stored(ledger: Ledger, started_at: datetime, ended_at: datetime) -> Step:
    """A segment is on disk: the gap before it is over."""
    covered_until = ledger.covered_until
    if covered_until is None:
        return ledger, ()
    ledger, changes = _subtract(ledger, started_at, ended_at)
    gap = ledger.gap
    following = replace(ledger, covered_until=max(covered_until, ended_at))
    if gap is None and started_at - covered_until > _SEAM:
        # Every loss opens a gap; a loss that nothing reported is a bug, and worth a row.
        missed = OpenGap(id=uuid4(), started_at=covered_until, cause=Cause.INTERNAL)
        following = _closed(following, missed, started_at)
        changes += (_change(missed, ended_at=started_at),)
    elif gap is not None and ended_at <= gap.started_at:
        following = ledger
    elif gap is not None and started_at <= gap.started_at:
        following = replace(following, gap=None)
        changes += (_change(gap, ended_at=gap.started_at, retracted=True),)
    elif gap is not None:
        following = _closed(following, gap, started_at)
        changes += (_change(gap, ended_at=started_at),)
    if following.covered_until is not None and following.closed:
        since = following.covered_until - _LATE
        closed = tuple(gap for gap in following.closed if gap.ended_at > since)
        following = replace(following, closed=closed)
    return following, changes


def _closed(ledger: Ledger, gap: OpenGap, at: datetime) -> Ledger:
    """Return the ledger once ``gap`` has ended, which is remembered for a while."""
    ended = ClosedGap(id=gap.id, started_at=gap.started_at, ended_at=at, cause=gap.cause)
    return replace(ledger, gap=None, closed=(*ledger.closed, ended)[-_REMEMBERED:])


def _subtract(ledger: Ledger, started_at: datetime, ended_at: datetime) -> Step:
    """Subtract a late segment from the gaps that were closed over it."""
    kept: list[ClosedGap] = []
    changes: list[GapChange] = []
    for gap in ledger.closed:
        if ended_at <= gap.started_at or started_at >= gap.ended_at:
            kept.append(gap)
            continue
        changes.append(_rewritten(gap, retracted=True))
        for begin, end in ((gap.started_at, started_at), (ended_at, gap.ended_at)):
            if begin < end:
                kept.append(replace(gap, id=uuid4(), started_at=begin, ended_at=end))
                changes.append(_rewritten(kept[-1], remainder=True))
    return replace(ledger, closed=tuple(kept)), tuple(changes)


def _rewritten(gap: ClosedGap, *, retracted: bool = False, remainder: bool = False) -> GapChange:
    return GapChange(
        id=gap.id,
        started_at=gap.started_at,
        ended_at=gap.started_at if retracted else gap.ended_at,
        cause=gap.cause,
        retracted=retracted,
        remainder=remainder,
    )


def clock_stepped(ledger: Ledger, started_at: datetime) -> Step:
    """The next segment starts at ``started_at`` by a clock that was set; nothing was lost."""
    if ledger.covered_until is None or ledger.gap is not None:
        return ledger, ()
    if started_at - ledger.covered_until <= _SEAM:
        return ledger, ()
    skipped = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=Cause.CLOCK_STEP)
    return replace(ledger, covered_until=started_at), (_change(skipped, ended_at=started_at),)


def unwanted(ledger: Ledger, at: datetime, *, missing: Cause = Cause.INTERNAL) -> Step:
    """From ``at`` on nothing is wanted; a hole before ``at`` has the cause ``missing``."""
    if ledger.covered_until is None:
        return ledger, ()
    gap = ledger.gap
    if gap is None and at - ledger.covered_until > _SEAM:
        gap = OpenGap(id=uuid4(), started_at=ledger.covered_until, cause=missing)
    if gap is None:
        return Ledger(), ()
    return Ledger(), (_change(gap, ended_at=max(at, gap.started_at)),)


def opened(gap: OpenGap) -> GapChange:
    """Return the change that opens ``gap``."""
    return _change(gap)


def _open(ledger: Ledger, started_at: datetime, cause: Cause) -> Step:
    gap = OpenGap(id=uuid4(), started_at=started_at, cause=cause)
    return replace(ledger, gap=gap), (_change(gap),)


def _change(
    gap: OpenGap, *, ended_at: datetime | None = None, retracted: bool = False
) -> GapChange:
    return GapChange(
        id=gap.id,
        started_at=gap.started_at,
        ended_at=ended_at,
        cause=gap.cause,
        retracted=retracted,
    )


def encode_ledger(ledger: Ledger, last: LastSegment | None) -> bytes:
    """Return the file's content."""
    gap = ledger.gap
    content = {
        "covered_until": ledger.covered_until and rfc3339(ledger.covered_until),
        "gap": gap
        and {"id": str(gap.id), "started_at": rfc3339(gap.started_at), "cause": gap.cause},
        "closed": [
            {
                "id": str(one.id),
                "started_at": rfc3339(one.started_at),
                "ended_at": rfc3339(one.ended_at),
                "cause": one.cause,
            }
            for one in ledger.closed
        ],
        "last_segment": last
        and {
            "started_at": rfc3339(last.started_at),
            "ended_at": rfc3339(last.ended_at),
            "bytes": last.size_bytes,
        },
    }
    return json.dumps(content).encode()


def decode_ledger(content: bytes) -> tuple[Ledger, LastSegment | None]:
    """Return the ledger and the newest segment that a file holds.

    Raises:
        ValueError: the content is no ledger.
    """
    try:
        return _parse_ledger(json.loads(content))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a ledger: {error}") from error


def _parse_closed(content: Any) -> ClosedGap:  # noqa: ANN401 - any JSON
    return ClosedGap(
        id=UUID(content["id"]),
        started_at=datetime.fromisoformat(content["started_at"]),
        ended_at=datetime.fromisoformat(content["ended_at"]),
        cause=Cause(content["cause"]),
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
    )
    return ledger, last and LastSegment(
        started_at=datetime.fromisoformat(last["started_at"]),
        ended_at=datetime.fromisoformat(last["ended_at"]),
        size_bytes=int(last["bytes"]),
    )
