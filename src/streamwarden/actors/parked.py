"""The runs of a camera whose recorder is parked: stopped, stored, and the gap opened.

Nothing is settled or forgotten with the watcher: the next incarnation receives all events again, and
storing is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.clock import Clock, clock_line
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.camera_files import CameraFiles
from streamwarden.recordings.ledger_clock import dated_by, in_ledgers_time
from streamwarden.recordings.missing_pictures import segment_stored
from streamwarden.workers import SerialExecutor

log = structlog.get_logger(__name__)


class ParkedCamera:
    """The listener to a parked camera's runs. Callbacks come in the watching thread."""

    def __init__(
        self,
        *,
        camera_id: UUID,
        files: CameraFiles,
        disk: SerialExecutor,
        meter: GapMeter,
        clock: Clock,
    ) -> None:
        self._camera_id = camera_id
        self._files = files
        self._disk = disk
        self._meter = meter
        self._clock = clock
        self._early: list[Callable[[], None]] | None = []
        """Work that waits until the folder is open; None from then on."""
        self._runs: set[int] = set()

    def spawned(self, run: int, at: datetime) -> None:
        """A run lives; the watcher stops it."""
        del at
        self._runs.add(run)

    def recording(self, run: int, at: datetime) -> None:
        """Its segments are stored until it ends."""

    def stalled(self, run: int, at: datetime) -> None:
        """It is being killed."""

    def waiting(self, run: int, since: datetime) -> None:
        """It is being stopped."""

    def disk_hangs(self, run: int, since: datetime) -> None:
        """What it does not write is missing as it is."""

    def clock_stepped(self, run: int, by_s: float) -> None:
        """Its times go on by the old clock until it ends."""

    def sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        """Nothing follows from it: the run is being stopped."""

    def overdue(self, run: int) -> None:
        """It is being stopped."""

    def stamps_jumped(self, run: int, by_s: float) -> None:
        """It is being stopped."""

    def segment_closed(self, segment: ClosedSegment) -> None:
        """Store a segment."""
        self._do(lambda: self._store(segment))

    def ended(self, run_exit: RunExit) -> None:
        """Store the segment that was open, and open the gap."""
        self._runs.add(run_exit.run)
        segment = run_exit.open_segment
        if segment is not None:
            self._do(lambda: self._store(segment))
        self._do(self._open_gap)

    def adopted(self) -> None:
        """All open events have been repeated: open the folder, then handle them in order."""
        early, self._early = self._early or [], None
        self._do(self._open)
        for work in early:
            self._do(work)
        if not self._runs:
            self._do(self._open_gap)

    def _do(self, work: Callable[[], None]) -> None:
        if self._early is not None:
            self._early.append(work)
            return
        self._disk.run(work, self._done)

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            # The next incarnation, or the next start, finds the same files and tries again.
            log.error("parked_camera_failed", camera=str(self._camera_id), error=str(result))

    def _open(self) -> None:
        self._files.open(self._runs)

    def _store(self, segment: ClosedSegment) -> None:
        stored = self._files.publish(segment)
        if stored is not None:
            ledger = self._files.read_ledger()
            row = dated = stored.row
            if segment.line is not None:
                dated = replace(
                    row,
                    started_at=in_ledgers_time(ledger, segment.line, row.started_at),
                    ended_at=in_ledgers_time(ledger, segment.line, row.ended_at),
                )
            self._write(segment_stored(ledger, row, dated=dated))

    def _open_gap(self) -> None:
        now = self._clock.now()
        self._write(dated_by(self._files.read_ledger(), clock_line(self._clock), now))
        ledger = self._files.read_ledger()
        self._write(gap_ledger.lost(ledger, Cause.ACTOR_PARKED, now))

    def _write(self, step: gap_ledger.Step) -> None:
        # The ledger is read anew at each step: a user's stop may have closed it in between.
        write_step(self._camera_id, step, files=self._files, meter=self._meter)


def close_ledger(*, camera_id: UUID, files: CameraFiles, meter: GapMeter, at: datetime) -> None:
    """Close the ledger of a camera that is not wanted since ``at``. Blocking; idempotent."""
    # The folder is not opened: a run may still write, and its file would be taken for a leftover.
    ledger = files.read_ledger()
    if ledger.covered_until is not None:
        write_step(camera_id, gap_ledger.unwanted(ledger, at), files=files, meter=meter)


def write_step(
    camera_id: UUID, step: gap_ledger.Step, *, files: CameraFiles, meter: GapMeter
) -> None:
    """Write a step of a ledger to disk, and meter its gaps. Blocking."""
    ledger, changes = step
    for change in changes:
        meter.changed(camera_id, change)
    files.write_ledger(ledger, changes)
