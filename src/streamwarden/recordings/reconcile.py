"""The repair of what ``recordings verify`` finds, by an operator and once after every start.

Whole files without a row are indexed. Rows without a file are reported as lost and become a gap, as does
a wanted second without either. Changed files stay as they are: their former content is not known. Every
finding is reported, repaired or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import in_full
from streamwarden.model import Cause, Gap, Segment, TimeRange
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.footage import Span, UsualDistance
from streamwarden.mp4.fragments import summarise
from streamwarden.paths import STATE, StoredName, parse_stored, segment_id, stored_name
from streamwarden.recordings.deletion_log import LoggedDeletions
from streamwarden.recordings.durable import file_digest, sync_folder
from streamwarden.recordings.record_root import camera_folders
from streamwarden.recordings.segment_dates import check_file, holes_text
from streamwarden.recordings.segment_store import MAX_MEDIA_MS
from streamwarden.recordings.time_ranges import holes, merged
from streamwarden.recordings.verify import (
    END_OF_TIME,
    Finding,
    FindingKind,
    Verifier,
    VerifyOptions,
)
from streamwarden.storage.journal import read_pending
from streamwarden.storage.pool import Database, RowsRefused
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)

JOURNAL: Final = "journal.jsonl"

_LOOK_BACK: Final = timedelta(hours=2)
"""A crash can only have cost rows that had not reached Postgres: the most recent ones."""

_RETRY_S: Final = 30.0

_DAY_MS: Final = 86_400_000

_RENAMED: Final = 1_000_000_000
"""Added to a segment's number where another file's row has it; FFmpeg counts from 0 in each run."""

_NEAR: Final = timedelta(seconds=2)


def verify(
    record_root: Path, database: Database, cameras: Iterable[UUID], options: VerifyOptions
) -> Iterator[Finding]:
    """Yield every finding; about all cameras where ``cameras`` names none."""
    reading = verifier(record_root, database)
    for camera_id in list(cameras) or reading.cameras():
        yield from reading.verify(camera_id, options)


def reconcile(
    record_root: Path,
    database: Database,
    cameras: Iterable[UUID],
    options: VerifyOptions,
    *,
    require_root: Callable[[], None] = lambda: None,
) -> Iterator[Repair]:
    """Repair what can be repaired; yield the outcome for every finding."""
    reading = verifier(record_root, database)
    repairing = Reconciler(
        record_root=record_root, database=database, verifier=reading, require_root=require_root
    )
    for camera_id in list(cameras) or reading.cameras():
        yield from repairing.reconcile(camera_id, options)


def verifier(record_root: Path, database: Database) -> Verifier:
    """Return a verifier that also reads the journal and the deletion log of a running server."""
    state = record_root / STATE
    return Verifier(
        record_root=record_root,
        database=database,
        pending=partial(read_pending, state / JOURNAL),
        deleted=LoggedDeletions(state),
    )


class StartupReconcile:
    """A reconcile of the last two hours before the start, as soon as Postgres answers."""

    def __init__(
        self,
        *,
        record_root: Path,
        database: Database,
        clock: Clock,
        workers: WorkerPool,
        timers: Timers,
        require_root: Callable[[], None] = lambda: None,
    ) -> None:
        self._require_root = require_root
        self._record_root = record_root
        self._database = database
        self._workers = workers
        self._timers = timers
        self._until = clock.now()
        self._stopping = threading.Event()

    def begin(self) -> None:
        """Start in the background."""
        self._workers.run(self._work, self._done)

    def stop(self) -> None:
        """End after the camera that is being reconciled."""
        self._stopping.set()

    def _work(self) -> int:
        options = VerifyOptions(
            from_=self._until - _LOOK_BACK, to=self._until, now=self._until, digests=False
        )
        repaired = 0
        for repair in self._repairs(options):
            found = repair.finding
            write = log.warning if repair.how else log.error
            write(
                "reconciled",
                kind=found.kind,
                camera=str(found.camera_id),
                path=found.path,
                detail=found.detail,
                how=repair.how or "not mended",
            )
            repaired += bool(repair.how)
        return repaired

    def _repairs(self, options: VerifyOptions) -> Iterator[Repair]:
        reading = verifier(self._record_root, self._database)
        repairing = Reconciler(
            record_root=self._record_root,
            database=self._database,
            verifier=reading,
            require_root=self._require_root,
        )
        for camera_id in reading.cameras():
            if self._stopping.is_set():
                return
            yield from repairing.reconcile(camera_id, options)

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            log.warning("reconcile_failed", error=in_full(result), again_in_s=_RETRY_S)
            self._timers.after(_RETRY_S, self.begin)
        else:
            log.info("reconcile_done", mended=result)


@dataclass(frozen=True, slots=True)
class Repair:
    """The outcome for one finding; ``how`` is empty where it could not be repaired."""

    finding: Finding
    how: str = ""


class Reconciler:
    """Repairs the findings of a ``Verifier``, one camera at a time.

    ``require_root`` raises RootNotKnown unless the record root is the known one: a file that is missing
    from another one is not lost.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        database: Database,
        verifier: Verifier,
        require_root: Callable[[], None] = lambda: None,
    ) -> None:
        self._require_root = require_root
        self._root = record_root
        self._verifier = verifier
        self._segments = SegmentRepository(database)
        self._gaps = GapRepository(database)
        self._periods = PeriodRepository(database)
        self._usual = UsualDistance()

    def reconcile(self, camera_id: UUID, options: VerifyOptions) -> Iterator[Repair]:
        """Repair one camera: first its files, then its open gaps, then the seconds still missing."""
        findings = list(self._verifier.verify(camera_id, options))
        self._require_root()
        yield from self._repair_files(findings)
        # The files have been read once; the other two steps are about rows.
        options = replace(options, digests=False, decode=None)
        for finding in list(self._verifier.verify(camera_id, options)):
            if finding.kind is FindingKind.GAP_LEFT_OPEN and finding.gap is not None:
                yield Repair(finding, self._close(finding.gap))
            elif finding.kind is FindingKind.GAP_IN_FUTURE and finding.gap is not None:
                yield Repair(finding, self._take_back(finding.gap, options.now or options.to))
        for finding in list(self._verifier.verify(camera_id, options)):
            if finding.kind is FindingKind.SECOND_MISSING and finding.ended_at is not None:
                missing = TimeRange(finding.started_at, finding.ended_at)
                self._add_gap(camera_id, missing, self._cause_of(camera_id, missing))
                yield Repair(finding, "entered in the ledger")
            elif finding.kind is FindingKind.SECOND_TWICE and finding.ended_at is not None:
                recorded = TimeRange(finding.started_at, finding.ended_at)
                yield Repair(finding, self._clip_gaps(camera_id, recorded))

    def _repair_files(self, findings: Sequence[Finding]) -> Iterator[Repair]:
        lost = [one for one in findings if one.kind is FindingKind.FILE_MISSING]
        # First, so that the row of a lost file does not keep out the row of a file that is there.
        for finding in lost:
            self._drop_row(finding)
        unknown = [one for one in findings if one.kind is FindingKind.ROW_MISSING]
        # Newest first: a segment ends where the next of its run starts.
        for finding in sorted(unknown, key=lambda one: one.started_at, reverse=True):
            yield Repair(finding, self._index(finding))
        for finding in lost:
            yield Repair(finding, self._enter_loss(finding))
        for finding in findings:
            if finding.kind is FindingKind.PICTURES_MISSING:
                yield Repair(finding, self._note_hole(finding))
        for finding in findings:
            if finding.kind in {
                FindingKind.FILE_CUT_SHORT,
                FindingKind.FILE_GROWN,
                FindingKind.BYTES_CHANGED,
                FindingKind.FILE_UNREADABLE,
                FindingKind.DATES_WRONG,
                FindingKind.SEGMENT_IN_FUTURE,
                FindingKind.RECORDED_TWICE,
            }:
                yield Repair(finding)

    def _index(self, finding: Finding) -> str:
        row = self._row_of(self._root / str(finding.path), finding.camera_id)
        if row is None:
            return ""
        try:
            if self._segments.insert_many([row]):
                return "indexed"
        except RowsRefused:
            return ""
        known = self._segments.get(row.camera_id, row.id)
        if known is not None and known.path == row.path:
            return "indexed"  # the server was quicker
        return self._index_renamed(row)

    def _index_renamed(self, row: Segment) -> str:
        """Index a file whose run and number another row has, under a number of its own.

        Not under another run: a server that records may be about to use it.
        """
        number = row.number + _RENAMED
        old = self._root / row.path
        new = old.with_name(Path(stored_name(row.started_at, row.run, number)).name)
        if row.number >= _RENAMED or new.exists():
            return ""
        self._require_root()
        old.rename(new)
        sync_folder(new.parent)
        renamed = replace(
            row,
            id=segment_id(row.camera_id, row.run, number),
            number=number,
            path=str(new.relative_to(self._root)),
        )
        return "indexed under a number of its own" if self._segments.insert_many([renamed]) else ""

    def _row_of(self, path: Path, camera_id: UUID) -> Segment | None:
        name = parse_stored(path.parent.name, path.name)
        owner = next(
            (f.owner for f in camera_folders(self._root) if f.path == path.parent.parent), None
        )
        if name is None or owner is None:
            return None
        try:
            summary, size_bytes, digest = summarise(path), path.stat().st_size, file_digest(path)
        except (NotFragmentedMp4, OSError):
            return None
        ended_at = self._end_of(camera_id, name, summary.length_ms)
        checked = check_file(
            summary, name.started_at, ended_at, self._usual, first=name.number == 0
        )
        if checked is not None and checked.misses_pictures:
            ended_at -= timedelta(milliseconds=checked.slack_ms)
        return Segment(
            id=segment_id(camera_id, name.run, name.number),
            camera_id=camera_id,
            owner=owner,
            run=name.run,
            number=name.number,
            started_at=name.started_at,
            ended_at=ended_at,
            media_ms=min(summary.length_ms, MAX_MEDIA_MS),
            size_bytes=size_bytes,
            path=str(path.relative_to(self._root)),
            # FFmpeg ends a file with its trailer; a file that was cut has none.
            salvaged=not summary.complete,
            digest=digest,
            init_bytes=summary.init_bytes,
            holes="" if checked is None else holes_text(checked.holes),
            error_ms=None if checked is None else checked.error_ms,
        )

    def _end_of(self, camera_id: UUID, name: StoredName, media_ms: int) -> datetime:
        """Return the end of the gap of its loss, else the start of the run's next segment.

        Else the border of the gap where the media end.
        """
        # Time stamps that jump give a file any length; a datetime has an end.
        by_media = name.started_at + timedelta(milliseconds=min(media_ms, _DAY_MS))
        lost_until = self._lost_until(camera_id, name, by_media)
        if lost_until is not None:
            return lost_until
        following = self._segments.get(camera_id, segment_id(camera_id, name.run, name.number + 1))
        if following is not None and following.started_at > name.started_at:
            return following.started_at
        gaps = self._gaps.in_range(camera_id, by_media - _NEAR, by_media + _NEAR)
        borders = [gap.started_at for gap in gaps]
        ends = [gap.ended_at for gap in gaps if gap.ended_at and gap.cause == Cause.FILE_LOST]
        borders += [at for at in ends if not self._in_another_run(camera_id, name.run, at)]
        near = [at for at in borders if abs(at - by_media) < _NEAR and at > name.started_at]
        return min(near, key=lambda at: abs(at - by_media), default=by_media)

    def _lost_until(self, camera_id: UUID, name: StoredName, by_media: datetime) -> datetime | None:
        """Return the end of a file that had been entered as lost; None if it was not, or only in part."""
        gaps = self._gaps.in_range(camera_id, name.started_at, by_media + _NEAR)
        ends: list[datetime] = []
        until, before = name.started_at, ""
        for gap in sorted(gaps, key=lambda one: one.started_at):
            # Its loss begins with it; where it has holes, it goes on after each of them.
            if gap.started_at != until or gap.ended_at is None or gap.cause == before:
                continue
            if gap.cause == Cause.FILE_LOST:
                ends.append(gap.ended_at)
            elif gap.cause != Cause.PICTURES_MISSING:
                break
            until, before = gap.ended_at, gap.cause
        end = min(ends, key=lambda at: abs(at - by_media), default=None)
        if end is None or self._in_another_run(camera_id, name.run, end):
            return None
        return end

    def _in_another_run(self, camera_id: UUID, run: int, at: datetime) -> bool:
        """Return whether another run has what comes then; of a loss, that was not entered."""
        rows = self._segments.in_range(camera_id, at, at + _NEAR)
        return any(row.run != run and row.started_at <= at < row.ended_at for row in rows)

    def _note_hole(self, finding: Finding) -> str:
        """Note a time without pictures in its row; as a second that is missing it is entered afterwards."""
        known = None
        if finding.segment is not None and finding.ended_at is not None:
            known = self._segments.get(finding.camera_id, finding.segment.id)
        if known is None or finding.ended_at is None:
            return ""
        missing = merged([*known.missing, TimeRange(finding.started_at, finding.ended_at)])
        millisecond = timedelta(milliseconds=1)
        spans = [
            Span(
                max(0, (one.from_ - known.started_at) // millisecond),
                (one.to - known.started_at) // millisecond,
            )
            for one in missing
        ]
        self._segments.set_holes(known.id, holes_text(spans))
        return "noted as a hole"

    def _cause_of(self, camera_id: UUID, missing: TimeRange) -> Cause:
        rows = self._segments.in_range(camera_id, missing.from_, missing.to)
        inside = any(one.clip(missing) for row in rows for one in row.missing)
        return Cause.PICTURES_MISSING if inside else Cause.INTERNAL

    def _drop_row(self, finding: Finding) -> None:
        if (row := finding.segment) is not None:
            self._segments.mark_deleting([row.id])
            self._segments.delete([row.id])

    def _enter_loss(self, finding: Finding) -> str:
        """Enter a gap for the time that no other segment and no gap covers; runs may overlap."""
        row = finding.segment
        if row is None:
            return ""
        stored = self._segments.in_range(row.camera_id, row.started_at, row.ended_at)
        gaps = self._gaps.in_range(row.camera_id, row.started_at, row.ended_at)
        known = [TimeRange(one.started_at, one.ended_at) for one in stored]
        known += [TimeRange(gap.started_at, gap.ended_at or END_OF_TIME) for gap in gaps]
        for hole in holes([TimeRange(row.started_at, row.ended_at)], known):
            self._add_gap(row.camera_id, hole, Cause.FILE_LOST)
        return "lost: entered in the ledger"

    def _close(self, gap: Gap) -> str:
        """Close a gap where recording went on, or else where it was no longer wanted."""
        rows = self._segments.in_range(gap.camera_id, gap.started_at, END_OF_TIME)
        periods = self._periods.in_range(gap.camera_id, gap.started_at, END_OF_TIME)
        ends = [row.started_at for row in rows if row.started_at >= gap.started_at]
        ends += [period.ended_at for period in periods if period.ended_at is not None]
        ended_at = min((end for end in ends if end >= gap.started_at), default=gap.started_at)
        self._gaps.upsert_many([replace(gap, ended_at=ended_at)])
        if ended_at == gap.started_at:
            self._gaps.remove(gap.id)
            return "removed: it covered nothing"
        return "closed where recording went on or was no longer wanted"

    def _take_back(self, gap: Gap, now: datetime) -> str:
        """Let a gap end at the present; one that begins later is removed."""
        self._gaps.upsert_many([replace(gap, ended_at=gap.started_at)])
        self._gaps.remove(gap.id)
        if gap.ended_at is None or gap.started_at >= now:
            return "removed: that time has not come yet"
        self._add_gap(gap.camera_id, TimeRange(gap.started_at, now), Cause(gap.cause))
        return "ended at the present"

    def _clip_gaps(self, camera_id: UUID, recorded: TimeRange) -> str:
        """Take a recorded time out of the gaps that claim it; what was recorded is not missing."""
        clipped = ""
        for gap in self._gaps.in_range(camera_id, recorded.from_, recorded.to):
            if gap.ended_at is None or gap.clock_set:
                continue
            self._gaps.remove(gap.id)
            for rest in (
                TimeRange(gap.started_at, recorded.from_),
                TimeRange(recorded.to, gap.ended_at),
            ):
                if rest.from_ < rest.to:
                    self._add_gap(camera_id, rest, Cause(gap.cause))
            clipped = "taken out of the gap: it is recorded"
        return clipped

    def _add_gap(self, camera_id: UUID, where: TimeRange, cause: Cause) -> None:
        gap = Gap(
            id=uuid4(),
            camera_id=camera_id,
            started_at=where.from_,
            ended_at=where.to,
            cause=cause,
        )
        self._gaps.upsert_many([gap])
