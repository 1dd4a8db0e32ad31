"""One camera's account: whether rows, gaps and wishes tell the same of every second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from streamwarden.app.coverage import Span, holes, overlaps
from streamwarden.app.findings import Finding, Kind, Scope
from streamwarden.storage.rows import Gap, Period, Segment


class Account:
    """Rows, gaps and wishes of one camera side by side; ``going`` are rows marked for deletion."""

    def __init__(
        self,
        camera_id: UUID,
        rows: Sequence[Segment],
        gaps: Sequence[Gap],
        periods: Sequence[Period],
        scope: Scope,
        *,
        going: Sequence[Segment] = (),
    ) -> None:
        self._camera_id = camera_id
        self._starts = sorted(row.started_at for row in rows)
        self._gaps = gaps
        self._periods = periods
        self._scope = scope
        self._stored = [Span(row.started_at, row.ended_at) for row in rows]
        self._going = [Span(row.started_at, row.ended_at) for row in going]
        self._missing = [Span(gap.started_at, self._end_of(gap)) for gap in gaps]

    def findings(self, *, unfinished: bool) -> Iterator[Finding]:
        """Yield what does not fit; ``unfinished`` when more is on its way behind the newest row."""
        camera_id, known = self._camera_id, (*self._stored, *self._going, *self._missing)
        for hole in holes(self._wanted(unfinished=unfinished), known):
            yield _cover(Kind.SECOND_MISSING, camera_id, hole, "neither recorded nor in the ledger")
        for both in overlaps(self._stored, self._missing):
            yield _cover(Kind.SECOND_TWICE, camera_id, both, "recorded, and a gap in the ledger")
        for gap in self._gaps:
            if gap.ended_at is None and (why := self._why_not_open(gap)):
                yield Finding(
                    kind=Kind.GAP_LEFT_OPEN,
                    camera_id=camera_id,
                    started_at=gap.started_at,
                    ended_at=None,
                    detail=why,
                    gap=gap,
                )

    def _wanted(self, *, unfinished: bool) -> list[Span]:
        scope = self._scope
        newest = max(
            (span.ended_at for span in (*self._stored, *self._missing)), default=scope.from_
        )
        spans = []
        for period in self._periods:
            ended_at = period.ended_at or newest
            ended_at = min(ended_at, newest, scope.to) if unfinished else min(ended_at, scope.to)
            spans.append(Span(max(period.started_at, scope.from_), ended_at))
        return [span for span in spans if span.started_at < span.ended_at]

    def _after(self, gap: Gap) -> list[datetime]:
        return [started_at for started_at in self._starts if started_at >= gap.started_at]

    def _end_of(self, gap: Gap) -> datetime:
        """Return where a gap ends: one that is still open, where a segment follows it."""
        if gap.ended_at is not None:
            return gap.ended_at
        return min(self._after(gap), default=max(self._scope.to, gap.started_at))

    def _why_not_open(self, gap: Gap) -> str:
        """Return why the gap should have ended; empty while it may be open."""
        if not any(period.ended_at is None for period in self._periods):
            return "an open gap, though nothing is wanted"
        # The first segment after a gap is indexed a moment before the gap is closed.
        return "an open gap, though recording goes on" if len(self._after(gap)) > 1 else ""


def _cover(kind: Kind, camera_id: UUID, span: Span, detail: str) -> Finding:
    text = f"{span.length.total_seconds():.3f} s {detail}"
    return Finding(
        kind=kind,
        camera_id=camera_id,
        started_at=span.started_at,
        ended_at=span.ended_at,
        detail=text,
    )
