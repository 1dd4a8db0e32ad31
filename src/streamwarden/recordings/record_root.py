"""The record root has one owner at a time, and no FFmpeg of a former one.

What is on disk below the record root, read so that nothing strange there stops the reader.

Strangers' files and folders are passed over, links are not followed, and what retention removes in the
meantime is simply not there.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.errors import ConfigError
from streamwarden.paths import (
    LIVE,
    STATE,
    decode_owner,
    parse_camera_id,
    parse_live,
    parse_stored,
    refuse_symlinks,
)
from streamwarden.recordings.durable import make_folder

_ALIVE: Final = "alive"


_SEGMENTS: Final = re.compile(rb"\0r[0-9]+-%06d\.mp4\0")
"""The last argument of ``command.recording_argv``, as ``/proc`` shows it."""


class RecordRootInUse(ConfigError):
    """Another server records into this folder."""

    code = "record_root_in_use"


class RecordRoot:
    """Holds the lock of a record root; ends what a killed server has left running in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.fresh = False
        self._lock_fd: int | None = None

    def take(self) -> None:
        """Make the folder and lock it; ``fresh`` says that no server had ever recorded there.

        Raises:
            RecordRootInUse: another server holds it.
            ConfigError: it cannot be made or written.
        """
        self.fresh = not self.state.exists()
        try:
            refuse_symlinks(self.path, self.state)
            make_folder(self.state)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self.state / "lock", flags, 0o600)
        except OSError as error:
            text = f"RECORD_ROOT {self.path} cannot be written: {error.strerror}"
            raise ConfigError(text) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            text = f"another streamwarden records into {self.path}; stop it, or set RECORD_ROOT"
            raise RecordRootInUse(text) from error
        self._lock_fd = fd

    def release(self) -> None:
        """Let another server have the record root."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def end_orphans(self) -> list[int]:
        """Kill processes that still record into this root; return their ids. Hold the lock."""
        orphans = list(self._orphans())
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return orphans

    def _orphans(self) -> Iterator[int]:
        root = self.path.resolve()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                folder = (process / "cwd").readlink()
            except OSError:
                # It has ended meanwhile, or belongs to a user whose processes we may not look at.
                continue
            # An operator's shell that stands in the folder is nobody's orphan.
            if folder.is_relative_to(root) and folder.name == LIVE and _records(process):
                yield int(process.name)

    def heartbeat(self) -> None:
        """Note that the server is alive."""
        path = self.state / _ALIVE
        path.touch(mode=0o600)

    def alive_until(self) -> datetime | None:
        """Return when the last server noted that it was alive; None where there was none."""
        try:
            return datetime.fromtimestamp((self.state / _ALIVE).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None


def _records(process: Path) -> bool:
    """Whether a process was given the names of a run's segments to write."""
    try:
        arguments = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return _SEGMENTS.search(arguments) is not None


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
            if (camera_id := parse_camera_id(camera.name)) is not None:
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
