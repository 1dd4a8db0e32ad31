"""One recorder's segments and losses: stored in order, then accounted for in the ledger of gaps.

The gap of a lost run begins where the last segment before it ends. So a loss enters the ledger only
once everything that was recorded before it is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import LedgerWritten, RetryStore, SegmentStored
from streamwarden.actors.runs import LiveRuns, Loss
from streamwarden.clock import Clock
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.ffmpeg.watcher import RunHandle
from streamwarden.model import Cause, Segment
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.camera_files import CameraFiles, OpenedFolder
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor

RETRY_STORE_S: Final = 2.0
MAX_STORE_FAILURES: Final = 5
"""Give up on a segment after this many failures that are not the disk's: they are a bug."""


class SegmentLog:
    """Queue of segments to store, and the ledger, of one recorder incarnation.

    Used in the recorder's thread only; nothing in it blocks. Answers come to the recorder as messages:
    ``SegmentStored``, ``LedgerWritten``, ``RetryStore``.
    """

    def __init__(
        self,
        *,
        camera_id: UUID,
        files: CameraFiles,
        runs: RunHandle,
        live: LiveRuns,
        disk: SerialExecutor,
        meter: GapMeter,
        timers: Timers,
        clock: Clock,
        tell: Callable[[object], None],
    ) -> None:
        self._camera_id = camera_id
        self._files = files
        self._runs = runs
        self._live = live
        self._disk = disk
        self._meter = meter
        self._timers = timers
        self._clock = clock
        self._tell = tell
        self._ledger = gap_ledger.Ledger()
        self._waiting: deque[ClosedSegment] = deque()
        self._failures = 0
        self._unsettled: dict[int, Loss | None] = {}
        """Runs that have ended and whose segments are not all stored."""
        self._missing_at_end = Cause.STALLED
        self._stepped_run: int | None = None

    @property
    def waiting(self) -> int:
        """Number of segments that are not yet stored."""
        return len(self._waiting)

    def begin(self, opened: OpenedFolder, *, wanted_at: datetime) -> None:
        """Continue the ledger that an earlier incarnation, or an earlier server, has left."""
        ledger = opened.ledger
        if opened.rebuilt and ledger.covered_until is not None and ledger.covered_until < wanted_at:
            # Segments from before the stream was wanted say nothing about this period.
            ledger = gap_ledger.Ledger()
        self._ledger = ledger
        if ledger.gap is not None:
            self._meter.changed(self._camera_id, gap_ledger.opened(ledger.gap))
        if opened.first_time or ledger.covered_until is None:
            self._write(gap_ledger.resumed(ledger, alive_until=opened.alive_until, at=wanted_at))

    def close(self, *, unwanted_at: datetime | None) -> None:
        """Write the final ledger; a final ``LedgerWritten`` follows."""
        if unwanted_at is not None:
            step = gap_ledger.unwanted(self._ledger, unwanted_at, missing=self._missing_at_end)
        else:
            step = gap_ledger.lost(self._ledger, Cause.SHUTDOWN, self._clock.now())
        self._write(step, final=True)

    # Segments, oldest first and one at a time

    def add(self, segment: ClosedSegment) -> None:
        """Store ``segment`` once those before it are stored; ``SegmentStored`` follows.

        In order: a segment stored before an older one would look like a gap.
        """
        if any((s.run, s.number) == (segment.run, segment.number) for s in self._waiting):
            return
        self._waiting.append(segment)
        if len(self._waiting) == 1:
            self.store_first()

    def store_first(self) -> None:
        """Store the first segment in the queue, for the first time or again."""
        if not self._waiting:
            return
        self._disk.run(
            partial(self._files.publish, self._waiting[0]),
            lambda result: self._tell(SegmentStored(result)),
        )

    def stored(self, row: Segment | None) -> None:
        """Account for the first segment in the queue; ``row`` is None if the segment was empty."""
        self._failures = 0
        segment = self._waiting.popleft()
        self.store_first()
        if row is not None:
            if self._stepped_run is not None and segment.run > self._stepped_run:
                self._stepped_run = None
                self._write(gap_ledger.clock_stepped(self._ledger, row.started_at))
            self._write(gap_ledger.stored(self._ledger, row.started_at, row.ended_at))
        # Only now: should this incarnation fail before, the next one receives the segment again.
        self._runs.settled(segment.run, segment.number)
        self._settle()

    def not_stored(self, cause: Cause, *, stopping: bool) -> None:
        """Handle a failure to store the first segment: retry later; when stopping, give up.

        What stays in ``.live`` is stored by the next start.
        """
        if cause is Cause.INTERNAL:
            self._failures += 1
            if self._failures >= MAX_STORE_FAILURES:
                self.stored(None)
                return
        if stopping:
            self._waiting.clear()
            self._missing_at_end = cause
            self._settle()
        else:
            self._timers.after(RETRY_STORE_S, lambda: self._tell(RetryStore()))

    def clock_set(self, run: int) -> None:
        """The clock was set during ``run``: later runs use the new time."""
        self._stepped_run = run

    # Losses

    def run_ended(self, run_exit: RunExit, *, was_leaving: bool) -> Loss | None:
        """Take the last segment of an ended run; return its loss if it was one."""
        loss = None
        if run_exit.cause is not None or not was_leaving:
            loss = Loss(
                cause=run_exit.cause or Cause.INTERNAL,
                at=run_exit.at,
                covered=self._live.recording,
                asked=run_exit.cause is None,
            )
        self._unsettled[run_exit.run] = loss
        if run_exit.open_segment is not None:
            self.add(run_exit.open_segment)
        self._settle()
        return loss

    def could_not_begin(self, cause: Cause) -> None:
        """No run could be ordered: a loss for ``cause``, unless another loss explains it."""
        if not self._live and not any(self._unsettled.values()):
            self._account_loss(Loss(cause, self._clock.now(), covered=False))

    def interrupted(self, cause: Cause, since: datetime) -> None:
        """Open a gap at ``since``, up to which the open segment reaches; storing it decides the rest."""
        self._write(gap_ledger.interrupted(self._ledger, cause, since))
        self._meter.lost_again(self._camera_id)

    def _settle(self) -> None:
        """Enter the losses of runs whose segments are all stored, and forget these runs."""
        for run, loss in list(self._unsettled.items()):
            if any(segment.run <= run for segment in self._waiting):
                continue
            if loss is not None:
                if self._live.leaving:
                    # A predecessor that is still leaving records up to its own end.
                    continue
                self._account_loss(loss)
            del self._unsettled[run]
            self._runs.forget(run)

    def _account_loss(self, loss: Loss) -> None:
        if loss.covered or (loss.asked and self._ledger.gap is not None):
            return
        self._write(gap_ledger.lost(self._ledger, loss.cause, loss.at))
        if self._live.recording:
            self._meter.frames_again(self._camera_id, loss.at)
        else:
            self._meter.lost_again(self._camera_id)

    # The ledger

    def _write(self, step: gap_ledger.Step, *, final: bool = False) -> None:
        """Take a step of the ledger and write it to disk; ``LedgerWritten`` follows."""
        self._ledger, changes = step
        for change in changes:
            self._meter.changed(self._camera_id, change)
        self._disk.run(
            partial(self._files.write_ledger, self._ledger, changes),
            lambda result: self._tell(LedgerWritten(final, result)),
        )
