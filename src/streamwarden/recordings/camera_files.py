"""A camera's folder, its ledger on disk, and its rows on their way to the index.

Everything that a recorder writes goes through here: a segment first to its final place
(``segment_store``), then as a row to the journal, then into the ledger file.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import Unavailable, in_full
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause, Gap, LastSegment, Segment
from streamwarden.paths import LIVE, segment_id
from streamwarden.recordings.durable import free_space_of, replace_file
from streamwarden.recordings.gap_ledger import (
    LEDGER,
    GapChange,
    Ledger,
    decode_ledger,
    encode_ledger,
)
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.missing_pictures import segment_stored
from streamwarden.recordings.root_watch import RootWatch
from streamwarden.recordings.segment_store import SegmentStore, StoredSegment
from streamwarden.storage.journal import Journal
from streamwarden.storage.recording_index import SegmentRepository

log = structlog.get_logger(__name__)

_RUN: Final = "run"
_MIN_FREE_BYTES: Final = 16 * 1024 * 1024
"""Below this much free space a new run would only fail."""
_MIN_FREE_INODES: Final = 16
"""A run needs a few: its segments, their folder, and the notes that are replaced."""
_SEAM: Final = timedelta(seconds=2)
_OVERLAP: Final = timedelta(seconds=10)
_JOURNAL_ROWS: Final = 1_000
_INDEX_RETRY_S: Final = 60.0
"""After the index failed to answer it is not asked for this long: hundreds of cameras would each wait."""


_OF_THE_DISK: Final = {
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EDQUOT: Cause.DISK_FULL,
    errno.EROFS: Cause.RECORD_ROOT_READ_ONLY,
}


class CannotStore(Exception):
    """A segment, a folder or the ledger could not be written. Nothing is lost; try again."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class SegmentVanished(CannotStore):
    """The file of a listed segment is gone from a record root that is there: its time is lost."""

    def __init__(self) -> None:
        super().__init__(Cause.FILE_LOST, "a segment's file is gone before it was stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFolder:
    """A camera's folder as found at the start of its recorder.

    ``first_time`` since the server's start; ``alive_until`` is when the previous server was last known
    to be alive. ``rebuilt`` when the ledger could not be read, after a loss of power for instance: it
    then reaches to the end of the last stored segment.
    """

    ledger: Ledger
    last_segment: LastSegment | None
    last_run: int
    first_time: bool
    alive_until: datetime | None
    rebuilt: bool = False


class IndexedEnds:
    """Ends and runs of stored segments by their rows, for rebuilding a lost ledger or run number.

    Blocking, a few seconds at most. Any thread.
    """

    def __init__(self, *, journal: Journal, segments: SegmentRepository, clock: Clock) -> None:
        self._journal = journal
        self._segments = segments
        self._clock = clock
        self._ask_at_s = clock.monotonic()

    def end_of(self, camera_id: UUID, segment_id: UUID) -> datetime | None:
        """Return where a segment ends; None where no row is known, or Postgres is unavailable."""
        # The journal first: that is the way a row moves, so it is seen at least once.
        for entry in self._journal.take(_JOURNAL_ROWS).entries:
            if isinstance(entry, Segment) and entry.id == segment_id:
                return entry.ended_at
        if self._clock.monotonic() < self._ask_at_s:
            return None
        try:
            row = self._segments.get(camera_id, segment_id)
        except Unavailable as error:
            self._unavailable(error)
            return None
        return None if row is None else row.ended_at

    def last_run(self, camera_id: UUID, *, journal: bool) -> int | None:
        """Return the highest run with a row, 0 for none; None where Postgres is unavailable.

        ``journal``: also among the rows that wait for Postgres.
        """
        waiting = self._journal.take(_JOURNAL_ROWS).entries if journal else ()
        runs = [
            entry.run
            for entry in waiting
            if isinstance(entry, Segment) and entry.camera_id == camera_id
        ]
        if self._clock.monotonic() < self._ask_at_s:
            return None
        try:
            return max(self._segments.last_run(camera_id), *runs, 0)
        except Unavailable as error:
            self._unavailable(error)
            return None

    def _unavailable(self, error: Unavailable) -> None:
        self._ask_at_s = self._clock.monotonic() + _INDEX_RETRY_S
        log.warning("ends_by_media", reason=in_full(error))


class CameraFileStore:
    """All cameras' folders under one record root. Any thread.

    ``writer`` is the user id that FFmpeg writes under, where that is not the server's own.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        journal: Journal,
        metrics: RecordingMetrics,
        clock: Clock,
        alive_until: datetime | None,
        indexed_ends: IndexedEnds,
        live: LiveIndex,
        writer: int | None = None,
        root: RootWatch | None = None,
    ) -> None:
        self.record_root = record_root
        self._root = root
        self.journal = journal
        self.metrics = metrics
        self.clock = clock
        self.alive_until = alive_until
        self.indexed_ends = indexed_ends
        self.writer = writer
        self.live = live
        self._cameras: dict[UUID, CameraFiles] = {}
        self._lock = threading.Lock()

    def camera(self, camera_id: UUID, owner: str) -> CameraFiles:
        """Return a camera's files; one object per camera and owner.

        Raises:
            ValueError: the owner cannot be a folder's name.
        """
        with self._lock:
            known = self._cameras.get(camera_id)
            if known is None or known.owner != owner:
                known = self._cameras[camera_id] = CameraFiles(self, camera_id, owner)
            return known

    def require_root(self, *, fresh: bool = False) -> None:
        """Raise CannotStore unless the record root is the known one; ``fresh``: look once more."""
        if self._root is None:
            return
        fault = self._root.look() if fresh else self._root.fault()
        if fault is not None:
            raise CannotStore(fault.cause, fault.text)

    def forget(self, camera_id: UUID) -> None:
        """Drop a camera from memory; its files stay."""
        with self._lock:
            self._cameras.pop(camera_id, None)
        self.live.forget(camera_id)


class CameraFiles:
    """One camera's files. Blocking; one call at a time.

    Every method raises ``CannotStore`` where the disk refuses.
    """

    def __init__(self, all_files: CameraFileStore, camera_id: UUID, owner: str) -> None:
        self.owner = owner
        self._all = all_files
        self._camera_id = camera_id
        self._store = SegmentStore(all_files.record_root, owner, camera_id, writer=all_files.writer)
        self._opened = False
        self._last: LastSegment | None = None
        self._counted = (0, -1)

    def open(self, live_runs: Collection[int]) -> OpenedFolder:
        """Make the folder, store what earlier runs have left, and read the ledger."""
        # Below the mount point of a disk that is gone nothing must be made.
        self._all.require_root(fresh=True)
        with _disk_errors():
            self._store.prepare()
            kept = self._ledger_on_disk()
            ledger = self._rebuilt_ledger() if kept is None else kept
            last_run = self._last_run_of_all_owners()
            # The note may be older than the index: the disk was restored, or another one was adopted.
            last_run = max(
                last_run, self._all.indexed_ends.last_run(self._camera_id, journal=False) or 0
            )
            for leftover in list(self._store.leftovers(live_runs)):
                ledger = self._store_leftover(leftover, ledger)
                last_run = max(last_run, leftover.run)
            self._write_run(max(last_run, *live_runs, 0))
        self._all.live.opened(self._camera_id, self._store.live)
        first_time, self._opened = not self._opened, True
        return OpenedFolder(
            ledger=ledger,
            last_segment=self._last,
            last_run=last_run,
            first_time=first_time,
            alive_until=self._all.alive_until if first_time else None,
            rebuilt=kept is None,
        )

    def read_ledger(self) -> Ledger:
        """Return the ledger on disk; nothing is changed."""
        self._all.require_root(fresh=True)
        with _disk_errors():
            kept = self._ledger_on_disk()
            return self._rebuilt_ledger() if kept is None else kept

    def next_run(self) -> tuple[Path, int]:
        """Return the folder to record in and the next run's number, already written to disk."""
        self._all.require_root(fresh=True)
        with _disk_errors():
            self._store.prepare()
            free = free_space_of(self._store.live)
            if free.free_bytes < _MIN_FREE_BYTES:
                raise CannotStore(Cause.DISK_FULL, "no space is left under the record root")
            if free.limits_inodes and free.free_inodes < _MIN_FREE_INODES:
                text = "no inode is left under the record root: it can hold no more files"
                raise CannotStore(Cause.DISK_FULL, text)
            run = self._last_run() + 1
            self._write_run(run)
        return self._store.live, run

    def publish(self, segment: ClosedSegment) -> StoredSegment | None:
        """Store a segment and hand its row to the journal; None when nothing of it can be played.

        Raises:
            SegmentVanished: a listed segment's file is gone, and the record root is the known one.
        """
        self._all.require_root()
        with _disk_errors():
            try:
                stored = self._store.publish(segment)
            except FileNotFoundError as error:
                self._all.require_root(fresh=True)
                log.exception("segment_vanished", camera=str(self._camera_id), run=segment.run)
                raise SegmentVanished from error
            except FileExistsError:
                # Another file has its name. It is neither overwritten nor thrown away, and the
                # segments after it must not wait for ever.
                log.exception("segment_set_aside", camera=str(self._camera_id), run=segment.run)
                self._store.set_aside(segment.run, segment.number)
                return None
            if stored is None:
                # A torn file that is not there held nothing, unless the whole folder is not there.
                self._all.require_root(fresh=segment.torn)
                return None
            row = stored.row
            # Viewers of the live window still know the file by the name that it was open under.
            self._all.live.stored(row)
            self._all.journal.append([row], self._all.clock.now())
        self._count(row)
        self._last = LastSegment(
            started_at=row.started_at, ended_at=row.ended_at, size_bytes=row.size_bytes
        )
        return stored

    def write_ledger(self, ledger: Ledger, changes: Sequence[GapChange]) -> None:
        """Hand changed gaps to the journal, then write the ledger.

        Changes are in the journal even where the ledger cannot be written; its file then follows with
        the next change.
        """
        with _disk_errors():
            if changes:
                rows = [self._gap_row(change) for change in changes]
                self._all.journal.append(rows, self._all.clock.now())
            self._all.require_root()
            replace_file(self._store.live / LEDGER, encode_ledger(ledger, self._last))

    # Leftovers of earlier runs

    def _store_leftover(self, leftover: ClosedSegment, ledger: Ledger) -> Ledger:
        stored = self.publish(self._joined(leftover, ledger))
        log.info(
            "leftover_salvaged",
            camera=str(self._camera_id),
            run=leftover.run,
            kept=stored is not None,
        )
        if stored is None:
            return ledger
        ledger, changes = segment_stored(ledger, stored.row)
        self.write_ledger(ledger, changes)
        return ledger

    def _joined(self, leftover: ClosedSegment, ledger: Ledger) -> ClosedSegment:
        """Return a leftover with its start where the segment before it ends, if its media agree."""
        began, covered_until = self._store.media_start(leftover), ledger.covered_until
        if began is None or covered_until is None:
            return leftover
        earliest = covered_until - _OVERLAP
        if abs(began - covered_until) < _SEAM:
            started_at = covered_until
        elif began < earliest < leftover.ended_at:
            # Runs overlap by a moment; time stamps that jump must not date a leftover hours back.
            started_at = earliest
        else:
            return leftover
        return replace(leftover, started_at=started_at)

    # Notes beside the files: the last run's number, and the ledger

    def _last_run(self) -> int:
        try:
            return int((self._store.live / _RUN).read_text())
        except FileNotFoundError:
            return self._rebuilt_run()
        except ValueError:
            log.warning("run_number_unreadable", camera=str(self._camera_id))
            return self._rebuilt_run()

    def _rebuilt_run(self) -> int:
        """Return a number that no run of the camera is above: of its files, its rows, else of the time.

        Rows of runs may be there whose files are not. Without Postgres the number of minutes since 1970
        is far above all that were counted.
        """
        known = self._all.indexed_ends.last_run(self._camera_id, journal=True)
        if known is None:
            known = int(self._all.clock.now().timestamp() // 60)
            log.warning("run_number_by_time", camera=str(self._camera_id), run=known)
        return max(known, self._store.newest_run())

    def _last_run_of_all_owners(self) -> int:
        # A run number belongs to the camera: a new owner's must not meet the rows of the last one's.
        notes = self._all.record_root.glob(f"*/{self._camera_id}/{LIVE}/{_RUN}")
        texts = (path.read_text() for path in notes)
        return max(self._last_run(), *(int(text) for text in texts if text.isdecimal()), 0)

    def _write_run(self, run: int) -> None:
        note = self._store.live / _RUN
        replace_file(note, str(run).encode())
        self._store.note_disk_clock(note, self._all.clock.now().timestamp())

    def _ledger_on_disk(self) -> Ledger | None:
        """Return the ledger as it was left, None where it is unreadable or lost."""
        try:
            ledger, self._last = decode_ledger((self._store.live / LEDGER).read_bytes())
        except FileNotFoundError:
            if self._store.newest() is None:
                return Ledger()
        except ValueError:
            pass
        else:
            return ledger
        log.warning("ledger_unreadable", camera=str(self._camera_id))
        return None

    def _rebuilt_ledger(self) -> Ledger:
        """Return a ledger that reaches to the end of the newest stored file, without a gap."""
        if (newest := self._store.newest()) is None:
            return Ledger()
        row_id = segment_id(self._camera_id, newest.run, newest.number)
        indexed = self._all.indexed_ends.end_of(self._camera_id, row_id)
        return Ledger(covered_until=indexed or self._store.end_by_media(newest))

    # Rows and counters

    def _gap_row(self, change: GapChange) -> Gap:
        return Gap(
            id=change.id,
            camera_id=self._camera_id,
            started_at=change.started_at,
            ended_at=change.started_at if change.retracted else change.ended_at,
            cause=change.cause,
            clock_set=change.clock_set,
        )

    def _count(self, row: Segment) -> None:
        # An incarnation that adopts a run may store a segment again that is already counted.
        if (row.run, row.number) <= self._counted:
            return
        self._counted = (row.run, row.number)
        self._all.metrics.segment_stored(
            str(self._camera_id),
            media_s=row.media_ms / 1000,
            wall_s=sum(part.length.total_seconds() for part in row.pictures),
            size_bytes=row.size_bytes,
            ended_at_ts=row.ended_at.timestamp(),
        )


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Raise the disk's errors as ``CannotStore``, with the cause that they stand for."""
    try:
        yield
    except OSError as error:
        cause = _OF_THE_DISK.get(error.errno or 0, Cause.NOT_WRITABLE)
        raise CannotStore(cause, error.strerror or type(error).__name__) from error
