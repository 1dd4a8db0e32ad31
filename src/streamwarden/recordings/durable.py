"""Durable files: recorded files synced, folders synced, small files replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from streamwarden.mp4.boxes import BoxReader, NotFragmentedMp4
from streamwarden.mp4.formats import FormatAtEnd, entry_changes, format_at_end
from streamwarden.mp4.fragments import FileSummary, summary_of
from streamwarden.mp4.sound_offset import Change, sound_changes
from streamwarden.mp4.structure import FileStructure, read_header, read_structure
from streamwarden.paths import SymlinkRefused, open_nofollow


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSpace:
    """What an unprivileged user may still write: bytes, and inodes, that is, files.

    ``total_inodes`` is 0 where the file system has no limit of them (btrfs); both are then unlimited.
    """

    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int

    @property
    def limits_inodes(self) -> bool:
        """Whether the file system can hold a limited number of files only."""
        return self.total_inodes > 0


def free_space_of(folder: Path | int) -> FreeSpace:
    """Return the free space of a folder's file system; a descriptor may stand for the folder."""
    found = os.statvfs(folder)
    return FreeSpace(
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_inodes=found.f_favail,
        total_inodes=found.f_files,
    )


def free_bytes(folder: Path) -> int:
    """Return the bytes that an unprivileged user may still write under ``folder``."""
    return free_space_of(folder).free_bytes


_FOLDER_MODE: Final = 0o750


_DIGEST_BYTES: Final = 256 * 1024
"""Read size: small enough to stay in a core's cache until it is digested."""


@dataclass(frozen=True, slots=True)
class SyncedFile:
    """A complete file on disk; ``summary`` and ``ends`` are None where its structure cannot be read.

    ``modified_s`` is when FFmpeg last wrote to it, in seconds since the epoch.
    """

    summary: FileSummary | None
    ends: FormatAtEnd | None
    size_bytes: int
    digest: bytes
    modified_s: float


def sync_file(path: Path, *, finished: bool, ours: bool) -> SyncedFile | None:
    """Cut a file at its last whole fragment, sync it and describe it; None where nothing can be played.

    Sound that is not beside its picture is put there, a track that holds none leaves the header, and H.265
    becomes ``hvc1``. A file without such a change is read once.

    ``finished`` if the muxer has closed it (see ``summary_of``), ``ours``: make the server its owner.
    """
    try:
        fd = open_nofollow(path)
    except SymlinkRefused:
        return None  # FFmpeg makes no links, so this is not its file
    try:
        return _sync(path, fd, finished=finished, ours=ours)
    finally:
        os.close(fd)


def _sync(path: Path, fd: int, *, finished: bool, ours: bool) -> SyncedFile | None:
    state = os.fstat(fd)
    size = state.st_size
    file, structure = _put_right(path, fd, state)
    summary = None if structure is None else _summary_or_none(structure, finished=finished)
    # A source that ends at once may have left sound before its first picture. A file that cannot
    # be parsed is kept.
    if size == 0 or (summary is not None and summary.media_ms == 0):
        return None
    if summary is not None and not summary.complete and size > summary.whole_bytes:
        size = summary.whole_bytes
        _cut(path, size, state.st_mtime_ns)
        file = DigestingReader(fd)
    if ours:
        os.fchown(fd, os.geteuid(), os.getegid())
    os.fsync(fd)
    ends = None if structure is None else format_at_end(file, structure)
    return SyncedFile(summary, ends, size, file.digest(), state.st_mtime_ns / 1e9)


def _put_right(
    path: Path, fd: int, state: os.stat_result
) -> tuple[DigestingReader, FileStructure | None]:
    """Make the changes that a file needs; return its structure, and a reader that has read it so far."""
    size, file = state.st_size, DigestingReader(fd)
    try:
        # First what the header alone decides: little has been digested then.
        if changes := entry_changes(*read_header(file, size)):
            _change(path, changes, state.st_mtime_ns)
            file = DigestingReader(fd)
        structure = read_structure(file, size)
        with suppress(NotFragmentedMp4):  # its sound is kept as it is
            if changes := sound_changes(file, structure):
                _change(path, changes, state.st_mtime_ns)
                file = DigestingReader(fd)
                structure = read_structure(file, size)
    except NotFragmentedMp4:
        return file, None
    return file, structure


def _summary_or_none(structure: FileStructure, *, finished: bool) -> FileSummary | None:
    try:
        return summary_of(structure, finished=finished)
    except NotFragmentedMp4:
        return None


def _change(path: Path, changes: Sequence[Change], modified_ns: int) -> None:
    """Change bytes of a file; it keeps the time of its last write, which dates it."""
    fd = open_nofollow(path, os.O_WRONLY)
    try:
        for change in changes:
            os.pwrite(fd, change.data, change.offset)
        os.utime(fd, ns=(modified_ns, modified_ns))
    finally:
        os.close(fd)


def _cut(path: Path, size: int, modified_ns: int) -> None:
    """Cut a file; it keeps the time of its last write, which dates it."""
    fd = open_nofollow(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, size)
        os.utime(fd, ns=(modified_ns, modified_ns))
    finally:
        os.close(fd)


def file_digest(path: Path) -> bytes:
    """Return a file's BLAKE3 digest; raises OSError (ELOOP) for a symbolic link."""
    fd = open_nofollow(path)
    try:
        return DigestingReader(fd).digest()
    finally:
        os.close(fd)


class DigestingReader(BoxReader):
    """Reads a file from its beginning to its end, digests it, and finds its boxes on the way.

    What lies behind the place that has been reached, or across two reads, is read once more.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._hasher = blake3()
        # One buffer, used again: a new one for each read costs as much as the digest itself.
        self._buffer = bytearray(_DIGEST_BYTES)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0

    def read(self, position: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``position``."""
        begin = position - self._begin
        while position >= self._end and self._go_on():
            begin = position - self._begin
        if begin >= 0 and position + length <= self._end:
            return bytes(self._view[begin : begin + length])
        return super().read(position, length)

    def digest(self) -> bytes:
        """Read the rest; return the BLAKE3 digest of the file."""
        while self._go_on():
            pass
        return self._hasher.digest()

    def _go_on(self) -> bool:
        count = os.preadv(self.fd, [self._buffer], self._end)
        self._hasher.update(self._view[:count])
        self._begin, self._end = self._end, self._end + count
        return count > 0


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each new one is synced into its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file so that a crash leaves the old one or the new one, never a mixture.

    Not synced: its contents can be rebuilt from the recordings.
    """
    staged = path.with_name(path.name + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(staged, flags, 0o600)
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)
    staged.replace(path)
