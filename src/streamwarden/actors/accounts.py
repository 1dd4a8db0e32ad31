"""A recorder's book-keeping: segments stored one after the other, and the ledger kept with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from uuid import UUID

from streamwarden.actors import ledger as book
from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import LedgerNoted, SegmentStored
from streamwarden.actors.ports import CameraArchive, FinishedSegment, StoredSegment, Workers


class SegmentLine:
    """Finished segments waiting to be stored, oldest first, one under way at a time.

    In order, because the ledger takes a segment that comes before its elder for a hole.
    """

    def __init__(
        self, *, archive: CameraArchive, disk: Workers, tell: Callable[[object], None]
    ) -> None:
        self._archive = archive
        self._disk = disk
        self._tell = tell
        self._waiting: deque[FinishedSegment] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, segment: FinishedSegment) -> None:
        """Store ``segment`` when its elders are stored; ``SegmentStored`` follows."""
        if any((s.run, s.number) == (segment.run, segment.number) for s in self._waiting):
            return
        self._waiting.append(segment)
        if len(self._waiting) == 1:
            self.store_first()

    def store_first(self) -> None:
        """Store the first in line, for the first time or again."""
        if not self._waiting:
            return
        archive, segment = self._archive, self._waiting[0]
        self._disk.run(
            lambda: archive.store(segment), lambda result: self._tell(SegmentStored(result))
        )

    def pop(self) -> FinishedSegment:
        """Take the first out of line and begin with the next."""
        segment = self._waiting.popleft()
        self.store_first()
        return segment

    def clear(self) -> None:
        """Leave the rest in ``.live``: the next start stores it."""
        self._waiting.clear()

    def holds_up_to(self, run: int) -> bool:
        """Whether a segment of ``run``, or of an earlier one, is still in line."""
        return any(segment.run <= run for segment in self._waiting)


class Accounts:
    """The ledger of one camera; every step is written down and metered."""

    def __init__(
        self,
        *,
        camera_id: UUID,
        archive: CameraArchive,
        disk: Workers,
        meter: GapMeter,
        tell: Callable[[object], None],
    ) -> None:
        self._camera_id = camera_id
        self._archive = archive
        self._disk = disk
        self._meter = meter
        self._tell = tell
        self._stepped_run: int | None = None
        self.ledger = book.Ledger()

    def begin(self, ledger: book.Ledger) -> None:
        """Go on from what an earlier incarnation, or an earlier server, has left."""
        self.ledger = ledger
        if ledger.gap is not None:
            self._meter.changed(self._camera_id, book.opened(ledger.gap))

    def clock_set(self, run: int) -> None:
        """The clock was set during ``run``: the runs after it go by the new one."""
        self._stepped_run = run

    def stored(self, segment: StoredSegment, *, run: int) -> None:
        """A segment is on disk."""
        if self._stepped_run is not None and run > self._stepped_run:
            self._stepped_run = None
            self.keep(book.clock_stepped(self.ledger, segment.started_at))
        self.keep(book.stored(self.ledger, segment.started_at, segment.ended_at))

    def keep(self, step: book.Step, *, final: bool = False) -> None:
        """Take a step and write it down; ``LedgerNoted`` follows."""
        self.ledger, changes = step
        for change in changes:
            self._meter.changed(self._camera_id, change)
        archive, kept = self._archive, self.ledger
        self._disk.run(
            lambda: archive.note(kept, changes),
            lambda result: self._tell(LedgerNoted(final, result)),
        )
