"""One recorder's segments and losses: stored in order, then accounted for in the ledger of gaps.

The gap of a lost run begins where the last segment before it ends. So a loss enters the ledger only
once everything that was recorded before it is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID, uuid4

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import ClockWasSet, LedgerWritten, RetryStore, SegmentStored
from streamwarden.actors.runs import LiveRuns, Loss
from streamwarden.clock import Clock, ClockLine, clock_line
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.ffmpeg.watcher import RunHandle
from streamwarden.model import Cause, Segment, TimeRange
from streamwarden.recordings import gap_ledger, ledger_clock
from streamwarden.recordings.camera_files import CameraFiles, OpenedFolder
from streamwarden.recordings.gap_ledger import GapChange
from streamwarden.recordings.missing_pictures import segment_stored
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor

RETRY_STORE_S: Final = 2.0
_OVERLAPPING: Final = 8
MAX_REFUSALS: Final = 32
"""Changes of cause that are kept while a folder cannot be opened."""
MAX_STORE_FAILURES: Final = 5
"""Give up on a segment after this many failures that are not the disk's: they are a bug."""


class FolderRefusals:
    """The time before a camera's folder could be opened, metered as a gap.

    Its ledger is in the folder, so the gap itself is entered once the folder is open.
    """

    def __init__(self) -> None:
        self.gap_id = uuid4()
        self.losses: list[Loss] = []

    def add(self, camera_id: UUID, cause: Cause, at: datetime, meter: GapMeter) -> None:
        """Note a refusal; those for the same cause are one."""
        if self.losses and (self.losses[-1].cause is cause or len(self.losses) >= MAX_REFUSALS):
            return
        self.losses.append(Loss(cause, at, covered=False))
        change = GapChange(id=self.gap_id, started_at=self.losses[0].at, ended_at=None, cause=cause)
        meter.changed(camera_id, change)


_OPEN: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Interruption:
    """The time in which a run that goes on could not write."""

    cause: Cause
    since: datetime
    until: datetime = _OPEN


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
        self._interruption: Interruption | None = None
        self._dated_run = 0
        """The newest run by whose clock the ledger goes, and one more once it goes by a later one."""
        self._last_stored: tuple[int, int] | None = None
        self._recorded: deque[tuple[int, list[TimeRange]]] = deque(maxlen=_OVERLAPPING)
        """The times with pictures of the newest segments, by run: two runs may overlap."""
        self._stuck = False
        """Whether the first segment in the queue waits for the disk."""

    @property
    def waiting(self) -> int:
        """Number of segments that are not yet stored."""
        return len(self._waiting)

    def begin(self, opened: OpenedFolder, *, wanted_at: datetime, refusals: FolderRefusals) -> None:
        """Continue the ledger that an earlier incarnation, or an earlier server, has left.

        ``refusals``: the time in which the folder could not be opened.
        """
        ledger, now = opened.ledger, self._clock.now()
        if opened.rebuilt and ledger.covered_until is not None and ledger.covered_until < wanted_at:
            # Segments from before the stream was wanted say nothing about this period.
            ledger = gap_ledger.Ledger()
        self._ledger = ledger
        if ledger.gap is not None:
            self._meter.changed(self._camera_id, gap_ledger.opened(ledger.gap))
        if opened.first_time or ledger.covered_until is None:
            # The API's clock may be ahead of this one.
            at, alive_until = min(wanted_at, now), opened.alive_until
            self._write(gap_ledger.resumed(ledger, alive_until=alive_until, at=at))
            line = clock_line(self._clock)
            self._write_if_changed(
                ledger_clock.restarted_by(self._ledger, line, now, alive_until=alive_until)
            )
        self._meter.watch_clock(self._camera_id, lambda: self._tell(ClockWasSet()))
        for loss in refusals.losses:
            step = gap_ledger.lost(self._ledger, loss.cause, loss.at)
            if (gap := step[0].gap) is not None:
                self._meter.continued(refusals.gap_id, gap_ledger.opened(gap))
            self._write(step)
        refusals.losses.clear()

    def close(self, *, unwanted_at: datetime | None) -> None:
        """Write the final ledger; a final ``LedgerWritten`` follows."""
        self._meter.watch_clock(self._camera_id, None)
        self._go_by_present_clock()
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
        self._stuck = False
        segment = self._waiting.popleft()
        self.store_first()
        if row is not None:
            self._account(row, segment)
        elif (gap := self._ledger.gap) is not None:
            # Only where the gap was opened while the segment waited; else it reaches back over it.
            ended_at = self._dated(segment.ended_at, segment.run, segment.line)
            self._write_if_changed(gap_ledger.vanished(self._ledger, ended_at, gap.cause))
        # Only now: should this incarnation fail before, the next one receives the segment again.
        self._runs.settled(segment.run, segment.number)
        self._settle()

    def vanished(self, cause: Cause) -> int:
        """Enter the time of the first segment, whose file is gone, as missing; return its run."""
        segment = self._waiting[0]
        ended_at = self._dated(segment.ended_at, segment.run, segment.line)
        self._write_if_changed(gap_ledger.vanished(self._ledger, ended_at, cause))
        self.stored(None)
        return segment.run

    def _account(self, row: Segment, segment: ClosedSegment) -> None:
        """Enter a stored segment in the ledger, and the times inside without pictures."""
        dated = replace(
            row,
            started_at=self._dated(row.started_at, segment.run, segment.line),
            ended_at=self._dated(row.ended_at, segment.run, segment.line),
        )
        follows = (row.run, row.number - 1) == self._last_stored
        missed = self._why_missed(dated.started_at) if follows else Cause.INTERNAL
        self._last_stored = (row.run, row.number)
        others = [part for run, parts in self._recorded if run != row.run for part in parts]
        step = segment_stored(self._ledger, row, dated=dated, recorded=others, missed=missed)
        self._write(step)
        self._recorded.append((row.run, dated.pictures))

    def _why_missed(self, started_at: datetime) -> Cause:
        """Return the cause of a time before ``started_at`` in which a run went on and no pictures came."""
        found, covered_until = self._interruption, self._ledger.covered_until
        if found is None or covered_until is None or covered_until > found.until:
            return Cause.PICTURES_MISSING
        return found.cause if found.since < started_at else Cause.PICTURES_MISSING

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
            self._stuck = cause is not Cause.INTERNAL
            self._settle()
            self._timers.after(RETRY_STORE_S, lambda: self._tell(RetryStore()))

    # The clock

    def clock_was_set(self) -> None:
        """The clock was set: an open gap goes on by the new one, unless a run records by the former."""
        if not self._live.recording and not self._waiting:
            self._go_by_present_clock()

    def _go_by_present_clock(self) -> None:
        before = self._ledger.clock
        line = clock_line(self._clock)
        self._write_if_changed(ledger_clock.dated_by(self._ledger, line, self._clock.now()))
        if self._ledger.clock is not before:
            self._dated_run = max(self._dated_run, self._live.newest) + 1

    def _dated(self, at: datetime, run: int, line: ClockLine | None) -> datetime:
        """Return a time of a run by the ledger's clock, which becomes the one of the newest run."""
        if line is None:
            return at
        if run < self._dated_run:
            return ledger_clock.in_ledgers_time(self._ledger, line, at)
        self._dated_run = run
        self._write_if_changed(ledger_clock.dated_by(self._ledger, line, at))
        return at

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
                run=run_exit.run,
                line=run_exit.line,
            )
        self._unsettled[run_exit.run] = loss
        if run_exit.open_segment is not None:
            self.add(run_exit.open_segment)
        self._settle()
        return loss

    def could_not_begin(self, cause: Cause) -> None:
        """No run could be ordered: a loss for ``cause``, unless another loss explains it."""
        if not self._live and not any(self._unsettled.values()):
            self._go_by_present_clock()
            self._account_loss(Loss(cause, self._clock.now(), covered=False))

    def waiting_for_key_frame(self, since: datetime) -> None:
        """Name the open gap after what is waited for; the first segment may cover a part of it."""
        if self._ledger.gap is not None:
            self._write(gap_ledger.lost(self._ledger, Cause.NO_KEY_FRAME, since))

    def interrupted(self, cause: Cause, since: datetime) -> None:
        """Open a gap at ``since``, up to which the open segment reaches; storing it decides the rest."""
        self._interruption = Interruption(cause, since)
        self._write(gap_ledger.interrupted(self._ledger, cause, since))
        self._meter.lost_again(self._camera_id)

    def goes_on(self, at: datetime) -> None:
        """The open segment goes on since ``at``, if it was interrupted."""
        found = self._interruption
        if found is not None and found.until == _OPEN:
            self._interruption = replace(found, until=at)

    def _settle(self) -> None:
        """Enter the losses of runs whose segments are all stored, and forget these runs."""
        for run, loss in list(self._unsettled.items()):
            if any(segment.run <= run for segment in self._waiting):
                if loss is not None and self._stuck:
                    self._account_early(loss)
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
        at = loss.at if loss.run is None else self._dated(loss.at, loss.run, loss.line)
        self._write(gap_ledger.lost(self._ledger, loss.cause, at))
        if self._live.recording:
            self._meter.frames_again(self._camera_id, loss.at)
        else:
            self._meter.lost_again(self._camera_id)

    def _account_early(self, loss: Loss) -> None:
        """Open the gap of a run while its segments wait for the disk: that may take hours."""
        if loss.covered or self._live.recording or self._live.leaving or self._ledger.gap:
            return
        last = max(self._waiting, key=lambda segment: segment.ended_at)
        after = self._dated(last.ended_at, last.run, last.line)
        self._write(gap_ledger.interrupted(self._ledger, loss.cause, after))
        self._meter.lost_again(self._camera_id)

    # The ledger

    def _write_if_changed(self, step: gap_ledger.Step) -> None:
        if step[0] is not self._ledger:
            self._write(step)

    def _write(self, step: gap_ledger.Step, *, final: bool = False) -> None:
        """Take a step of the ledger and write it to disk; ``LedgerWritten`` follows a failure."""
        self._ledger, changes = step
        for change in changes:
            self._meter.changed(self._camera_id, change)
        self._disk.run(
            partial(self._files.write_ledger, self._ledger, changes),
            partial(self._written, final=final),
        )

    def _written(self, result: object, *, final: bool) -> None:
        if final or isinstance(result, Exception):
            self._tell(LedgerWritten(final, result))
