"""The SegmentIndexer: the one writer of the index. It empties the journal into Postgres.

Rows wait in the journal, on disk, so neither a database that is away nor a failure of this actor
loses one; inserting is idempotent, so none is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import structlog

from streamwarden.errors import in_full
from streamwarden.model import Gap, Segment
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import RowsRefused
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


R = TypeVar("R", Segment, Gap)

BATCH: Final = 1000
"""Rows in one transaction at most."""
_RETRY_MIN_S: Final = 0.5


_RETRY_MAX_S: Final = 10.0


_GATHER_S: Final = 1.0
"""After a batch, rows are gathered for as long: a transaction costs more than the rows in it."""


class IndexWriter:
    """Moves the journal's first rows into Postgres, and removes them once they are there. Blocking.

    A segment whose run and number the row of another file has is not indexed: ``on_taken`` counts it,
    ``recordings verify`` reports its file, and ``reconcile`` gives it a number of its own.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        segments: SegmentRepository,
        gaps: GapRepository,
        require_root: Callable[[], None] = lambda: None,
        on_taken: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._require_root = require_root
        self._on_taken = on_taken
        self._journal = journal
        self._segments = segments
        self._gaps = gaps

    def write_batch(self) -> int:
        """Write one batch; return how many rows it had.

        Raises:
            Unavailable: Postgres is unavailable; the rows stay where they are, as after every other error
                that does not say of a row that it can never be stored.
            RootNotKnown: the record root does not belong to this database, or another role writes it.
        """
        if not self._journal.waiting:
            return 0
        self._require_root()
        batch = self._journal.take(BATCH)
        _write([row for row in batch.entries if isinstance(row, Segment)], self._insert)
        gaps = [row for row in batch.entries if isinstance(row, Gap)]
        _write(gaps, self._gaps.upsert_many)
        for gap in gaps:
            if gap.ended_at == gap.started_at:
                # Segments turned out to cover it.
                self._gaps.remove(gap.id)
        self._journal.done(batch)
        return batch.lines + batch.refused

    def _insert(self, rows: Sequence[Segment]) -> int:
        written = self._segments.insert_many(rows)
        if written == len(rows):
            return written
        # Rows that were written before are left out in silence; a row of another file must not be.
        for row_id in self._segments.taken(rows):
            row = next(one for one in rows if one.id == row_id)
            log.error("segment_id_taken", camera=str(row.camera_id), run=row.run, path=row.path)
            self._on_taken(1)
        return written


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


@dataclass(frozen=True, slots=True)
class RowsWaiting:
    """The journal has something new."""


@dataclass(frozen=True, slots=True)
class RowsWritten:
    """A batch is in Postgres (its size), or not (an exception)."""

    result: object


@dataclass(frozen=True, slots=True)
class RetryWrite:
    """The pause after a batch or a failure is over."""


class SegmentIndexer(SupervisedActor):
    """Writes one batch at a time, in a worker; pauses while Postgres is unavailable."""

    def __init__(
        self,
        *,
        link: Link,
        journal: Journal,
        writer: IndexWriter,
        workers: WorkerPool,
        timers: Timers,
    ) -> None:
        super().__init__(link=link)
        self._journal = journal
        self._writer = writer
        self._workers = workers
        self._timers = timers
        self._busy = False
        self._more = False
        self._paused = False
        self._pause_s = 0.0

    def init(self) -> None:
        """Listen to the journal, and write what an earlier incarnation has left in it."""
        self._journal.tell(lambda: self._tell_self(RowsWaiting()))
        self._tell_self(RowsWaiting())

    def shutting_down(self) -> None:
        """Write what waits, if Postgres takes it; the rest waits on disk for the next start."""
        if not self._busy or self._paused:
            self._write()

    def receive(self, message: object) -> object:
        """Handle new rows in the journal, and the end of a batch or a pause."""
        match message:
            case RowsWaiting():
                self._more = True
                if not self._busy:
                    self._write()
            case RowsWritten(result):
                self._written(result)
            case RetryWrite():
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
        self._workers.run(
            self._writer.write_batch, lambda result: self._tell_self(RowsWritten(result))
        )

    def _written(self, result: object) -> None:
        if self.stopping and (isinstance(result, Exception) or not result):
            self.finish()
        elif isinstance(result, Exception):
            self._pause_s = min(_RETRY_MAX_S, max(_RETRY_MIN_S, self._pause_s * 2))
            log.warning("index_not_written", error=in_full(result), again_in_s=self._pause_s)
            self._more = True
            self._pause(self._pause_s)
        else:
            self._pause_s = 0.0
            self._wrote(cast("int", result))

    def _wrote(self, rows: int) -> None:
        if self.stopping or rows >= BATCH:
            self._write()
        else:
            self._pause(_GATHER_S)

    def _pause(self, seconds: float) -> None:
        self._paused = True
        self._timers.after(seconds, lambda: self._tell_self(RetryWrite()))
