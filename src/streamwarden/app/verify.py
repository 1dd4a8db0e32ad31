"""``recordings verify``: disk against index, index against what was wanted, bytes against digests.

It may run beside a server that records: files are listed first, then the journal, then the rows, so
that whatever is on its way from one to the next is seen at least once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from blake3 import blake3

from streamwarden.app.coverage import Span, holes, overlaps
from streamwarden.clock import rfc3339
from streamwarden.media.names import LIVE, decode_owner, parse_stored
from streamwarden.storage.gaps import GapRepository
from streamwarden.storage.journal import Entry
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Gap, Segment
from streamwarden.storage.segments import SegmentRepository

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
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

    kind: Kind
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
class Scope:
    """What is looked at, and how closely. ``decode`` plays a file and returns what was wrong."""

    from_: datetime = BEGINNING
    to: datetime
    digests: bool = True
    decode: Callable[[Path], str] | None = None


@dataclass(frozen=True, slots=True)
class CameraFolder:
    """Where a camera's files are; its owner is known by the folder above."""

    owner: str
    camera_id: UUID
    path: Path


class Verifier:
    """Looks, and changes nothing."""

    def __init__(
        self, *, record_root: Path, database: Database, pending: Callable[[], list[Entry]]
    ) -> None:
        self._root = record_root
        self._pending = pending
        self._segments = SegmentRepository(database)
        self._gaps = GapRepository(database)
        self._periods = PeriodRepository(database)

    def cameras(self) -> list[UUID]:
        """Return every camera that has recordings, files or wishes."""
        on_disk = {folder.camera_id for folder in camera_folders(self._root)}
        return sorted({*on_disk, *self._segments.camera_ids(), *self._periods.camera_ids()})

    def verify(self, camera_id: UUID, scope: Scope) -> Iterator[Finding]:
        """Yield what is wrong with one camera's recordings."""
        files = self._files(camera_id, scope)
        pending = [row for row in self._pending() if row.camera_id == camera_id]
        rows = {row.id: row for row in pending if isinstance(row, Segment)}
        rows |= {row.id: row for row in self._segments.in_range(camera_id, scope.from_, scope.to)}
        gaps = {row.id: row for row in self._gaps.in_range(camera_id, scope.from_, scope.to)}
        gaps |= {row.id: row for row in pending if isinstance(row, Gap) and row.ended_at}
        known = {row.path for row in rows.values()}
        for path, started_at in sorted(files.items()):
            if path not in known:
                yield Finding(
                    kind=Kind.ROW_MISSING,
                    camera_id=camera_id,
                    started_at=started_at,
                    ended_at=None,
                    path=path,
                    detail="a stored file that no row speaks of",
                )
        for row in sorted(rows.values(), key=lambda row: row.started_at):
            yield from self._check_file(row, scope)
        yield from self._check_cover(camera_id, list(rows.values()), list(gaps.values()), scope)

    def _files(self, camera_id: UUID, scope: Scope) -> Mapping[str, datetime]:
        return {
            str(path.relative_to(self._root)): started_at
            for folder in camera_folders(self._root)
            if folder.camera_id == camera_id
            for path, started_at in stored_files(folder.path)
            if scope.from_ <= started_at < scope.to
        }

    def _check_file(self, row: Segment, scope: Scope) -> Iterator[Finding]:
        path = self._root / row.path
        try:
            size = path.stat().st_size
        except OSError:
            # Retention may have taken it meanwhile, row and all.
            if self._segments.get(row.camera_id, row.id) is not None:
                yield _finding(Kind.FILE_MISSING, row, "the row speaks of a file that is not there")
            return
        if size != row.size_bytes:
            kind = Kind.FILE_CUT_SHORT if size < row.size_bytes else Kind.FILE_GROWN
            yield _finding(kind, row, f"{size} bytes instead of {row.size_bytes}")
        elif scope.digests and row.digest is not None and digest(path) != row.digest:
            yield _finding(Kind.BYTES_CHANGED, row, "its BLAKE3 digest is another one")
        elif scope.decode is not None and (wrong := scope.decode(path)):
            yield _finding(Kind.FILE_UNREADABLE, row, wrong)

    def _check_cover(
        self, camera_id: UUID, rows: list[Segment], gaps: list[Gap], scope: Scope
    ) -> Iterator[Finding]:
        stored = [Span(row.started_at, row.ended_at) for row in rows]
        missing = [Span(gap.started_at, gap.ended_at or scope.to) for gap in gaps]
        newest = max((span.ended_at for span in (*stored, *missing)), default=scope.from_)
        periods = self._periods.in_range(camera_id, scope.from_, scope.to)
        wanted = [
            Span(max(period.started_at, scope.from_), min(period.ended_at or newest, scope.to))
            for period in periods
        ]
        wanted = [span for span in wanted if span.started_at < span.ended_at]
        for hole in holes(wanted, (*stored, *missing)):
            yield _cover(Kind.SECOND_MISSING, camera_id, hole, "neither recorded nor in the ledger")
        for both in overlaps(stored, missing):
            yield _cover(Kind.SECOND_TWICE, camera_id, both, "recorded, and a gap in the ledger")
        still_wanted = any(period.ended_at is None for period in periods)
        for gap in gaps:
            if gap.ended_at is None and not still_wanted:
                yield Finding(
                    kind=Kind.GAP_LEFT_OPEN,
                    camera_id=camera_id,
                    started_at=gap.started_at,
                    ended_at=None,
                    detail="an open gap, though nothing is wanted",
                    gap=gap,
                )


def camera_folders(record_root: Path) -> Iterator[CameraFolder]:
    """Yield the folders that are named as owner and camera; strangers' folders are passed over."""
    if not record_root.is_dir():
        return
    for owner in sorted(record_root.iterdir()):
        if owner.name.startswith(".") or owner.is_symlink() or not owner.is_dir():
            continue
        for camera in sorted(owner.iterdir()):
            try:
                name = decode_owner(owner.name)
                camera_id = UUID(camera.name)
            except ValueError:
                continue
            if camera.is_dir() and not camera.is_symlink():
                yield CameraFolder(name, camera_id, camera)


def stored_files(camera: Path) -> Iterator[tuple[Path, datetime]]:
    """Yield a camera's stored files with the start that their names tell."""
    for day in sorted(camera.iterdir()):
        if day.name == LIVE or day.is_symlink() or not day.is_dir():
            continue
        with os.scandir(day) as entries:
            for entry in entries:
                name = parse_stored(day.name, entry.name)
                if name is not None and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), name.started_at


def digest(path: Path) -> bytes:
    """Return a file's BLAKE3 digest."""
    hasher = blake3()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.digest()


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


def _cover(kind: Kind, camera_id: UUID, span: Span, detail: str) -> Finding:
    text = f"{span.length.total_seconds():.3f} s {detail}"
    return Finding(
        kind=kind,
        camera_id=camera_id,
        started_at=span.started_at,
        ended_at=span.ended_at,
        detail=text,
    )
