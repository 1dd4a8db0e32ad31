"""What the benchmarks share: bounds, percentiles, waiting, and what processes use."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
TICKS = os.sysconf("SC_CLK_TCK")
MB = 1_000_000
_PAUSE = threading.Event()  # never set: only its wait is used


def bound(
    name: str,
    value: float,
    unit: str = "",
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> None:
    """Print one figure and its bound, as ``make bench`` reads it."""
    ratio: dict[str, object] = {"name": name, "value": round(value, 4), "unit": unit}
    limits = {"at_most": at_most, "at_least": at_least}
    ratio |= {key: limit for key, limit in limits.items() if limit is not None}
    print("RATIO", json.dumps(ratio), flush=True)


def say(*words: object) -> None:
    """Print at once."""
    print(*words, flush=True)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that ``percent`` of them do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def spread(name: str, values: Sequence[float], unit: str = "s") -> None:
    """Print how a figure is distributed."""
    p50, p95 = percentile(values, 50), percentile(values, 95)
    say(
        f"{name:44} median {p50:7.3f}  p95 {p95:7.3f}  most {max(values):7.3f} {unit}"
        f"  n {len(values)}"
    )


def pause(seconds: float) -> None:
    """Let time pass: where a benchmark does so, the pace is what it measures."""
    _PAUSE.wait(max(0.0, seconds))


def wait_for(
    what: str, look: Callable[[], T], *, within_s: float = 30.0, every_s: float = 0.02
) -> T:
    """Return the first true thing that ``look`` returns; raise TimeoutError after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        pause(every_s)
    return seen


def cpu_s(pid: int, *, with_ended_children: bool = False) -> float:
    """Return a process's CPU seconds so far; 0 for one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0.0
    last = 15 if with_ended_children else 13
    return sum(int(field) for field in stat.rpartition(b")")[2].split()[11:last]) / TICKS


def tree(pid: int) -> list[int]:
    """Return a process and all under it."""
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a tree, of those too that have ended and been waited for."""
    return sum(cpu_s(one, with_ended_children=True) for one in tree(pid))


def resident_bytes(pid: int) -> int:
    """Return a process's resident set."""
    pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@dataclass(frozen=True, slots=True)
class Machine:
    """How busy the whole machine has been since boot, in seconds of all cores."""

    busy_s: float
    idle_s: float

    @classmethod
    def now(cls) -> Machine:
        """Look at it now."""
        line = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
        ticks = [int(field) for field in line[:8]]
        idle = ticks[3] + ticks[4]
        return cls((sum(ticks) - idle) / TICKS, idle / TICKS)

    def since(self, earlier: Machine) -> float:
        """Return which part of all cores was busy since ``earlier``."""
        busy, idle = self.busy_s - earlier.busy_s, self.idle_s - earlier.idle_s
        return busy / max(0.01, busy + idle)
