"""Paths below the record root: names of folders and files, and opening without following links.

Layout: ``{owner}/{camera_id}/{YYYY-MM-DD}/{HHMMSS.mmm}Z-r{run}-{number}.mp4``, and in progress
``{owner}/{camera_id}/.live/r{run}-{number}.mp4``. All times are UTC. No value can produce a path outside
its folder, or the path of another value.

FFmpeg writes below the record root and may be compromised. Symbolic links there are never followed, so
that they cannot make the server read, cut, move or delete files elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

_KEPT: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9_-]|~[0-9A-F]{2})+")


_MAX_NAME_BYTES: Final = 255


def encode_owner(owner: str) -> str:
    """Return ``owner`` as a folder name: ``[A-Za-z0-9_-]`` kept, every other byte as ``~XX``.

    Raises:
        ValueError: it is empty, or its name would exceed the file system's limit of 255 bytes.
    """
    name = "".join(chr(byte) if byte in _KEPT else f"~{byte:02X}" for byte in owner.encode("utf-8"))
    if not 0 < len(name) <= _MAX_NAME_BYTES:
        raise ValueError(f"an owner's folder name has 1 to {_MAX_NAME_BYTES} bytes")
    return name


def decode_owner(name: str) -> str:
    """Return the owner of a folder name; ``ValueError`` for what ``encode_owner`` cannot return."""
    if not _ENCODED.fullmatch(name):
        raise ValueError("not an owner's folder name")
    raw = re.sub(rb"~([0-9A-F]{2})", lambda hit: bytes([int(hit[1], 16)]), name.encode())
    owner = raw.decode("utf-8")
    if encode_owner(owner) != name:
        raise ValueError("not an owner's folder name")
    return owner


LIVE: Final = ".live"


STATE: Final = ".streamwarden"
"""streamwarden's own folder in the record root. No owner's folder begins with a dot."""


# The numbers of digits are limited, so that no number can overflow a bigint in SQL.
_STORED: Final = re.compile(r"(\d{6})\.(\d{3})Z-r(\d{1,15})-(\d{1,15})\.mp4", re.ASCII)


_LIVE_NAME: Final = re.compile(r"r(\d{1,15})-(\d{6,15})\.mp4", re.ASCII)


def camera_folder(record_root: Path, owner: str, camera_id: UUID) -> Path:
    """Return the folder of a camera's recordings."""
    return record_root / encode_owner(owner) / str(camera_id)


def parse_camera_id(name: str) -> UUID | None:
    """Return the camera that a folder is named after, None if it is not named after one."""
    try:
        camera_id = UUID(name)
    except ValueError:
        return None
    # UUID() accepts several spellings; a folder has one.
    return camera_id if str(camera_id) == name else None


def live_pattern(run: int) -> str:
    """Return the segment muxer's file name pattern: relative, with no other ``%`` in it."""
    return f"r{run}-%06d.mp4"


def live_name(run: int, number: int) -> str:
    """Return the name of a segment in progress."""
    return f"r{run}-{number:06d}.mp4"


def parse_live(name: str) -> tuple[int, int] | None:
    """Return run and number of a file in ``.live``; None for what ``live_name`` cannot return."""
    hit = _LIVE_NAME.fullmatch(name)
    if hit is None or live_name(int(hit[1]), int(hit[2])) != name:
        # r01-000001.mp4, for example, would be read as r1-000001.mp4.
        return None
    return int(hit[1]), int(hit[2])


def stored_name(started_at: datetime, run: int, number: int) -> str:
    """Return a stored segment's path below its camera's folder."""
    utc = started_at.astimezone(UTC)
    return f"{utc:%Y-%m-%d}/{utc:%H%M%S}.{utc.microsecond // 1000:03d}Z-r{run}-{number}.mp4"


def segment_id(camera_id: UUID, run: int, number: int) -> UUID:
    """Return a segment's id, a function of its name: a row rebuilt from a file gets the same id."""
    return uuid5(camera_id, f"{run}-{number}")


@dataclass(frozen=True, slots=True)
class StoredName:
    """The contents of a stored segment's file name."""

    started_at: datetime
    run: int
    number: int


def parse_stored(day: str, name: str) -> StoredName | None:
    """Parse a stored segment's folder and file name; None for what ``stored_name`` cannot return."""
    hit = _STORED.fullmatch(name)
    if hit is None:
        return None
    try:
        started_at = datetime.strptime(f"{day} {hit[1]} {hit[2]}000Z", "%Y-%m-%d %H%M%S %f%z")
    except ValueError:
        return None
    stored = StoredName(started_at, int(hit[3]), int(hit[4]))
    given = stored_name(stored.started_at, stored.run, stored.number)
    return stored if given == f"{day}/{name}" else None


class SymlinkRefused(OSError):
    """There is a symbolic link, a pipe or a socket in the place of a folder or file."""

    def __init__(self, path: Path) -> None:
        words = "symbolic link or special file in the record root"
        super().__init__(errno.ELOOP, words, path.name)


def refuse_symlinks(root: Path, path: Path) -> None:
    """Raise SymlinkRefused if any part of ``path`` below ``root`` is a link, or ``path`` leads out of it.

    ``path`` need not exist. ``root`` itself and its parents may be links: the operator chose them.
    """
    if not has_no_symlink(root, path):
        raise SymlinkRefused(path)


def has_no_symlink(root: Path, path: Path) -> bool:
    """Return whether ``path`` is below ``root``, without ``..`` and without a link on the way."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:  # not below the root
        return False
    if ".." in parts:
        return False
    # Called for every segment; Path.resolve would also stat every folder above the root.
    at = str(root)
    for part in parts:
        at = f"{at}/{part}"
        try:
            if stat.S_ISLNK(os.lstat(at).st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return True
        except ValueError:  # a NUL byte
            return False
    return True


def open_nofollow(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file; raise SymlinkRefused if its last name is a link or a special file.

    O_NONBLOCK, because opening a pipe would wait for its writer.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # ENXIO: a pipe without a reader, or a socket
            raise SymlinkRefused(path) from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise SymlinkRefused(path)
