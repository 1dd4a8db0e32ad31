"""``recordings verify``: disk against index, index against what was wanted, bytes against digests.

It may run beside a server that records: files are listed first, then the journal, then the rows, so
that whatever is on its way from one to the next is seen at least once. A file that seems to have no row
is looked up again at the end; what follows the newest row, while files are in progress, is no finding.


What ``recordings verify`` can find, and what it looks at.

Whether segments and gaps cover what was wanted: pure interval arithmetic.

One camera's account: whether rows, gaps and wishes tell the same of every second.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.model import Gap, Segment, WantedPeriod
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import summarise
from streamwarden.paths import refuse_symlinks
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.record_root import camera_folders, in_progress, stored_files
from streamwarden.storage.journal import Entry
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FindingKind(StrEnum):
    """What is wrong at a place."""

    FILE_MISSING = "file_missing"
    FILE_CUT_SHORT = "file_cut_short"
    FILE_GROWN = "file_grown"
    BYTES_CHANGED = "bytes_changed"
    FILE_UNREADABLE = "file_unreadable"
    ROW_MISSING = "row_missing"
    SECOND_MISSING = "second_missing"
    SECOND_TWICE = "second_twice"
    GAP_LEFT_OPEN = "gap_left_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where disk, index and wishes disagree."""

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
    """What is looked at, and how closely. ``decode`` plays a file and returns what was wrong."""

    from_: datetime = BEGINNING
    to: datetime
    digests: bool = True
    decode: Callable[[Path], str] | None = None


TOLERANCE: Final = timedelta(milliseconds=500)
"""Two pieces meet if they are this close: the API's clock opens a period, the recorder's a gap."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time, its end excluded."""

    started_at: datetime
    ended_at: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.ended_at - self.started_at


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the union of ``spans`` as disjoint spans in time order; empty ones cover nothing."""
    union: list[Span] = []
    for span in sorted(span for span in spans if span.started_at < span.ended_at):
        if union and span.started_at <= union[-1].ended_at:
            if span.ended_at > union[-1].ended_at:
                union[-1] = Span(union[-1].started_at, span.ended_at)
        else:
            union.append(span)
    return union


def holes(wanted: Sequence[Span], covered: Iterable[Span]) -> Iterator[Span]:
    """Yield what of ``wanted`` no span of ``covered`` reaches, where it is above the tolerance."""
    union = merged(covered)
    for want in merged(wanted):
        position = want.started_at
        for span in union:
            if span.ended_at <= position:
                continue
            if span.started_at >= want.ended_at:
                break
            if span.started_at - position > TOLERANCE:
                yield Span(position, span.started_at)
            position = max(position, span.ended_at)
        if want.ended_at - position > TOLERANCE:
            yield Span(position, want.ended_at)


def overlaps(left: Iterable[Span], right: Iterable[Span]) -> Iterator[Span]:
    """Yield where a span of ``left`` and one of ``right`` say different things of the same time."""
    rights = merged(right)
    for one in merged(left):
        for other in rights:
            if other.started_at >= one.ended_at:
                break
            both = Span(max(one.started_at, other.started_at), min(one.ended_at, other.ended_at))
            if both.length > TOLERANCE:
                yield both


class CoverageCheck:
    """Rows, gaps and wishes of one camera side by side; ``going`` are rows marked for deletion."""

    def __init__(
        self,
        camera_id: UUID,
        rows: Sequence[Segment],
        gaps: Sequence[Gap],
        periods: Sequence[WantedPeriod],
        scope: VerifyOptions,
        *,
        going: Sequence[Segment] = (),
    ) -> None:
        self._camera_id = camera_id
        self._starts = sorted(row.started_at for row in rows)
        self._gaps = gaps
        self._periods = periods
        self._scope = scope
        self._stored = [Span(row.started_at, row.ended_at) for row in rows]
        self._going = [Span(row.started_at, row.ended_at) for row in going]
        self._missing = [Span(gap.started_at, self._end_of(gap)) for gap in gaps]

    def findings(self, *, unfinished: bool) -> Iterator[Finding]:
        """Yield what does not fit; ``unfinished`` when more is on its way behind the newest row."""
        camera_id, known = self._camera_id, (*self._stored, *self._going, *self._missing)
        for hole in holes(self._wanted(unfinished=unfinished), known):
            yield _cover(
                FindingKind.SECOND_MISSING, camera_id, hole, "neither recorded nor in the ledger"
            )
        for both in overlaps(self._stored, self._missing):
            yield _cover(
                FindingKind.SECOND_TWICE, camera_id, both, "recorded, and a gap in the ledger"
            )
        for gap in self._gaps:
            if gap.ended_at is None and (why := self._why_not_open(gap)):
                yield Finding(
                    kind=FindingKind.GAP_LEFT_OPEN,
                    camera_id=camera_id,
                    started_at=gap.started_at,
                    ended_at=None,
                    detail=why,
                    gap=gap,
                )

    def _wanted(self, *, unfinished: bool) -> list[Span]:
        scope = self._scope
        newest = max(
            (span.ended_at for span in (*self._stored, *self._missing)), default=scope.from_
        )
        spans = []
        for period in self._periods:
            ended_at = period.ended_at or newest
            ended_at = min(ended_at, newest, scope.to) if unfinished else min(ended_at, scope.to)
            spans.append(Span(max(period.started_at, scope.from_), ended_at))
        return [span for span in spans if span.started_at < span.ended_at]

    def _after(self, gap: Gap) -> list[datetime]:
        return [started_at for started_at in self._starts if started_at >= gap.started_at]

    def _end_of(self, gap: Gap) -> datetime:
        """Return where a gap ends: one that is still open, where a segment follows it."""
        if gap.ended_at is not None:
            return gap.ended_at
        return min(self._after(gap), default=max(self._scope.to, gap.started_at))

    def _why_not_open(self, gap: Gap) -> str:
        """Return why the gap should have ended; empty while it may be open."""
        if not any(period.ended_at is None for period in self._periods):
            return "an open gap, though nothing is wanted"
        # The first segment after a gap is indexed a moment before the gap is closed.
        return "an open gap, though recording goes on" if len(self._after(gap)) > 1 else ""


def _cover(kind: FindingKind, camera_id: UUID, span: Span, detail: str) -> Finding:
    text = f"{span.length.total_seconds():.3f} s {detail}"
    return Finding(
        kind=kind,
        camera_id=camera_id,
        started_at=span.started_at,
        ended_at=span.ended_at,
        detail=text,
    )


_SECOND: Final = timedelta(seconds=1)


class Verifier:
    """Looks, and changes nothing.

    ``pending`` reads the journal; ``noted`` holds the rows whose files retention has taken and that it
    has yet to mark.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        database: Database,
        pending: Callable[[], list[Entry]],
        noted: Container[UUID],
    ) -> None:
        self._by_camera: dict[UUID, list[Path]] = {}
        self._root = record_root
        self._pending = pending
        self._noted = noted
        self._segments = SegmentRepository(database)
        self._gaps = GapRepository(database)
        self._periods = PeriodRepository(database)

    def cameras(self) -> list[UUID]:
        """Return every camera that has recordings, files or wishes."""
        on_disk = {folder.camera_id for folder in camera_folders(self._root)}
        return sorted({*on_disk, *self._segments.camera_ids(), *self._periods.camera_ids()})

    def verify(self, camera_id: UUID, scope: VerifyOptions) -> Iterator[Finding]:
        """Yield what is wrong with one camera's recordings."""
        folders = self._folders(camera_id)
        unfinished = any(in_progress(folder) for folder in folders)
        files = self._files(folders, scope)
        pending = [row for row in self._pending() if row.camera_id == camera_id]
        rows = {row.id: row for row in pending if isinstance(row, Segment)}
        rows |= {row.id: row for row in self._segments.in_range(camera_id, scope.from_, scope.to)}
        gaps = {row.id: row for row in self._gaps.in_range(camera_id, scope.from_, scope.to)}
        gaps |= {row.id: row for row in pending if isinstance(row, Gap) and row.ended_at}
        for row in sorted(rows.values(), key=lambda row: row.started_at):
            yield from self._check_file(row, scope)
        account = self._account(camera_id, list(rows.values()), list(gaps.values()), scope)
        yield from account.findings(unfinished=unfinished)
        known = {row.path for row in rows.values()}
        unknown = {path: at for path, at in files.items() if path not in known}
        yield from self._check_unknown(camera_id, unknown)

    def _account(
        self, camera_id: UUID, rows: Sequence[Segment], gaps: Sequence[Gap], scope: VerifyOptions
    ) -> CoverageCheck:
        # What is marked goes only after its time was taken out of the wishes: so the wishes last.
        going = self._segments.deleting_of(camera_id)
        periods = self._periods.in_range(camera_id, scope.from_, scope.to)
        return CoverageCheck(camera_id, rows, gaps, periods, scope, going=going)

    def _folders(self, camera_id: UUID) -> list[Path]:
        if camera_id not in self._by_camera:
            self._walk()
        return self._by_camera.get(camera_id, [])

    def _walk(self) -> None:
        # Once for all cameras: with a thousand of them, once for each would take minutes.
        self._by_camera = {}
        for folder in camera_folders(self._root):
            self._by_camera.setdefault(folder.camera_id, []).append(folder.path)

    def _files(self, folders: Sequence[Path], scope: VerifyOptions) -> Mapping[str, datetime]:
        """Return the files that start in the range, and the last one before it if it reaches in."""
        files = {
            str(path.relative_to(self._root)): started_at
            for folder in folders
            for path, started_at in stored_files(folder, scope.from_, scope.to)
        }
        inside = {path: at for path, at in files.items() if at >= scope.from_}
        before = max(files.keys() - inside.keys(), key=lambda path: files[path], default=None)
        if before is not None and self._ends_after(before, files[before], scope.from_):
            inside[before] = files[before]
        return inside

    def _ends_after(self, path: str, started_at: datetime, moment: datetime) -> bool:
        try:
            media_s = summarise(self._root / path).media_ms / 1000
        except (NotFragmentedMp4, OSError):
            return False
        return media_s > (moment - started_at).total_seconds()

    def _check_unknown(self, camera_id: UUID, unknown: Mapping[str, datetime]) -> Iterator[Finding]:
        """Look again: a file may have been on its way to its row, or to its deletion."""
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
                    detail="a stored file that no row speaks of",
                )

    def _check_file(self, row: Segment, scope: VerifyOptions) -> Iterator[Finding]:
        try:
            refuse_symlinks(self._root, (self._root / row.path).parent)
            wrong = _wrong_with(self._root / row.path, row, scope)
        except (FileNotFoundError, NotADirectoryError):
            # Retention may have taken it: it is written down until its row is marked.
            if row.id not in self._noted and self._segments.get(row.camera_id, row.id) is not None:
                yield _finding(
                    FindingKind.FILE_MISSING, row, "the row speaks of a file that is not there"
                )
            return
        except OSError as error:
            # It may well be whole: whoever looks is not allowed to, or the disk has trouble.
            yield _finding(FindingKind.FILE_UNREADABLE, row, error.strerror or type(error).__name__)
            return
        if wrong is not None:
            yield _finding(wrong[0], row, wrong[1])


def _wrong_with(path: Path, row: Segment, scope: VerifyOptions) -> tuple[FindingKind, str] | None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return FindingKind.FILE_UNREADABLE, "not a regular file"
    if found.st_size != row.size_bytes:
        kind = (
            FindingKind.FILE_CUT_SHORT if found.st_size < row.size_bytes else FindingKind.FILE_GROWN
        )
        return kind, f"{found.st_size} bytes instead of {row.size_bytes}"
    if scope.digests and row.digest is not None and file_digest(path) != row.digest:
        return FindingKind.BYTES_CHANGED, "its BLAKE3 digest is another one"
    if scope.decode is not None and (wrong := scope.decode(path)):
        return FindingKind.FILE_UNREADABLE, wrong
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
