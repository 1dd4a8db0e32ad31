"""What is on disk below the record root, read so that nothing strange there stops the reader.

Strangers' files and folders are passed over, links are not followed, and what retention removes in the
meantime is simply not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog

from streamwarden.media.names import LIVE, parse_live, parse_stored
from streamwarden.owners import decode_owner

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CameraFolder:
    """Where a camera's files are; its owner is known by the folder above."""

    owner: str
    camera_id: UUID
    path: Path


def camera_folders(record_root: Path) -> Iterator[CameraFolder]:
    """Yield the folders that are named as owner and camera; strangers' folders are passed over."""
    for folder in _folders(record_root):
        try:
            owner = decode_owner(folder.name)
        except ValueError:
            continue
        for camera in _folders(folder):
            if (camera_id := _camera_id(camera.name)) is not None:
                yield CameraFolder(owner, camera_id, camera)


def stored_files(camera: Path, from_: datetime, to: datetime) -> Iterator[tuple[Path, datetime]]:
    """Yield a camera's files that start before ``to``, from a day before ``from_``, by name."""
    first, last = f"{from_ - timedelta(days=1):%Y-%m-%d}", f"{to:%Y-%m-%d}"
    for day in _folders(camera):
        if not first <= day.name <= last:
            continue
        for entry in _entries(day):
            name = parse_stored(day.name, entry.name)
            if name is not None and name.started_at < to and _is_file(entry):
                yield Path(entry.path), name.started_at


def stored_by_day(cameras: Iterable[Path]) -> Iterator[tuple[Path, datetime]]:
    """Yield the files of all ``cameras`` in the order in which they start; a day is read at a time."""
    days: dict[str, list[Path]] = {}
    for camera in cameras:
        for day in _folders(camera):
            days.setdefault(day.name, []).append(day)
    for day_name in sorted(days):
        files = [
            (name.started_at, Path(entry.path))
            for day in days[day_name]
            for entry in _entries(day)
            if (name := parse_stored(day_name, entry.name)) is not None and _is_file(entry)
        ]
        yield from ((path, started_at) for started_at, path in sorted(files))


def in_progress(camera: Path) -> bool:
    """Whether segments of the camera are being written, or wait to be salvaged."""
    return any(parse_live(entry.name) for entry in _entries(camera / LIVE))


def _camera_id(name: str) -> UUID | None:
    try:
        camera_id = UUID(name)
    except ValueError:
        return None
    # Python reads an id in many spellings; a folder has one.
    return camera_id if str(camera_id) == name else None


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _entries(folder) if _is_folder(entry))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        log.warning("folder_unreadable", folder=str(folder), error=error.strerror)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False
