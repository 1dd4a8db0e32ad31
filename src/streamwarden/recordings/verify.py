"""The check of the recordings: disk against index, index against desired state, bytes against digests.

It may run beside a server that records. Files are listed first, then the journal, then the rows, so a
segment on its way from one to the next is seen at least once. A file that seems to have no row is looked
up again at the end; while files are in progress, time after the newest row is not yet due.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.model import Cause, Gap, Segment, TimeRange, WantedPeriod
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FileSummary, summarise, summarise_finished
from streamwarden.paths import LIVE, open_nofollow, refuse_symlinks
from streamwarden.recordings.day_accounts import DayAccount, accounts
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.footage_check import FootageCheck
from streamwarden.recordings.gap_ledger import LEDGER, decode_ledger
from streamwarden.recordings.record_root import camera_folders, in_progress, stored_files
from streamwarden.recordings.time_ranges import TOLERANCE, holes, merged, overlaps
from streamwarden.storage.journal import Entry
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)

_GUESSED: Final = frozenset({Cause.CLOCK_STEP, Cause.SERVER_DOWN, Cause.SHUTDOWN})
"""Causes of gaps that end by a clock that nothing has confirmed."""

_SECOND: Final = timedelta(seconds=1)

_AHEAD: Final = timedelta(seconds=5)
"""The clocks of two machines may differ by this much."""

_BESIDE: Final = timedelta(seconds=30)
"""A run and the one that replaces it record side by side for no longer than this and a segment."""


class FindingKind(StrEnum):
    """The kinds of disagreement between disk, index and desired state."""

    FILE_MISSING = "file_missing"
    FILE_CUT_SHORT = "file_cut_short"
    FILE_GROWN = "file_grown"
    BYTES_CHANGED = "bytes_changed"
    FILE_UNREADABLE = "file_unreadable"
    ROW_MISSING = "row_missing"
    SECOND_MISSING = "second_missing"
    SECOND_TWICE = "second_twice"
    PICTURES_MISSING = "pictures_missing"
    DATES_WRONG = "dates_wrong"
    GAP_LEFT_OPEN = "gap_left_open"
    GAP_IN_FUTURE = "gap_in_future"
    SEGMENT_IN_FUTURE = "segment_in_future"
    RECORDED_TWICE = "recorded_twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One file or time range for which disk, index and desired state disagree."""

    kind: FindingKind
    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None
    path: str | None = None
    detail: str = ""
    segment: Segment | None = None
    gap: Gap | None = None

    def as_json(self) -> dict[str, object]:
        """Return the finding for scripts."""
        return {
            "kind": self.kind,
            "camera_id": str(self.camera_id),
            "started_at": rfc3339(self.started_at),
            "ended_at": self.ended_at and rfc3339(self.ended_at),
            "path": self.path,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The time range to verify, and how thoroughly. ``decode`` plays a file and returns its faults.

    With ``now``, gaps and segments of a time that has not come yet are found as well.
    """

    from_: datetime = BEGINNING
    to: datetime
    now: datetime | None = None
    digests: bool = True
    decode: Callable[[Path], str] | None = None
    began_s: float = field(default_factory=time.monotonic)
    """When ``now`` was, by the monotonic clock: a check of many cameras takes a while."""


class Verifier:
    """Reads files, journal and index, and changes nothing.

    ``pending`` reads the journal; ``deleted`` holds the rows whose files retention has deleted without
    the index and whose rows it has not marked yet.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        database: Database,
        pending: Callable[[], list[Entry]],
        deleted: Container[UUID],
    ) -> None:
        self._root = record_root
        self._pending = pending
        self._deleted = deleted
        self._segments = SegmentRepository(database)
        self._gaps = GapRepository(database)
        self._periods = PeriodRepository(database)
        self._by_camera: dict[UUID, list[Path]] = {}
        self.days: list[DayAccount] = []
        """The accounts of the cameras that were verified so far."""

    def cameras(self) -> list[UUID]:
        """Return every camera that has recordings, files, or was ever wanted."""
        on_disk = {folder.camera_id for folder in camera_folders(self._root)}
        return sorted({*on_disk, *self._segments.camera_ids(), *self._periods.camera_ids()})

    def verify(self, camera_id: UUID, options: VerifyOptions) -> Iterator[Finding]:
        """Yield the findings about one camera's recordings."""
        folders = self._folders(camera_id)
        unfinished = any(in_progress(folder) for folder in folders)
        files = self._files(folders, options)
        # Before the rows: a gap that ends meanwhile is then seen to be open, or to have ended.
        open_gaps = _open_in_ledgers(folders)
        pending = [row for row in self._pending() if row.camera_id == camera_id]
        from_, to = options.from_, options.to
        rows = {row.id: row for row in pending if isinstance(row, Segment)}
        rows |= {row.id: row for row in self._segments.in_range(camera_id, from_, to)}
        last = to if options.now is None or to < options.now else END_OF_TIME
        gaps = {row.id: row for row in self._gaps.in_range(camera_id, from_, last)}
        gaps |= {row.id: row for row in pending if isinstance(row, Gap) and row.ended_at}
        footage = FootageCheck()
        for row in sorted(rows.values(), key=attrgetter("started_at", "run", "number")):
            yield from self._check_file(row, options, footage)
        # Periods last: retention takes a segment's time out of them before it deletes the marked row.
        deleting = self._segments.deleting_of(camera_id)
        coverage = CoverageCheck(
            camera_id,
            list(rows.values()),
            list(gaps.values()),
            self._periods.in_range(camera_id, from_, to),
            options,
            deleting=deleting,
            open_gaps=open_gaps,
        )
        yield from coverage.findings(unfinished=unfinished)
        if last > to:
            yield from self._in_future(camera_id, options)
        for missing in footage.missing(coverage.missing):
            yield replace(
                _finding(FindingKind.PICTURES_MISSING, missing.row, missing.detail),
                started_at=missing.where.from_,
                ended_at=missing.where.to,
            )
        for wrong in footage.wrong:
            yield _finding(FindingKind.DATES_WRONG, wrong.row, wrong.detail)
        self.days += coverage.accounts(unfinished=unfinished)
        known = {row.path for row in rows.values()}
        unknown = {path: at for path, at in files.items() if path not in known}
        yield from self._check_unknown(camera_id, unknown)

    def _in_future(self, camera_id: UUID, options: VerifyOptions) -> Iterator[Finding]:
        """Yield each stretch of segments that begin in a time that has not come yet."""
        if options.now is None:
            return
        now = options.now + timedelta(seconds=time.monotonic() - options.began_s) + _AHEAD
        rows = self._segments.in_range(camera_id, now, END_OF_TIME)
        ahead = [TimeRange(row.started_at, row.ended_at) for row in rows if row.started_at > now]
        for where in merged(ahead):
            count = sum(where.contains(each.from_, each.to) for each in ahead)
            yield Finding(
                kind=FindingKind.SEGMENT_IN_FUTURE,
                camera_id=camera_id,
                started_at=where.from_,
                ended_at=where.to,
                detail=f"{count} segments of a time that has not come yet: the clock was ahead of this one",
            )

    def _folders(self, camera_id: UUID) -> list[Path]:
        if camera_id not in self._by_camera:
            # One walk for all cameras: with a thousand of them, a walk for each would take minutes.
            self._by_camera = {}
            for folder in camera_folders(self._root):
                self._by_camera.setdefault(folder.camera_id, []).append(folder.path)
        return self._by_camera.get(camera_id, [])

    def _files(self, folders: Sequence[Path], options: VerifyOptions) -> Mapping[str, datetime]:
        """Return the files that start in the range, and the last one before it if it reaches in."""
        files = {
            str(path.relative_to(self._root)): started_at
            for folder in folders
            for path, started_at in stored_files(folder, options.from_, options.to)
        }
        inside = {path: at for path, at in files.items() if at >= options.from_}
        before = max(files.keys() - inside.keys(), key=lambda path: files[path], default=None)
        if before is not None and self._ends_after(before, files[before], options.from_):
            inside[before] = files[before]
        return inside

    def _ends_after(self, path: str, started_at: datetime, moment: datetime) -> bool:
        try:
            media_s = summarise(self._root / path).length_ms / 1000
        except (NotFragmentedMp4, OSError):
            return False
        return media_s > (moment - started_at).total_seconds()

    def _check_file(
        self, row: Segment, options: VerifyOptions, footage: FootageCheck
    ) -> Iterator[Finding]:
        try:
            refuse_symlinks(self._root, (self._root / row.path).parent)
            fault = _fault_of(self._root / row.path, row, options)
        except (FileNotFoundError, NotADirectoryError):
            # Retention may have deleted it: the file is in its log until the row is marked.
            if (
                row.id not in self._deleted
                and self._segments.get(row.camera_id, row.id) is not None
            ):
                detail = "its file is missing"
                yield _finding(FindingKind.FILE_MISSING, row, detail)
            return
        except OSError as error:
            # The file may be whole: this user may not read it, or the disk has a fault.
            detail = error.strerror or type(error).__name__
            yield _finding(FindingKind.FILE_UNREADABLE, row, detail)
            return
        if fault is not None:
            yield _finding(fault[0], row, fault[1])
        elif options.digests and (summary := _structure(self._root / row.path)) is not None:
            footage.add(row, summary)

    def _check_unknown(self, camera_id: UUID, unknown: Mapping[str, datetime]) -> Iterator[Finding]:
        """Look rows up again: a file may have been on its way into the index, or to its deletion."""
        if not unknown:
            return
        first, last = min(unknown.values()) - _SECOND, max(unknown.values()) + _SECOND
        rows: list[Entry] = [*self._pending(), *self._segments.in_range(camera_id, first, last)]
        rows += self._segments.deleting_of(camera_id)
        known = {row.path for row in rows if isinstance(row, Segment)}
        for path, started_at in sorted(unknown.items()):
            if path not in known and (self._root / path).exists():
                yield Finding(
                    kind=FindingKind.ROW_MISSING,
                    camera_id=camera_id,
                    started_at=started_at,
                    ended_at=None,
                    path=path,
                    detail="a stored file without a row",
                )


def _structure(path: Path) -> FileSummary | None:
    """Return the structure of a file; None where it cannot be read, which only decoding judges."""
    try:
        with os.fdopen(open_nofollow(path), "rb", buffering=0) as file:
            return summarise_finished(file.fileno(), os.fstat(file.fileno()).st_size)
    except (NotFragmentedMp4, OSError):
        return None


def _open_in_ledgers(folders: Sequence[Path]) -> set[UUID]:
    """Return the gaps that the ledgers in a camera's folders hold open."""
    found = set()
    for folder in folders:
        try:
            ledger, _ = decode_ledger((folder / LIVE / LEDGER).read_bytes())
        except (OSError, ValueError):
            continue  # none, or an unreadable one, which the next start rebuilds
        if ledger.gap is not None:
            found.add(ledger.gap.id)
    return found


def _fault_of(path: Path, row: Segment, options: VerifyOptions) -> tuple[FindingKind, str] | None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return FindingKind.FILE_UNREADABLE, "not a regular file"
    if found.st_size != row.size_bytes:
        shorter = found.st_size < row.size_bytes
        kind = FindingKind.FILE_CUT_SHORT if shorter else FindingKind.FILE_GROWN
        return kind, f"{found.st_size} bytes instead of {row.size_bytes}"
    if options.digests and row.digest is not None and file_digest(path) != row.digest:
        return FindingKind.BYTES_CHANGED, "its digest differs from the index"
    if options.decode is not None and (faults := options.decode(path)):
        return FindingKind.FILE_UNREADABLE, faults
    return None


def _finding(kind: FindingKind, row: Segment, detail: str) -> Finding:
    return Finding(
        kind=kind,
        camera_id=row.camera_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
        path=row.path,
        detail=detail,
        segment=row,
    )


class CoverageCheck:
    """Checks that every wanted second of a camera is in exactly one segment or gap.

    ``deleting`` are rows that are marked for deletion: their time is neither missing nor recorded twice.
    ``open_gaps`` are those that the camera's ledger holds open: segments after their start were brought
    there from elsewhere, and the recorder says when such a gap ends.
    """

    def __init__(
        self,
        camera_id: UUID,
        rows: Sequence[Segment],
        gaps: Sequence[Gap],
        periods: Sequence[WantedPeriod],
        options: VerifyOptions,
        *,
        deleting: Sequence[Segment] = (),
        open_gaps: Container[UUID] = (),
    ) -> None:
        self._open_gaps = open_gaps
        self._camera_id = camera_id
        self._starts = sorted(row.started_at for row in rows)
        self._gaps = gaps
        self._periods = periods
        self._options = options
        self._rows = rows
        self._stored = [part for row in rows for part in row.pictures]
        self._deleting = [TimeRange(row.started_at, row.ended_at) for row in deleting]
        self._missing = [TimeRange(gap.started_at, self._end_of(gap)) for gap in gaps]

    @property
    def missing(self) -> list[TimeRange]:
        """The times of all gaps."""
        return self._missing

    def accounts(self, *, unfinished: bool) -> list[DayAccount]:
        """Return the account of each day."""
        gaps = list(zip(self._gaps, self._missing, strict=True))
        wanted = self._wanted(unfinished=unfinished)
        return [*accounts(self._camera_id, wanted, self._rows, gaps, self._deleting)]

    def findings(self, *, unfinished: bool) -> Iterator[Finding]:
        """Yield the findings; ``unfinished``: time after the newest row or gap is not yet due."""
        known = (*self._stored, *self._deleting, *self._missing)
        for hole in holes(self._wanted(unfinished=unfinished), known):
            detail = "neither recorded nor in the ledger"
            yield self._finding(FindingKind.SECOND_MISSING, hole, detail)
        # Where the clock was set back, footage of the former time may lie over a loss of the later one.
        clear = [TimeRange(g.started_at, self._end_of(g)) for g in self._gaps if not g.clock_set]
        for both in overlaps(self._stored, clear):
            detail = "recorded, and a gap in the ledger"
            yield self._finding(FindingKind.SECOND_TWICE, both, detail)
        yield from self._recorded_twice()
        for gap in self._gaps:
            if ahead := self._in_future(gap):
                yield replace(
                    self._finding(FindingKind.GAP_IN_FUTURE, ahead, "of a gap have not come yet"),
                    gap=gap,
                )
            elif gap.ended_at is None and (reason := self._reason_to_close(gap)):
                yield Finding(
                    kind=FindingKind.GAP_LEFT_OPEN,
                    camera_id=self._camera_id,
                    started_at=gap.started_at,
                    ended_at=None,
                    detail=reason,
                    gap=gap,
                )

    def _recorded_twice(self) -> Iterator[Finding]:
        """Yield where two runs overlap for longer than a run and the one that replaces it."""
        runs: dict[int, list[Segment]] = {}
        for row in self._rows:
            runs.setdefault(row.run, []).append(row)
        stretches = [
            (where, run)
            for run, rows in runs.items()
            for where in merged(TimeRange(row.started_at, row.ended_at) for row in rows)
        ]
        begun: list[tuple[TimeRange, int]] = []
        for where, run in sorted(stretches, key=lambda one: (one[0].from_, one[1])):
            begun = [one for one in begun if one[0].to > where.from_]
            for other, other_run in begun:
                both = other.clip(where)
                longest = max(
                    row.ended_at - row.started_at for each in (run, other_run) for row in runs[each]
                )
                if run != other_run and both is not None and both.length > _BESIDE + longest:
                    numbers = f"{min(run, other_run)} and {max(run, other_run)}"
                    detail = f"in runs {numbers}: the clock was set back, or two servers recorded"
                    yield self._finding(FindingKind.RECORDED_TWICE, both, detail)
            begun.append((where, run))

    def _wanted(self, *, unfinished: bool) -> list[TimeRange]:
        options = self._options
        newest = max((each.to for each in (*self._stored, *self._missing)), default=options.from_)
        wanted = []
        for period in self._periods:
            ended_at = min(period.ended_at or newest, options.to)
            if unfinished:
                ended_at = min(ended_at, newest)
            wanted.append(TimeRange(max(period.started_at, options.from_), ended_at))
        return [each for each in wanted if each.from_ < each.to]

    def _starts_after(self, gap: Gap) -> list[datetime]:
        return [started_at for started_at in self._starts if started_at >= gap.started_at]

    def _end_of(self, gap: Gap) -> datetime:
        """Return the end of a gap; of an open one, the start of the segment that follows it."""
        if gap.ended_at is not None:
            return gap.ended_at
        last = max(self._options.to, gap.started_at)
        return last if self._goes_on(gap) else min(self._starts_after(gap), default=last)

    def _goes_on(self, gap: Gap) -> bool:
        # The first segment after a gap is indexed a moment before the gap is closed.
        return gap.id in self._open_gaps and len(self._starts_after(gap)) > 1

    def _reason_to_close(self, gap: Gap) -> str:
        """Return why an open gap should have ended; empty while it may be open."""
        if not any(period.ended_at is None for period in self._periods):
            return "an open gap, though nothing is wanted"
        recorded = len(self._starts_after(gap)) > 1 and not self._goes_on(gap)
        return "an open gap, though recording goes on" if recorded else ""

    def _in_future(self, gap: Gap) -> TimeRange | None:
        """Return the part of a gap that has not come yet, None where there is none.

        A loss from before a step back ends in the future for a while, where it was.
        """
        now = self._options.now
        if now is None:
            return None
        if gap.ended_at is None:
            # An open gap lasts until the present, so all of one that begins later is wrong.
            ahead = TimeRange(now, gap.started_at)
        elif gap.cause in _GUESSED:
            ahead = TimeRange(max(gap.started_at, now), gap.ended_at)
        else:
            return None
        return ahead if ahead.length > TOLERANCE else None

    def _finding(self, kind: FindingKind, where: TimeRange, detail: str) -> Finding:
        return Finding(
            kind=kind,
            camera_id=self._camera_id,
            started_at=where.from_,
            ended_at=where.to,
            detail=f"{where.length.total_seconds():.3f} s {detail}",
        )
