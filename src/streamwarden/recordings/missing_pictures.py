"""A stored segment in the ledger, with the gaps inside: times in which a run recorded and no pictures came.

Such a gap is closed when it is entered. What another run recorded meanwhile is not missing, and a hole
that two runs have is one gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from streamwarden.model import Cause, Segment, TimeRange
from streamwarden.recordings.gap_ledger import (
    ClosedGap,
    GapChange,
    Ledger,
    OpenGap,
    Step,
    stored,
    subtracted,
)
from streamwarden.recordings.time_ranges import holes

_REMEMBERED: Final = 64
_END: Final = datetime.max.replace(tzinfo=UTC)


def segment_stored(
    ledger: Ledger,
    row: Segment,
    *,
    dated: Segment | None = None,
    recorded: Iterable[TimeRange] = (),
    missed: Cause = Cause.INTERNAL,
) -> Step:
    """Enter the stored segment ``row``, and the times inside without pictures.

    ``dated`` is the same segment by the ledger's clock, where its run goes by an earlier one. ``recorded``
    and ``missed`` are those of ``missing_inside`` and of ``gap_ledger.stored``.
    """
    here = row if dated is None else dated
    before = ledger.gap
    ledger, changes = stored(
        ledger, here.started_at, here.ended_at, pictures=here.pictures, missed=missed
    )
    if here.missing:
        # A gap that the segment has retracted was opened while its file did not grow.
        reported = before if before and here.started_at <= before.started_at else None
        ledger, inside = missing_inside(ledger, here.missing, recorded=recorded, reported=reported)
        changes += inside
    if here.started_at != row.started_at:
        # What it covers by the earlier clock did exist; its holes by that clock are no loss of their own.
        for part in row.pictures:
            ledger, taken = subtracted(ledger, part.from_, part.to)
            changes += taken
    return ledger, changes


def missing_inside(
    ledger: Ledger,
    missing: Iterable[TimeRange],
    *,
    recorded: Iterable[TimeRange],
    reported: OpenGap | None = None,
) -> Step:
    """Enter the times ``missing`` in a stored segment, but for what other runs have ``recorded``.

    ``reported`` is a gap that was open until the segment turned out to go on: what is missing since then
    has its cause, and is counted already. So is what was entered without a known cause, before this
    segment of an earlier run explained it.
    """
    if ledger.covered_until is None:
        return ledger, ()
    explained = (gap for gap in ledger.closed if gap.cause is not Cause.INTERNAL)
    known = [*recorded, *(TimeRange(gap.started_at, gap.ended_at) for gap in explained)]
    if ledger.gap is not None:
        known.append(TimeRange(ledger.gap.started_at, _END))
    gaps: list[ClosedGap] = []
    changes: list[GapChange] = []
    for hole in holes(missing, known):
        since = reported is not None and hole.to > reported.started_at
        cause = reported.cause if reported is not None and since else Cause.PICTURES_MISSING
        ledger, taken = subtracted(ledger, hole.from_, hole.to, only=Cause.INTERNAL)
        changes += taken
        gap = ClosedGap(id=uuid4(), started_at=hole.from_, ended_at=hole.to, cause=cause)
        gaps.append(gap)
        changes.append(
            GapChange(
                id=gap.id,
                started_at=gap.started_at,
                ended_at=gap.ended_at,
                cause=cause,
                remainder=since or bool(taken),
            )
        )
    return replace(ledger, closed=(*ledger.closed, *gaps)[-_REMEMBERED:]), tuple(changes)
