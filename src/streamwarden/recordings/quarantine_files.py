"""Bringing the segments of a quarantine folder into the record root.

A quarantine has the layout of a record root, so a segment keeps its path. Runs in a quarantine are numbered
by the time, which no run of the record root reaches by counting. The index is not touched here: a
reconcile afterwards enters the files, and takes their time out of the gaps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock
from streamwarden.metrics.http_metrics import new_registry
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.paths import LIVE, STATE, open_nofollow, refuse_symlinks
from streamwarden.recordings.camera_files import CameraFileStore, IndexedEnds
from streamwarden.recordings.durable import file_digest, make_folder, sync_folder
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.reconcile import JOURNAL
from streamwarden.recordings.record_root import camera_folders, in_progress, stored_by_day
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import SegmentRepository

_STAGED: Final = ".adopted"
"""A file of this ending is a copy that is not complete; no walk takes it for a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedCamera:
    """What a quarantine holds of a camera. ``unfinished``: its newest file was left by a killed server."""

    owner: str
    camera_id: UUID
    segments: int
    size_bytes: int
    from_: datetime | None
    to: datetime | None
    unfinished: bool


def count_of(folder: Path) -> int:
    """Return how many segments are in a quarantine."""
    return sum(1 for _ in stored_by_day(camera.path for camera in camera_folders(folder)))


def quarantined(folder: Path) -> Iterator[QuarantinedCamera]:
    """Yield the cameras that a quarantine has anything of; nothing is changed."""
    for camera in camera_folders(folder):
        sizes: list[int] = []
        starts: list[datetime] = []
        for path, started_at in stored_by_day([camera.path]):
            sizes.append(path.stat().st_size)
            starts.append(started_at)
        unfinished = in_progress(camera.path)
        if starts or unfinished:
            yield QuarantinedCamera(
                owner=camera.owner,
                camera_id=camera.camera_id,
                segments=len(starts),
                size_bytes=sum(sizes),
                from_=min(starts, default=None),
                to=max(starts, default=None),
                unfinished=unfinished,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was moved of one camera; ``in_the_way`` are the paths of other files in the record root."""

    owner: str
    camera_id: UUID
    segments: int
    in_the_way: tuple[str, ...]


def finish_leftovers(folder: Path, database: Database, clock: Clock) -> None:
    """Store what a killed server has left unfinished in a quarantine, which must be locked."""
    # In memory: the rows of a quarantine are nobody's.
    journal = Journal(folder / STATE / JOURNAL, opened=False)
    live = LiveIndex(clock)
    try:
        segments = SegmentRepository(database)
        store = CameraFileStore(
            record_root=folder,
            journal=journal,
            metrics=RecordingMetrics(new_registry()),
            clock=clock,
            alive_until=None,
            indexed_ends=IndexedEnds(journal=journal, segments=segments, clock=clock),
            live=live,
        )
        for camera in camera_folders(folder):
            if in_progress(camera.path):
                store.camera(camera.camera_id, camera.owner).open(live_runs=())
    finally:
        live.close()
        journal.close()


def move_all(folder: Path, record_root: Path) -> Iterator[Moved]:
    """Move every segment of a quarantine, which must be locked, and remove what is empty then.

    Harmless when repeated, also after a crash in the middle of it.

    Raises:
        OSError: a disk refuses; the segment is where it was.
    """
    for camera in camera_folders(folder):
        moved, in_the_way = 0, []
        for path, _ in stored_by_day([camera.path]):
            below = path.relative_to(folder)
            if _move(path, record_root, record_root / below):
                moved += 1
            else:
                in_the_way.append(str(below))
        _remove_empty(camera.path)
        if moved or in_the_way:
            yield Moved(
                owner=camera.owner,
                camera_id=camera.camera_id,
                segments=moved,
                in_the_way=tuple(in_the_way),
            )
    with suppress(FileNotFoundError):
        (folder / STATE / JOURNAL).unlink()


def _move(source: Path, record_root: Path, target: Path) -> bool:
    """Move a file, also to another file system; False where another file is there."""
    refuse_symlinks(record_root, target)
    make_folder(target.parent)
    staged = target.with_name(target.name + _STAGED)
    staged.unlink(missing_ok=True)
    if not target.exists():
        # Nobody else makes this name: the quarantine is locked, and the record root's runs have others.
        if source.stat().st_dev == target.parent.stat().st_dev:
            source.rename(target)
            sync_folder(target.parent)
            return True
        _copy(source, staged)
        staged.rename(target)
        sync_folder(target.parent)
    if file_digest(source) != file_digest(target):
        return False
    source.unlink()
    return True


def _copy(source: Path, target: Path) -> None:
    """Copy a file and its times to disk, for good."""
    state = source.stat()
    with os.fdopen(open_nofollow(source), "rb") as read, target.open("wb") as write:
        os.fchmod(write.fileno(), state.st_mode & 0o777)
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
        os.utime(write.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))


def _remove_empty(camera: Path) -> None:
    """Remove a camera's folder unless something is left in it; the notes of its runs are not."""
    for folder in [*camera.iterdir(), camera, camera.parent]:
        if folder.name == LIVE:
            if not in_progress(camera):
                shutil.rmtree(folder)
        elif folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
