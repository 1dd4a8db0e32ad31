"""One batch from the journal into Postgres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog

from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import RowsRefused
from streamwarden.storage.rows import Gap, Segment

log = structlog.get_logger(__name__)

R = TypeVar("R", Segment, Gap)

BATCH: Final = 1000


class Segments(Protocol):
    """The table of segments."""

    def insert_many(self, rows: Sequence[Segment]) -> int:
        """Insert rows that are not there yet."""


class Gaps(Protocol):
    """The table of gaps."""

    def upsert_many(self, rows: Sequence[Gap]) -> int:
        """Insert or change rows."""

    def remove(self, gap_id: UUID) -> bool:
        """Remove a gap that turned out to be none."""


class IndexWriter:
    """Takes the journal's first rows to Postgres, and drops them once they are there."""

    def __init__(self, *, journal: Journal, segments: Segments, gaps: Gaps) -> None:
        self._journal = journal
        self._segments = segments
        self._gaps = gaps

    def write_batch(self) -> int:
        """Write one batch; return how many rows it had.

        Raises:
            Unavailable: Postgres is away; the rows stay where they are, as after every other error
                that does not say of a row that it can never be stored.
        """
        batch = self._journal.take(BATCH)
        _write(
            [row for row in batch.entries if isinstance(row, Segment)], self._segments.insert_many
        )
        gaps = [row for row in batch.entries if isinstance(row, Gap)]
        _write(gaps, self._gaps.upsert_many)
        for gap in gaps:
            if gap.ended_at == gap.started_at:
                # Segments turned out to cover it.
                self._gaps.remove(gap.id)
        self._journal.done(batch)
        return batch.lines + batch.refused


def _write(rows: list[R], write: Callable[[Sequence[R]], int]) -> None:
    if not rows:
        return
    try:
        write(rows)
    except RowsRefused as error:
        if len(rows) == 1:
            # One row that Postgres refuses must not hold up all that come after it. Its file stays
            # where it is, and `recordings reconcile` finds it.
            row = rows[0]
            log.warning(
                "row_refused", row_id=str(row.id), camera=str(row.camera_id), error=str(error)
            )
            return
        middle = len(rows) // 2
        _write(rows[:middle], write)
        _write(rows[middle:], write)
