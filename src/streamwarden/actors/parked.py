"""What looks after a camera whose recorder is parked, or gone: it finishes what its runs have left.

Only the run of a parked child is stopped; what it still lists is stored, and the ledger says from when
on nothing is recorded. It does not settle or forget anything with the watching thread: the next
incarnation is told it all again, and storing is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import End, Finished
from streamwarden.actors.ports import CameraArchive, FinishedSegment
from streamwarden.clock import Clock
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger as book
from streamwarden.workers import SerialExecutor

log = structlog.get_logger(__name__)


class Caretaker:
    """A listener to a parked camera's runs. Callbacks come in the watching thread."""

    def __init__(
        self,
        *,
        camera_id: UUID,
        archive: CameraArchive,
        disk: SerialExecutor,
        meter: GapMeter,
        clock: Clock,
    ) -> None:
        self._camera_id = camera_id
        self._archive = archive
        self._disk = disk
        self._meter = meter
        self._clock = clock
        self._early: list[Callable[[], None]] | None = []
        self._runs: set[int] = set()

    def spawned(self, run: int, at: datetime) -> None:
        """A run lives; the watcher has been asked to stop it."""
        del at
        self._runs.add(run)

    def recording(self, run: int, at: datetime) -> None:
        """It still records: until it ends, that is kept."""

    def stalled(self, run: int, at: datetime) -> None:
        """It has stalled: it is being killed anyway."""

    def clock_stepped(self, run: int, by_s: float) -> None:
        """Its times go on by the old clock until it ends."""

    def overdue(self, run: int) -> None:
        """It is ended anyway."""

    def listed(self, run: int, segment: Finished) -> None:
        """Store a segment."""
        self._do(lambda: self._store(run, segment, torn=False))

    def ended(self, run: int, end: End) -> None:
        """Store the tail, and open the gap."""
        self._runs.add(run)
        tail = end.tail
        if tail is not None:
            self._do(lambda: self._store(run, tail, torn=True))
        self._do(self._parked)

    def adopted(self) -> None:
        """Everything known has been told: open the folder, then deal with it in order."""
        early, self._early = self._early or [], None
        self._do(self._open)
        for work in early:
            self._do(work)
        if not self._runs:
            self._do(self._parked)

    def _do(self, work: Callable[[], None]) -> None:
        if self._early is not None:
            self._early.append(work)
            return
        self._disk.run(work, self._done)

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            # The next incarnation, or the next start, finds the same files and tries again.
            log.error("caretaker_failed", camera=str(self._camera_id), error=str(result))

    def _open(self) -> None:
        self._archive.open(self._runs)

    def _store(self, run: int, segment: Finished, *, torn: bool) -> None:
        stored = self._archive.store(
            FinishedSegment(
                run=run,
                number=segment.number,
                started_at=segment.started_at,
                ended_at=segment.ended_at,
                torn=torn,
            )
        )
        if stored is not None:
            self._keep(book.stored(self._archive.books(), stored.started_at, stored.ended_at))

    def _parked(self) -> None:
        self._keep(book.lost(self._archive.books(), Cause.ACTOR_PARKED, self._clock.now()))

    def _keep(self, step: book.Step) -> None:
        # The books are read anew at each step: a user's stop may have closed them in between.
        ledger, changes = step
        for change in changes:
            self._meter.changed(self._camera_id, change)
        self._archive.note(ledger, changes)


def close_ledger(*, camera_id: UUID, archive: CameraArchive, meter: GapMeter, at: datetime) -> None:
    """End the account of a camera that is no longer wanted since ``at``. Blocking; idempotent."""
    # Not opened: a run may still be writing, and what it writes would be taken for a leftover.
    ledger = archive.books()
    if ledger.covered_until is None:
        return
    ledger, changes = book.unwanted(ledger, at)
    for change in changes:
        meter.changed(camera_id, change)
    archive.note(ledger, changes)
