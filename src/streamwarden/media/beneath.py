"""Nothing below the record root leads out of it: no symbolic link there is ever followed.

Who may write there is the server alone, and FFmpeg in the folders in which it works; one that has been
taken over must not make the server read, cut, move or delete elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path


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
