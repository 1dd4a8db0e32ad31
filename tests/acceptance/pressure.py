"""How long this machine kept its programs waiting: what no recorder can make up for.

A picture carries the time of its making. It is indexed when it arrives, and between the two lie the
camera's encoder, the media server and FFmpeg, each of which a busy machine makes wait.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

MOST_S = 2.0
"""No wait excuses more than this."""

_EVERY_S = 0.25
_REACH = timedelta(seconds=3)
_WAITED: list[tuple[float, float]] = []
"""(wall clock, seconds waited until then), in order, while :func:`watched` runs."""
_LOST: list[tuple[float, float]] = []
"""(wall clock, seconds until then that a program did not get), likewise."""


@contextmanager
def watched() -> Iterator[None]:
    """Keep account of the waits."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(over,), name="pressure", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def share() -> float:
    """Return how much of a processor a program that wants to run gets just now, at most 1."""
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    return min(1.0, len(os.sched_getaffinity(0)) / max(1, running))


def had_s(first: datetime, last: datetime) -> float:
    """Return how many of the seconds between two moments a program that wanted to run had.

    On a machine of its own that is all of them. With thirty programs that run on two processors it is
    one in fifteen: a claim of so many seconds speaks of these.
    """
    begin, end = first.timestamp(), last.timestamp()
    return end - begin - (_until(_LOST, end) - _until(_LOST, begin))


def waited_s(first: datetime, last: datetime) -> float:
    """Return for how long some program waited for a processor about then, at most ``MOST_S``."""
    before = _until(_WAITED, (first - _REACH).timestamp())
    return min(MOST_S, _until(_WAITED, (last + _REACH).timestamp()) - before)


def _until(sums: list[tuple[float, float]], at: float) -> float:
    if not sums:
        return 0.0
    place = bisect_left(sums, (at, 0.0))
    return sums[min(place, len(sums) - 1)][1]


def _watch(over: threading.Event) -> None:
    lost_s, before = 0.0, time.monotonic()
    while not over.wait(_EVERY_S):
        now = time.monotonic()
        lost_s += (now - before) * (1 - share())
        before = now
        _LOST.append((time.time(), lost_s))
        _WAITED.append((time.time(), _pressure_s() + _stolen_s()))


def _pressure_s() -> float:
    """Seconds in which a runnable task had no processor; 0 where the kernel does not count (PSI)."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


def _stolen_s() -> float:
    """Seconds that the hypervisor gave to others, over all processors."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")
