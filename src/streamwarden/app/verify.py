"""``recordings verify``: disk against index, index against what was wanted, bytes against digests.

It may run beside a server that records: files are listed first, then the journal, then the rows, so
that whatever is on its way from one to the next is seen at least once. A file that seems to have no row
is looked up again at the end; what follows the newest row, while files are in progress, is no finding.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.app.accounts import Account
from streamwarden.app.findings import Finding, Kind, Scope
from streamwarden.app.folders import camera_folders, in_progress, stored_files
from streamwarden.media.beneath import require_plain
from streamwarden.media.disk import file_digest
from streamwarden.media.fmp4 import NotFragmentedMp4, summarise
from streamwarden.storage.gaps import GapRepository
from streamwarden.storage.journal import Entry
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Gap, Segment
from streamwarden.storage.segments import SegmentRepository

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

    def verify(self, camera_id: UUID, scope: Scope) -> Iterator[Finding]:
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
        self, camera_id: UUID, rows: Sequence[Segment], gaps: Sequence[Gap], scope: Scope
    ) -> Account:
        # What is marked goes only after its time was taken out of the wishes: so the wishes last.
        going = self._segments.deleting_of(camera_id)
        periods = self._periods.in_range(camera_id, scope.from_, scope.to)
        return Account(camera_id, rows, gaps, periods, scope, going=going)

    def _folders(self, camera_id: UUID) -> list[Path]:
        if camera_id not in self._by_camera:
            self._walk()
        return self._by_camera.get(camera_id, [])

    def _walk(self) -> None:
        # Once for all cameras: with a thousand of them, once for each would take minutes.
        self._by_camera = {}
        for folder in camera_folders(self._root):
            self._by_camera.setdefault(folder.camera_id, []).append(folder.path)

    def _files(self, folders: Sequence[Path], scope: Scope) -> Mapping[str, datetime]:
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
                    kind=Kind.ROW_MISSING,
                    camera_id=camera_id,
                    started_at=started_at,
                    ended_at=None,
                    path=path,
                    detail="a stored file that no row speaks of",
                )

    def _check_file(self, row: Segment, scope: Scope) -> Iterator[Finding]:
        try:
            require_plain(self._root, (self._root / row.path).parent)
            wrong = _wrong_with(self._root / row.path, row, scope)
        except (FileNotFoundError, NotADirectoryError):
            # Retention may have taken it: it is written down until its row is marked.
            if row.id not in self._noted and self._segments.get(row.camera_id, row.id) is not None:
                yield _finding(Kind.FILE_MISSING, row, "the row speaks of a file that is not there")
            return
        except OSError as error:
            # It may well be whole: whoever looks is not allowed to, or the disk has trouble.
            yield _finding(Kind.FILE_UNREADABLE, row, error.strerror or type(error).__name__)
            return
        if wrong is not None:
            yield _finding(wrong[0], row, wrong[1])


def _wrong_with(path: Path, row: Segment, scope: Scope) -> tuple[Kind, str] | None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return Kind.FILE_UNREADABLE, "not a regular file"
    if found.st_size != row.size_bytes:
        kind = Kind.FILE_CUT_SHORT if found.st_size < row.size_bytes else Kind.FILE_GROWN
        return kind, f"{found.st_size} bytes instead of {row.size_bytes}"
    if scope.digests and row.digest is not None and file_digest(path) != row.digest:
        return Kind.BYTES_CHANGED, "its BLAKE3 digest is another one"
    if scope.decode is not None and (wrong := scope.decode(path)):
        return Kind.FILE_UNREADABLE, wrong
    return None


def _finding(kind: Kind, row: Segment, detail: str) -> Finding:
    return Finding(
        kind=kind,
        camera_id=row.camera_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
        path=row.path,
        detail=detail,
        segment=row,
    )
