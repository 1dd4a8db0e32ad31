"""Where files meet rows: a camera's folder, its ledger on disk, and the journal of the index.

Composition level: it joins ``media`` (files) and ``storage`` (rows) behind the actors' Protocols.


What is noted of a camera in ``.live``, beside the files in progress: its last run, and its ledger.

Where stored segments end by their rows: what a ledger that was lost is made again from.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import structlog

from streamwarden.actors.messages import LastSegment
from streamwarden.actors.ports import CannotStore, FinishedSegment, OpenedFolder, StoredSegment
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.model import Cause, Gap, Segment
from streamwarden.paths import LIVE, segment_id
from streamwarden.recordings import gap_ledger as book
from streamwarden.recordings.durable import replace_file
from streamwarden.recordings.gap_ledger import GapChange, Ledger, decode_ledger, encode_ledger
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.segment_store import CameraStore, Leftover, StoredFile
from streamwarden.storage.journal import Entry, Journal

log = structlog.get_logger(__name__)


_LEDGER: Final = "ledger.json"


_RUN: Final = "run"


class CameraNotes:
    """One camera's notes. Blocking; raises OSError where the disk refuses.

    ``last`` is the newest segment that was stored, and is kept with the ledger.
    """

    def __init__(self, record_root: Path, camera_id: UUID, store: CameraStore) -> None:
        self._record_root = record_root
        self._camera_id = camera_id
        self._store = store
        self.last: LastSegment | None = None

    def run(self) -> int:
        """Return the camera's last run, by the files' names where the note is gone."""
        try:
            return int((self._store.live / _RUN).read_text())
        except FileNotFoundError:
            return self._store.newest_run()
        except ValueError:
            log.warning("run_number_unreadable", camera=str(self._camera_id))
            return self._store.newest_run()

    def run_of_all_owners(self) -> int:
        """Return the camera's last run under whatever owner.

        A run number belongs to the camera: a new owner's must not meet the rows of the last one's.
        """
        files = self._record_root.glob(f"*/{self._camera_id}/{LIVE}/{_RUN}")
        texts = (path.read_text() for path in files)
        return max(self.run(), *(int(text) for text in texts if text.isdecimal()), 0)

    def write_run(self, run: int) -> None:
        """Note a run's number."""
        replace_file(self._store.live / _RUN, str(run).encode())

    def ledger(self) -> Ledger | None:
        """Return the ledger as it was left, None where it cannot be read or is gone."""
        try:
            ledger, self.last = decode_ledger((self._store.live / _LEDGER).read_bytes())
        except FileNotFoundError:
            if self._store.newest() is None:
                return Ledger()
        except ValueError:
            pass
        else:
            return ledger
        log.warning("ledger_unreadable", camera=str(self._camera_id))
        return None

    def write_ledger(self, ledger: Ledger) -> None:
        """Write the ledger, and the newest segment with it."""
        replace_file(self._store.live / _LEDGER, encode_ledger(ledger, self.last))


_ROOM_BYTES: Final = 16 * 1024 * 1024
"""Below this much free space a new run would only fail."""


MAX_MEDIA_MS: Final = 2**31 - 1
"""What the index can hold; a camera whose time stamps jump may claim more."""


_SEAM: Final = timedelta(seconds=2)


_OVERLAP: Final = timedelta(seconds=10)


class StoredCounter(Protocol):
    """Counts what is stored."""

    def segment_stored(
        self, camera: str, *, media_s: float, wall_s: float, size_bytes: int, ended_at_ts: float
    ) -> None:
        """A segment is on disk and in the journal."""


class Archive:
    """All cameras' folders under one record root. Any thread.

    ``writer`` is the user id that FFmpeg writes under, where that is not the server's own.
    ``indexed_end`` says where a camera's segment ends by the index, None where that does not say.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        journal: Journal,
        counter: StoredCounter,
        clock: Clock,
        alive_until: datetime | None,
        indexed_end: Callable[[UUID, UUID], datetime | None],
        writer: int | None = None,
    ) -> None:
        self.writer = writer
        self.indexed_end = indexed_end
        self.record_root = record_root
        self.journal = journal
        self.counter = counter
        self.clock = clock
        self.alive_until = alive_until
        self.shelf = LiveIndex(clock)
        self._cameras: dict[UUID, CameraFiles] = {}
        self._lock = threading.Lock()

    def camera(self, camera_id: UUID, owner: str) -> CameraFiles:
        """Return a camera's files; one object per camera and owner."""
        with self._lock:
            known = self._cameras.get(camera_id)
            if known is None or known.owner != owner:
                known = self._cameras[camera_id] = CameraFiles(self, camera_id, owner)
            return known

    def forget(self, camera_id: UUID) -> None:
        """Drop what is kept in memory of a camera; its files stay."""
        with self._lock:
            self._cameras.pop(camera_id, None)
        self.shelf.forget(camera_id)


class CameraFiles:
    """One camera's files (the actors' ``CameraArchive``). Blocking; one call at a time."""

    def __init__(self, archive: Archive, camera_id: UUID, owner: str) -> None:
        self.owner = owner
        self._archive = archive
        self._camera_id = camera_id
        self._store = CameraStore(archive.record_root, owner, camera_id, writer=archive.writer)
        self._opened = False
        self._notes = CameraNotes(archive.record_root, camera_id, self._store)
        self._counted = (0, -1)

    def open(self, live_runs: Collection[int]) -> OpenedFolder:
        """Make the folder, store what earlier runs have left, and read the ledger."""
        with refusals():
            self._store.prepare()
            kept = self._notes.ledger()
            ledger = self._rebuilt_ledger() if kept is None else kept
            last_run = self._notes.run_of_all_owners()
            for leftover in list(self._store.leftovers(live_runs)):
                ledger = self._store_leftover(leftover, ledger)
                last_run = max(last_run, leftover.run)
            self._notes.write_run(max(last_run, *live_runs, 0))
        self._archive.shelf.opened(self._camera_id, self._store.live)
        first_time, self._opened = not self._opened, True
        return OpenedFolder(
            ledger=ledger,
            last_segment=self._notes.last,
            last_run=last_run,
            first_time=first_time,
            alive_until=self._archive.alive_until if first_time else None,
            rebuilt=kept is None,
        )

    def books(self) -> Ledger:
        """Read the ledger, and touch nothing."""
        with refusals():
            kept = self._notes.ledger()
            return self._rebuilt_ledger() if kept is None else kept

    def next_run(self) -> tuple[Path, int]:
        """Return the folder to record in and the next run's number, already noted on disk."""
        with refusals():
            self._store.prepare()
            free = os.statvfs(self._store.live)
            if free.f_bavail * free.f_frsize < _ROOM_BYTES:
                raise CannotStore(Cause.DISK_FULL, "no space is left under the record root")
            run = self._notes.run() + 1
            self._notes.write_run(run)
        return self._store.live, run

    def store(self, segment: FinishedSegment) -> StoredSegment | None:
        """Sync, rename and journal a segment; None when nothing of it can be played."""
        with refusals():
            try:
                file = self._place(segment)
            except FileNotFoundError:
                log.exception("segment_vanished", camera=str(self._camera_id), run=segment.run)
                return None
            except FileExistsError:
                # Somebody else's file has its name. Nothing is overwritten, nothing thrown away, and
                # what comes after it must not wait for ever.
                log.exception("segment_set_aside", camera=str(self._camera_id), run=segment.run)
                self._store.set_aside(segment.run, segment.number)
                return None
            if file is None:
                return None
            self._show(segment, file)
            self._journal_segment(segment, file)
        stored = StoredSegment(
            started_at=file.started_at, ended_at=file.ended_at, size_bytes=file.size_bytes
        )
        self._notes.last = LastSegment(
            started_at=file.started_at, ended_at=file.ended_at, size_bytes=file.size_bytes
        )
        return stored

    def note(self, ledger: Ledger, changes: Sequence[GapChange]) -> None:
        """Write the ledger and hand changed gaps to the journal."""
        with refusals():
            if changes:
                self._append([self._gap_row(change) for change in changes])
            self._notes.write_ledger(ledger)

    def _place(self, segment: FinishedSegment) -> StoredFile | None:
        if segment.torn or segment.started_at is None:
            return self._store.salvage(
                run=segment.run,
                number=segment.number,
                started_at=segment.started_at,
                ended_at=segment.ended_at,
            )
        return self._store.publish(
            run=segment.run,
            number=segment.number,
            started_at=segment.started_at,
            ended_at=segment.ended_at,
        )

    def _show(self, segment: FinishedSegment, file: StoredFile) -> None:
        """Keep a file findable for those who watch it under the name that it was open by."""
        self._archive.shelf.finished(
            self._camera_id,
            segment.run,
            segment.number,
            path=self._archive.record_root / file.path,
            started_at=file.started_at,
            ended_at=file.ended_at,
        )

    def _store_leftover(self, leftover: Leftover, ledger: Ledger) -> Ledger:
        torn = FinishedSegment(
            run=leftover.run,
            number=leftover.number,
            started_at=self._seam(leftover, ledger),
            ended_at=leftover.ended_at,
            torn=True,
        )
        stored = self.store(torn)
        log.info(
            "leftover_salvaged", camera=str(self._camera_id), run=leftover.run, kept=bool(stored)
        )
        if stored is None:
            return ledger
        ledger, changes = book.stored(ledger, stored.started_at, stored.ended_at)
        self.note(ledger, changes)
        return ledger

    def _seam(self, leftover: Leftover, ledger: Ledger) -> datetime | None:
        """Return where a leftover starts by what was stored before it; None where that is no help."""
        began, covered_until = self._store.began(leftover), ledger.covered_until
        if began is None or covered_until is None:
            return None
        if abs(began - covered_until) < _SEAM:
            return covered_until
        # Runs overlap by a moment; time stamps that jump must not date a leftover hours back.
        earliest = covered_until - _OVERLAP
        return earliest if began < earliest < leftover.ended_at else None

    def _journal_segment(self, segment: FinishedSegment, file: StoredFile) -> None:
        row = Segment(
            id=segment_id(self._camera_id, segment.run, segment.number),
            camera_id=self._camera_id,
            owner=self.owner,
            run=segment.run,
            number=segment.number,
            started_at=file.started_at,
            ended_at=file.ended_at,
            media_ms=min(file.media_ms, MAX_MEDIA_MS),
            size_bytes=file.size_bytes,
            path=file.path,
            salvaged=segment.torn,
            digest=file.digest,
            init_bytes=file.init_bytes,
        )
        self._append([row])
        if (segment.run, segment.number) > self._counted:
            # An incarnation that adopts a run may be told of a segment that is already counted.
            self._counted = (segment.run, segment.number)
            self._archive.counter.segment_stored(
                str(self._camera_id),
                media_s=file.media_ms / 1000,
                wall_s=(file.ended_at - file.started_at).total_seconds(),
                size_bytes=file.size_bytes,
                ended_at_ts=file.ended_at.timestamp(),
            )

    def _gap_row(self, change: GapChange) -> Gap:
        ended_at = change.started_at if change.void else change.ended_at
        return Gap(
            id=change.id,
            camera_id=self._camera_id,
            started_at=change.started_at,
            ended_at=ended_at,
            cause=change.cause,
        )

    def _append(self, rows: Sequence[Entry]) -> None:
        self._archive.journal.append(rows, self._archive.clock.now())

    def _rebuilt_ledger(self) -> Ledger:
        """Return what the newest file and its row say: until when there is something, and of no gap."""
        if (newest := self._store.newest()) is None:
            return Ledger()
        row_id = segment_id(self._camera_id, newest.run, newest.number)
        indexed = self._archive.indexed_end(self._camera_id, row_id)
        return Ledger(covered_until=indexed or self._store.end_by_media(newest))


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the disk's refusals into ``CannotStore``, with the cause that they stand for."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        cause = Cause.DISK_FULL if full else Cause.NOT_WRITABLE
        raise CannotStore(cause, error.strerror or type(error).__name__) from error


_LOOKED_AT: Final = 1_000


_QUIET_S: Final = 60.0
"""An index that has not answered is not asked for this long: recording waits for it once, not for
each of hundreds of cameras."""


class Segments(Protocol):
    """The table of segments."""

    def get(self, camera_id: UUID, segment_id: UUID, /) -> Segment | None:
        """Return the segment."""


class IndexedEnds:
    """Asks the journal, then the index. Blocking, a few seconds at most. Any thread."""

    def __init__(self, *, journal: Journal, segments: Segments, clock: Clock) -> None:
        self._journal = journal
        self._segments = segments
        self._clock = clock
        self._ask_at_s = clock.monotonic()

    def end_of(self, camera_id: UUID, segment_id: UUID) -> datetime | None:
        """Return where a segment ends; None where no row is known, or Postgres is away."""
        rows = self._rows(camera_id, segment_id)
        return next((row.ended_at for row in rows if row.id == segment_id), None)

    def _rows(self, camera_id: UUID, segment_id: UUID) -> Iterator[Segment]:
        # In the order in which a row moves, so that it is seen at least once.
        for entry in self._journal.take(_LOOKED_AT).entries:
            if isinstance(entry, Segment):
                yield entry
        if self._clock.monotonic() < self._ask_at_s:
            return
        try:
            row = self._segments.get(camera_id, segment_id)
        except Unavailable as error:
            self._ask_at_s = self._clock.monotonic() + _QUIET_S
            log.warning("ends_by_media", reason=str(error))
            return
        if row is not None:
            yield row
