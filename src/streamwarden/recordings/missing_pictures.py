"""Gaps inside stored segments: times in which a run recorded, and no pictures came.

Such a gap is closed when it is entered. What another run recorded meanwhile is not missing, and a hole
that two runs have is one gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from streamwarden.model import Cause, TimeRange
from streamwarden.recordings.gap_ledger import ClosedGap, GapChange, Ledger, OpenGap, Step
from streamwarden.recordings.time_ranges import holes

_REMEMBERED: Final = 64
_END: Final = datetime.max.replace(tzinfo=UTC)


def missing_inside(
    ledger: Ledger,
    missing: Iterable[TimeRange],
    *,
    recorded: Iterable[TimeRange],
    reported: OpenGap | None = None,
) -> Step:
    """Enter the times ``missing`` in a stored segment, but for what other runs have ``recorded``.

    ``reported`` is a gap that was open until the segment turned out to go on: what is missing since then
    has its cause, and is counted already.
    """
    if ledger.covered_until is None:
        return ledger, ()
    known = [*recorded, *(TimeRange(gap.started_at, gap.ended_at) for gap in ledger.closed)]
    if ledger.gap is not None:
        known.append(TimeRange(ledger.gap.started_at, _END))
    gaps = []
    changes = []
    for hole in holes(missing, known):
        since = reported is not None and hole.to > reported.started_at
        cause = reported.cause if reported is not None and since else Cause.PICTURES_MISSING
        gap = ClosedGap(id=uuid4(), started_at=hole.from_, ended_at=hole.to, cause=cause)
        gaps.append(gap)
        changes.append(
            GapChange(
                id=gap.id,
                started_at=gap.started_at,
                ended_at=gap.ended_at,
                cause=cause,
                remainder=since,
            )
        )
    return replace(ledger, closed=(*ledger.closed, *gaps)[-_REMEMBERED:]), tuple(changes)
