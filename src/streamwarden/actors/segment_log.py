"""What a recorder's runs leave behind: segments stored in order, losses in the ledger, in that order.

A lost run's gap begins where the last thing recorded before it ends, so a loss is accounted for only
once everything that was recorded up to then is stored.


A recorder's book-keeping: segments stored one after the other, and the ledger kept with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import LedgerNoted, OpenTail, RunEnded, SegmentStored, StoreAgain
from streamwarden.actors.ports import (
    CameraArchive,
    CameraRuns,
    FinishedSegment,
    OpenedFolder,
    StoredSegment,
)
from streamwarden.actors.recorder_deps import RecorderDeps
from streamwarden.actors.runs import LiveRuns, Loss
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger as book
from streamwarden.workers import SerialExecutor


class SegmentLine:
    """Finished segments waiting to be stored, oldest first, one under way at a time.

    In order, because the ledger takes a segment that comes before its elder for a hole.
    """

    def __init__(
        self, *, archive: CameraArchive, disk: SerialExecutor, tell: Callable[[object], None]
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
        disk: SerialExecutor,
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


STORE_AGAIN_S: Final = 2.0


HOPELESS_AFTER: Final = 5
"""So often a segment is tried that fails for a reason which no disk has: a defect of ours."""


class Bookkeeping:
    """One incarnation's books. Used only in the recorder's thread; nothing in it blocks."""

    def __init__(
        self,
        *,
        camera_id: UUID,
        deps: RecorderDeps,
        live: LiveRuns,
        tell: Callable[[object], None],
    ) -> None:
        self._camera_id = camera_id
        self._deps = deps
        self._live = live
        self._tell = tell
        self._line = SegmentLine(archive=deps.archive, disk=deps.disk, tell=tell)
        self._accounts = Accounts(
            camera_id=camera_id,
            archive=deps.archive,
            disk=deps.disk,
            meter=deps.meter,
            tell=tell,
        )
        self._unsettled: dict[int, Loss | None] = {}
        self._missing_at_end = Cause.STALLED
        self._defects = 0

    @property
    def waiting(self) -> int:
        """How many segments are not yet stored."""
        return len(self._line)

    def adopt(self, runs: CameraRuns) -> None:
        """Settle and forget with ``runs`` from now on."""
        self._runs = runs

    def take_over(self, opened: OpenedFolder, *, wanted_at: datetime) -> None:
        """Go on from what the folder says."""
        ledger = opened.ledger
        if opened.rebuilt and ledger.covered_until is not None and ledger.covered_until < wanted_at:
            # What was stored before this wish says nothing of it.
            ledger = book.Ledger()
        self._accounts.begin(ledger)
        if opened.first_time or ledger.covered_until is None:
            step = book.resumed(ledger, alive_until=opened.alive_until, at=wanted_at)
            self._accounts.keep(step)

    def close(self, *, now: datetime, unwanted_at: datetime | None) -> None:
        """Write the last word; a final ``LedgerNoted`` follows."""
        ledger = self._accounts.ledger
        if unwanted_at is not None:
            step = book.unwanted(ledger, unwanted_at, missing=self._missing_at_end)
        else:
            step = book.lost(ledger, Cause.SHUTDOWN, now)
        self._accounts.keep(step, final=True)

    # Segments

    def listed(self, segment: FinishedSegment) -> None:
        """Store a segment after its elders; ``SegmentStored`` follows."""
        self._line.add(segment)

    def store_again(self) -> None:
        """Try the first segment in line once more."""
        self._line.store_first()

    def stored(self, result: StoredSegment | None) -> FinishedSegment:
        """Account for the first segment in line (None: it held nothing), and return it."""
        self._defects = 0
        segment = self._line.pop()
        if result is not None:
            self._accounts.stored(result, run=segment.run)
        # Only now: should this incarnation fail before, the next one is told of the segment again.
        self._runs.settled(segment.run, segment.number)
        self._settle()
        return segment

    def hopeless(self, cause: Cause) -> bool:
        """Whether the first in line has failed for no reason of the disk's often enough.

        It stays in ``.live``, where the next start looks at it anew; its successors go on.
        """
        if cause is not Cause.INTERNAL:
            return False
        self._defects += 1
        return self._defects >= HOPELESS_AFTER

    def not_stored(self, cause: Cause, *, stopping: bool) -> None:
        """The disk has refused the first segment in line: try again soon, but end in time."""
        if stopping:
            self._line.clear()
            self._missing_at_end = cause
            self._settle()
        else:
            self._deps.timers.after(STORE_AGAIN_S, lambda: self._tell(StoreAgain()))

    def clock_set(self, run: int) -> None:
        """The clock was set during ``run``: the runs after it go by the new one."""
        self._accounts.clock_set(run)

    # Losses

    def run_ended(self, ended: RunEnded, *, was_leaving: bool) -> Loss | None:
        """Note a run's end, and return its loss if it was one."""
        loss = None
        if ended.cause is not None or not was_leaving:
            loss = Loss(
                cause=ended.cause or Cause.INTERNAL,
                at=ended.at,
                covered=self._live.recording,
                asked=ended.cause is None,
            )
        self._unsettled[ended.run] = loss
        if ended.tail is not None:
            self._line.add(torn_tail(ended.run, ended.tail))
        self._settle()
        return loss

    def could_not_begin(self, cause: Cause) -> None:
        """No run could be ordered: that is missing for ``cause``, unless another loss explains it."""
        if not self._live and not any(self._unsettled.values()):
            self._account_loss(Loss(cause, self._deps.clock.now(), covered=False))

    def _settle(self) -> None:
        """Once all that an ended run has left is stored: if it was lost, a gap begins there."""
        for run, loss in list(self._unsettled.items()):
            if self._line.holds_up_to(run) or (loss is not None and self._live.leaving):
                # A predecessor that is still leaving records up to its own end.
                continue
            if loss is not None:
                self._account_loss(loss)
            del self._unsettled[run]
            self._runs.forget(run)

    def _account_loss(self, loss: Loss) -> None:
        if loss.covered or (loss.asked and self._accounts.ledger.gap is not None):
            return
        self._accounts.keep(book.lost(self._accounts.ledger, loss.cause, loss.at))
        if self._live.recording:
            self._deps.meter.frames_again(self._camera_id, loss.at)
        else:
            self._deps.meter.lost_again(self._camera_id)


def torn_tail(run: int, tail: OpenTail) -> FinishedSegment:
    """Return the segment that was open when a run ended."""
    return FinishedSegment(
        run=run,
        number=tail.number,
        started_at=tail.started_at,
        ended_at=tail.ended_at,
        torn=True,
    )
