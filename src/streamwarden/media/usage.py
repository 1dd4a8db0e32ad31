"""What processes use, from ``/proc``: CPU seconds and resident bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Used:
    """User and system time of a process, and its resident set."""

    cpu_s: float = 0.0
    resident_bytes: int = 0


def used(pid: int) -> Used:
    """Return what a process has used, a zombie included; nothing for one that is gone."""
    # The second field of stat is the program's name in parentheses, which may hold anything.
    stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    # Newer kernels round the resident set in stat, down to nothing where it is small.
    statm = _read(f"/proc/{pid}/statm").split()
    if not stat or not statm:
        return Used()
    return Used((int(stat[11]) + int(stat[12])) / _TICKS, int(statm[1]) * _PAGE_BYTES)


def _read(path: str) -> bytes:
    # Asked for every recorder at every scrape: a Path would cost as much as the reading.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _READ_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(fd)
