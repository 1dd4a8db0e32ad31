"""Wall clock in UTC, cut to the millisecond, and the monotonic clock for durations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The clocks of this machine; tests subclass it."""

    def now(self) -> datetime:
        """Return the wall clock: aware, UTC, whole milliseconds."""
        return to_milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        """Return ``CLOCK_MONOTONIC`` in seconds."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return ``CLOCK_BOOTTIME`` in seconds: the monotonic clock, which also counts suspended time."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """Return the id of this boot of the machine: monotonic times of other boots mean nothing."""
        return _boot_id()


@dataclass(frozen=True, slots=True)
class ClockLine:
    """A wall clock as it was once set: its offset from the monotonic clock of one boot."""

    boot_id: str
    offset_s: float

    def at(self, monotonic_s: float) -> datetime:
        """Return what this clock shows at a time of the monotonic clock."""
        return to_milliseconds(datetime.fromtimestamp(monotonic_s + self.offset_s, UTC))


def clock_line(clock: Clock) -> ClockLine:
    """Return the wall clock as it is set now."""
    return ClockLine(clock.boot_id(), clock.now().timestamp() - clock.monotonic())


@cache
def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def to_milliseconds(moment: datetime) -> datetime:
    """Cut ``moment`` to whole milliseconds, the precision of all times on disk, in SQL and in HTTP."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Format an aware ``moment`` as RFC 3339 in UTC with milliseconds, as in the HTTP contract."""
    # Not strftime: its %Y writes years before 1000 with fewer than four digits.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
