"""The SegmentIndexer: the one writer of the index. It empties the journal into Postgres.

Rows wait in the journal, on disk, so neither a database that is away nor a failure of this actor
loses one; inserting is idempotent, so none comes twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import structlog

from streamwarden.actors.ports import Scheduler, Workers
from streamwarden.supervision import Link, SupervisedActor, tell

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
    workers: Workers
    timers: Scheduler


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

    def _tell_self(self, message: object) -> None:
        # A late answer to an incarnation that has ended concerns nobody.
        tell(self.actor_ref, message)
