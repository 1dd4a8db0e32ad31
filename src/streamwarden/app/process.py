"""What this process may use of the machine."""

from __future__ import annotations

import os
import resource


def cores() -> int:
    """Return how many cores this process may run on."""
    return max(1, len(os.sched_getaffinity(0)))


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: a camera takes three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_files_private() -> None:
    """Let nothing that this process makes be read by other users."""
    os.umask(0o027)
