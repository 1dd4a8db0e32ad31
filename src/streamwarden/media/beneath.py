"""Nothing below the record root leads out of it: no symbolic link there is ever followed.

Who may write there is the server alone, and FFmpeg in the folders in which it works; one that has been
taken over must not make the server read, cut, move or delete elsewhere.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


class LinkInTheWay(OSError):
    """A symbolic link stands where a folder or file of ours belongs."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ELOOP, "a symbolic link stands where recordings belong", path.name)


def require_plain(root: Path, path: Path) -> None:
    """Raise LinkInTheWay unless ``path``, which need not exist, is what it says below ``root``.

    A link above the root is the operator's own affair; so is ``root`` itself.
    """
    if not is_plain(root, path):
        raise LinkInTheWay(path)


def is_plain(root: Path, path: Path) -> bool:
    """Tell whether no part of ``path`` below ``root`` is a link, and none leads upwards."""
    try:
        return path.resolve() == root.resolve() / path.relative_to(root)
    except (ValueError, RuntimeError):  # not below it, or a NUL; links in a circle
        return False


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file whose last name is no link; raises OSError (ELOOP) where it is one."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
