"""The SegmentIndexer: the one writer of the index. It empties the journal into Postgres.

Rows wait in the journal, on disk, so neither a database that is away nor a failure of this actor
loses one; inserting is idempotent, so none comes twice.


One batch from the journal into Postgres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, cast
from uuid import UUID

import structlog

from streamwarden.model import Gap, Segment
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import RowsRefused
from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


_AGAIN_MIN_S: Final = 0.5


_AGAIN_MAX_S: Final = 10.0


_GATHER_S: Final = 1.0
"""After a batch, rows are gathered for as long: a transaction costs more than the rows in it."""


@dataclass(frozen=True, slots=True)
class RowsWaiting:
    """The journal has something new."""


@dataclass(frozen=True, slots=True)
class RowsWritten:
    """A batch is in Postgres (its size), or not (an exception)."""

    result: object


@dataclass(frozen=True, slots=True)
class WriteAgain:
    """The pause after a batch or a failure is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexerDeps:
    """What the indexer works with.

    ``write_batch`` blocks; it returns how many rows it wrote: fewer than ``batch_rows`` if that was
    all that waited.
    """

    write_batch: Callable[[], int]
    batch_rows: int
    on_append: Callable[[Callable[[], None]], None]
    workers: WorkerPool
    timers: Timers


class SegmentIndexer(SupervisedActor):
    """Writes one batch at a time, in the workers' thread; pauses while Postgres is away."""

    def __init__(self, *, link: Link, deps: IndexerDeps) -> None:
        super().__init__(link=link)
        self._deps = deps
        self._busy = False
        self._more = False
        self._paused = False
        self._stopping = False
        self._pause_s = 0.0

    def init(self) -> None:
        """Listen to the journal, and look at what an earlier life has left in it."""
        self._deps.on_append(lambda: self._tell_self(RowsWaiting()))
        self._tell_self(RowsWaiting())

    def shutting_down(self) -> None:
        """Write what waits, if Postgres takes it; the rest waits on disk for the next start."""
        self._stopping = True
        if not self._busy or self._paused:
            self._write()

    def receive(self, message: object) -> object:
        """Handle news of the journal and of the last batch."""
        match message:
            case RowsWaiting():
                self._more = True
                if not self._busy:
                    self._write()
            case RowsWritten(result):
                self._written(result)
            case WriteAgain():
                self._go_on()
            case _:
                return super().receive(message)
        return None

    def _go_on(self) -> None:
        if not self._paused:
            return  # an orderly stop did not wait for the pause's end
        if self._more:
            self._write()
        else:
            self._busy = self._paused = False

    def _write(self) -> None:
        self._busy = True
        self._paused = False
        self._more = False
        self._deps.workers.run(
            self._deps.write_batch, lambda result: self._tell_self(RowsWritten(result))
        )

    def _written(self, result: object) -> None:
        if self._stopping and (isinstance(result, Exception) or not result):
            self.finish()
        elif isinstance(result, Exception):
            self._pause_s = min(_AGAIN_MAX_S, max(_AGAIN_MIN_S, self._pause_s * 2))
            log.warning("index_not_written", error=str(result), again_in_s=self._pause_s)
            self._more = True
            self._pause(self._pause_s)
        else:
            self._pause_s = 0.0
            self._wrote(cast("int", result))

    def _wrote(self, rows: int) -> None:
        if self._stopping or rows >= self._deps.batch_rows:
            self._write()
        else:
            self._pause(_GATHER_S)

    def _pause(self, seconds: float) -> None:
        self._paused = True
        self._deps.timers.after(seconds, lambda: self._tell_self(WriteAgain()))


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
