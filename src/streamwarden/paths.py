"""Names of folders and files under the record root; no value can leave its folder or meet another.

Layout: ``{owner}/{camera_id}/{YYYY-MM-DD}/{HHMMSS.mmm}Z-r{run}-{number}.mp4``, and in progress
``{owner}/{camera_id}/.live/r{run}-{number}.mp4``. All times are UTC.


Owners as folder names: whatever an identity provider calls its users, none leaves its folder.

Nothing below the record root leads out of it: no symbolic link there is ever followed.

Who may write there is the server alone, and FFmpeg in the folders in which it works; one that has been
taken over must not make the server read, cut, move or delete elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9_-]|~[0-9A-F]{2})+")


_MAX_NAME_BYTES: Final = 255


def encode_owner(owner: str) -> str:
    """Return ``owner`` as a folder name: ``[A-Za-z0-9_-]`` kept, every other byte as ``~XX``.

    Raises:
        ValueError: it is empty or its name would be longer than a file system allows (255 bytes).
    """
    name = "".join(
        chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in owner.encode("utf-8")
    )
    if not 0 < len(name) <= _MAX_NAME_BYTES:
        raise ValueError(f"an owner's folder name has 1 to {_MAX_NAME_BYTES} bytes")
    return name


def decode_owner(name: str) -> str:
    """Return the owner of a folder name; ``ValueError`` for a name that ``encode_owner`` never gives."""
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


# Numbers are bounded, so that no line or name of any length can be a number that overflows.
_STORED: Final = re.compile(r"(\d{6})\.(\d{3})Z-r(\d{1,15})-(\d{1,15})\.mp4", re.ASCII)


_LIVE_NAME: Final = re.compile(r"r(\d{1,15})-(\d{6,15})\.mp4", re.ASCII)


def camera_folder(record_root: Path, owner: str, camera_id: UUID) -> Path:
    """Return where a camera's recordings are."""
    return record_root / encode_owner(owner) / str(camera_id)


def live_pattern(run: int) -> str:
    """Return the segment muxer's file name pattern: relative, and the only ``%`` is its own."""
    return f"r{run}-%06d.mp4"


def live_name(run: int, number: int) -> str:
    """Return the name of a segment in progress."""
    return f"r{run}-{number:06d}.mp4"


def parse_live(name: str) -> tuple[int, int] | None:
    """Return run and number of a file in ``.live``, or None for a stranger's file."""
    hit = _LIVE_NAME.fullmatch(name)
    if hit is None or live_name(int(hit[1]), int(hit[2])) != name:
        # A name that we do not give, such as r01-000001.mp4, would be taken for another file.
        return None
    return int(hit[1]), int(hit[2])


def stored_name(started_at: datetime, run: int, number: int) -> str:
    """Return a stored segment's path below its camera's folder."""
    utc = started_at.astimezone(UTC)
    return f"{utc:%Y-%m-%d}/{utc:%H%M%S}.{utc.microsecond // 1000:03d}Z-r{run}-{number}.mp4"


def segment_id(camera_id: UUID, run: int, number: int) -> UUID:
    """Return a segment's id: always the same, also when its row is made again from its file."""
    return uuid5(camera_id, f"{run}-{number}")


@dataclass(frozen=True, slots=True)
class StoredName:
    """What a stored segment's name says."""

    started_at: datetime
    run: int
    number: int


def parse_stored(day: str, name: str) -> StoredName | None:
    """Return what a stored segment's folder and file name say, or None for a stranger's file."""
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


class LinkInTheWay(OSError):
    """A symbolic link, or a pipe, stands where a folder or file of ours belongs."""

    def __init__(self, path: Path) -> None:
        words = "a symbolic link or a pipe stands where recordings belong"
        super().__init__(errno.ELOOP, words, path.name)


def require_plain(root: Path, path: Path) -> None:
    """Raise LinkInTheWay unless ``path``, which need not exist, is what it says below ``root``.

    A link above the root is the operator's own affair; so is ``root`` itself.
    """
    if not is_plain(root, path):
        raise LinkInTheWay(path)


def is_plain(root: Path, path: Path) -> bool:
    """Tell whether no part of ``path`` below ``root`` is a link, and none leads upwards."""
    try:
        parts = path.relative_to(root).parts
        # Asked for every segment: resolving both would look at every folder above the root as well.
        return ".." not in parts and not _has_link(str(root), parts)
    except ValueError:  # not below it, or a NUL
        return False


def _has_link(at: str, parts: Iterable[str]) -> bool:
    for part in parts:
        at = f"{at}/{part}"
        try:
            if stat.S_ISLNK(os.lstat(at).st_mode):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False
    return False


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file; raises LinkInTheWay where its last name is a link, or no file at all.

    A pipe in its place is not waited for: its writer may never come.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # ENXIO: a pipe without a reader, a socket
            raise LinkInTheWay(path) from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise LinkInTheWay(path)
