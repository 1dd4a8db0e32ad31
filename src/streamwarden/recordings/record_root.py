"""The record root: its lock, its heartbeat, and walks over the files below it.

One server at a time holds the lock; it first kills the FFmpegs that a killed server has left. The walks
pass over foreign files and folders, follow no link, and bear that retention removes files meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
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

log = structlog.get_logger(__name__)

_ALIVE: Final = "alive"


_SEGMENTS: Final = re.compile(rb"\0r[0-9]+-%06d\.mp4\0")
"""The last argument of ``command.recording_argv``, as ``/proc`` shows it."""


class RecordRootInUse(ConfigError):
    """Another server records into this folder."""

    code = "record_root_in_use"


class RecordRoot:
    """The lock of a record root, and the state folder in it. ``fresh`` if no server has used it before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.fresh = False
        self._lock_fd: int | None = None

    def take(self) -> None:
        """Make the folder and lock it.

        Harmless when repeated, as after the root came back on another device.

        Raises:
            RecordRootInUse: another server holds the lock.
            ConfigError: the folder cannot be made or written.
        """
        if self._lock_fd is None:
            self.fresh = not self.state.exists()
        try:
            refuse_symlinks(self.path, self.state)
            make_folder(self.state)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self.state / "lock", flags, 0o600)
        except OSError as error:
            text = f"RECORD_ROOT {self.path} cannot be written: {error.strerror}"
            raise ConfigError(text) from error
        if self._lock_fd is not None and os.path.sameopenfile(self._lock_fd, fd):
            os.close(fd)
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            text = f"another streamwarden records into {self.path}; stop it, or set RECORD_ROOT"
            raise RecordRootInUse(text) from error
        self.release()
        self._lock_fd = fd

    def release(self) -> None:
        """Release the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def end_orphans(self) -> list[int]:
        """Kill the processes that still record into this root; return their ids. Needs the lock."""
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
                # It has ended meanwhile, or belongs to a user whose processes may not be read.
                continue
            # A shell of an operator that stands in the folder is no orphan.
            if folder.is_relative_to(root) and folder.name == LIVE and _records(process):
                yield int(process.name)

    def file_system(self) -> dict[str, str]:
        """Return the type, the source and the mount point of the root's file system, for the log."""
        device = self.path.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        found: dict[str, str] = {}
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            fields, (kind, source, *_) = before.split(" "), after.split(" ")
            mounted = Path(fields[4].replace("\\040", " "))
            if fields[2] == wanted and self.path.is_relative_to(mounted):
                found = {"file_system": kind, "source": source, "mounted_at": str(mounted)}
        return found

    def heartbeat(self) -> None:
        """Touch the file whose time says until when the server was alive."""
        path = self.state / _ALIVE
        path.touch(mode=0o600)

    def alive_until(self) -> datetime | None:
        """Return the time of the last heartbeat; None where there was none."""
        try:
            return datetime.fromtimestamp((self.state / _ALIVE).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None


def _records(process: Path) -> bool:
    """Return whether a process has the segment names of a run as an argument."""
    try:
        arguments = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return _SEGMENTS.search(arguments) is not None


@dataclass(frozen=True, slots=True)
class CameraFolder:
    """A camera's folder; the folder above it is its owner's."""

    owner: str
    camera_id: UUID
    path: Path


def camera_folders(record_root: Path) -> Iterator[CameraFolder]:
    """Yield the folders that are named as owner and camera; others are passed over."""
    for folder in _folders(record_root):
        try:
            owner = decode_owner(folder.name)
        except ValueError:
            continue
        for camera in _folders(folder):
            if (camera_id := parse_camera_id(camera.name)) is not None:
                yield CameraFolder(owner, camera_id, camera)


def hidden_by_a_mount(path: Path) -> str:
    """Return a sentence about recordings in a folder that is no record root; empty where it has none.

    An earlier version, or somebody's copy, has left them in the place of a disk that was not mounted.
    """
    try:
        found = next(camera_folders(path), None)
    except OSError:
        return ""
    if found is None:
        return ""
    where = found.path.relative_to(path)
    return (
        f". The folder itself holds recordings ({where}): a disk that is mounted over it hides them, so"
        " copy them away first"
    )


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


def files_and_bytes(camera: Path) -> tuple[int, int]:
    """Return the number and the size of a camera's stored files."""
    files = size_bytes = 0
    for day in _folders(camera):
        for entry in _entries(day):
            if parse_stored(day.name, entry.name) is not None and _is_file(entry):
                with suppress(FileNotFoundError):
                    size_bytes += entry.stat(follow_symlinks=False).st_size
                    files += 1
    return files, size_bytes


def in_progress(camera: Path) -> bool:
    """Return whether segments of the camera are being written, or wait to be salvaged."""
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
