"""What is said of a camera's time, in a seal or a proof: the entries that the index and the ledger make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from streamwarden.app.coverage import Span, holes
from streamwarden.evidence.entries import GapEntry, SegmentEntry, WantedEntry
from streamwarden.storage.rows import Gap, Period, Segment


def segment_entry(row: Segment) -> SegmentEntry:
    """Return what is said of a segment."""
    return SegmentEntry(
        path=row.path,
        started_at=row.started_at,
        ended_at=row.ended_at,
        media_ms=row.media_ms,
        size_bytes=row.size_bytes,
        digest=row.digest,
    )


def gap_entry(gap: Gap, *, still_open: datetime) -> GapEntry:
    """Return what is said of a gap; one that has no end yet reaches to ``still_open``."""
    ended_at = gap.ended_at or max(gap.started_at, still_open)
    return GapEntry(id=gap.id, started_at=gap.started_at, ended_at=ended_at, cause=gap.cause)


def wanted_spans(periods: Iterable[Period], since: datetime, before: datetime) -> list[Span]:
    """Return when recording was wanted from ``since`` to ``before``."""
    spans = [
        Span(max(period.started_at, since), min(period.ended_at or before, before))
        for period in periods
    ]
    return [span for span in spans if span.started_at < span.ended_at]


def wanted_entries(wanted: Iterable[Span], until: datetime) -> list[WantedEntry]:
    """Return when recording was wanted, up to ``until``."""
    return [
        WantedEntry(started_at=span.started_at, ended_at=min(span.ended_at, until))
        for span in wanted
        if span.started_at < until
    ]


def account_ends(wanted: Sequence[Span], known: Sequence[Span], before: datetime) -> datetime:
    """Return where the account ends: ``before``, or where what is still under way began."""
    missing = list(holes(wanted, known))
    if missing and missing[-1].ended_at == before:
        return missing[-1].started_at
    return before
