"""The deletion log: names of files that were deleted without the index, until their rows are marked.

A disk that is full is the one on which deleting matters most, so the log needs no free byte: it is kept
longer than it needs to be, filled up with line feeds, and names are written over them. Names are on disk,
synced, before their files are unlinked. A line that a crash has torn is no name.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.paths import parse_stored, segment_id
from streamwarden.recordings.durable import sync_folder

DELETION_LOG: Final = "deletions"

ROOM_BYTES: Final = 64 * 1024
"""Room for some hundred names, enough to free space for more."""

_RACY_NS: Final = 1_000_000_000
"""A file that was changed so recently may change again without a new time."""

_Stamp = tuple[int, int, int]


class DeletionLog:
    """The log, for the one thread that deletes. Blocking."""

    def __init__(self, state: Path) -> None:
        self._path = state / DELETION_LOG
        self._known: _Stamp | None = None
        self._used = 0

    def prepare(self) -> None:
        """Make room for the next names, if the disk has any."""
        self._look()
        if self._size() - self._used < ROOM_BYTES // 2:
            with suppress(
                OSError
            ):  # the disk is full, or refuses: `add` finds out what is possible
                self._grow()

    def add(self, names: Sequence[str]) -> int:
        """Note the first of ``names``, as many as there is room for, synced; return how many.

        Raises:
            OSError: not one of them can be noted.
        """
        self._look()
        lines = [f"{name}\n".encode() for name in names]
        if self._size() - self._used <= sum(map(len, lines)):
            try:
                self._grow()
            except OSError as error:
                if error.errno not in FULL or self._size() - self._used <= len(lines[0]):
                    raise
        # One byte is left over: every line ends with a line feed that was there before.
        room, fitting = self._size() - self._used - 1, 0
        while fitting < len(lines) and len(lines[fitting]) <= room:
            room -= len(lines[fitting])
            fitting += 1
        data = b"".join(lines[:fitting])
        self._write(data, self._used)
        self._used += len(data)
        return fitting

    def logged_at(self) -> datetime | None:
        """Return when the last name was noted, None where there is none."""
        self._look()
        if not self._used:
            return None
        return datetime.fromtimestamp(self._path.stat().st_mtime, UTC)

    def rows(self) -> Iterator[UUID]:
        """Yield the ids of the rows of all files in the log."""
        return rows_of(self._path.read_bytes())

    def clear(self) -> None:
        """Forget all names. Its room stays."""
        self._look()
        if not self._used:
            return
        try:
            os.truncate(self._path, min(self._size(), ROOM_BYTES))
            self._write(b"\n" * min(self._used, ROOM_BYTES), 0)
        except OSError as error:
            if error.errno not in FULL:
                raise
            # A file system that writes every change elsewhere.
            self._path.unlink()
            sync_folder(self._path.parent)
            self._known = None
        self._used = 0

    def _size(self) -> int:
        return 0 if self._known is None else self._known[1]

    def _look(self) -> None:
        """Read the file again where it is not as this object has left it."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._known, self._used = None, 0
            return
        if self._known != _stamp(found):
            self._used = len(self._path.read_bytes().rstrip(b"\n"))
            self._used += 1 if self._used else 0  # the end of the last line
            self._known = _stamp(found)

    def _grow(self) -> None:
        size = self._size()
        # A last line that a crash has torn gets its end here.
        at = min(self._used, size)
        self._write(b"\n" * (size - at + ROOM_BYTES), at)
        if size == 0:
            sync_folder(self._path.parent)

    def _write(self, data: bytes, at: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o640)
        try:
            written = 0
            try:
                while written < len(data):
                    written += os.pwrite(fd, data[written:], at + written)
                os.fsync(fd)
            finally:
                self._known = _stamp(os.fstat(fd))
        finally:
            os.close(fd)


FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class LoggedDeletions:
    """The rows of the files in the deletion log, for ``recordings verify``.

    The log is read again when it has changed. Raises OSError where it cannot be read.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / DELETION_LOG
        self._read: _Stamp | None = None
        self._rows: frozenset[UUID] = frozenset()

    def __contains__(self, row_id: object) -> bool:
        """Return whether this row's file is in the log and the row not yet marked."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if _stamp(found) != self._read:
                    self._rows = frozenset(rows_of(file.read()))
                    settled = time.time_ns() - found.st_mtime_ns > _RACY_NS
                    self._read = _stamp(found) if settled else None
        except FileNotFoundError:
            return False
        return row_id in self._rows


def rows_of(content: bytes) -> Iterator[UUID]:
    """Yield the ids of the rows whose files a log names."""
    lines = content.decode(errors="replace").split("\n")
    # What follows the last line feed is a line that a crash has torn.
    for line in lines[:-1]:
        if line and (found := _row_of(line)) is not None:
            yield found


def _row_of(line: str) -> UUID | None:
    parts = line.split("/")
    stored = parse_stored(*parts[2:]) if len(parts) == 4 else None  # noqa: PLR2004 - owner, camera, day, name
    try:
        return None if stored is None else segment_id(UUID(parts[1]), stored.run, stored.number)
    except ValueError:
        return None


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns
