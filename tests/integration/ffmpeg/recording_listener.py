"""A listener that records every call, and a watcher that leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TypeVar

from streamwarden.clock import Clock
from streamwarden.ffmpeg.command import RunOrder, recording_argv
from streamwarden.ffmpeg.looks import Look, look_at
from streamwarden.ffmpeg.received import ReceivedBytes
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.ffmpeg.watcher import RunWatcher, StallTimeouts, TokenBucket

DEADLINE_S = 120.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwistedOrder(RunOrder):
    """A ``RunOrder`` with a ``twist``: a change of its command line."""

    run: int = 1
    url: str = field(default="rtsp://127.0.0.1:1/x", repr=False)
    segment_seconds: int = 1
    audio: str = "copy"
    probe_s: float = 1.0
    twist: Callable[[list[str]], list[str]] = list


def twisted(ffmpeg: str, order: RunOrder) -> list[str]:
    """The real command line, as the order's twist leaves it."""
    argv = recording_argv(ffmpeg, order)
    return order.twist(argv) if isinstance(order, TwistedOrder) else argv


class RecordingListener:
    """Notes every call as (name, run, what was told)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, object]] = []
        self._changed = threading.Condition()

    def spawned(self, run: int, at: datetime) -> None:
        self._note("spawned", run, at)

    def recording(self, run: int, at: datetime) -> None:
        self._note("recording", run, at)

    def segment_closed(self, segment: ClosedSegment) -> None:
        self._note("segment_closed", segment.run, segment)

    def stalled(self, run: int, at: datetime) -> None:
        self._note("stalled", run, at)

    def waiting(self, run: int, since: datetime) -> None:
        self._note("waiting", run, since)

    def disk_hangs(self, run: int, since: datetime) -> None:
        self._note("disk_hangs", run, since)

    def clock_stepped(self, run: int, by_s: float) -> None:
        self._note("clock_stepped", run, by_s)

    def overdue(self, run: int) -> None:
        self._note("overdue", run, None)

    def stamps_jumped(self, run: int, by_s: float) -> None:
        self._note("stamps_jumped", run, by_s)

    def sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        self._note("sound_judged", order.run, flows)

    def ended(self, run_exit: RunExit) -> None:
        self._note("ended", run_exit.run, run_exit)

    def adopted(self) -> None:
        self._note("adopted", 0, None)

    def _note(self, name: str, run: int, what: object) -> None:
        with self._changed:
            self.told.append((name, run, what))
            self._changed.notify_all()

    def names(self) -> list[str]:
        """What it was told, by name."""
        with self._changed:
            return [name for name, _, _ in self.told]

    def wait(self, name: str, *, count: int = 1, deadline_s: float = DEADLINE_S) -> object:
        """Wait until ``name`` was told ``count`` times; return what was told the last time."""

        def found() -> list[object]:
            return [what for told, _, what in self.told if told == name]

        with self._changed:
            enough = self._changed.wait_for(lambda: len(found()) >= count, deadline_s)
            assert enough, f"{name} was not told {count} times, but {self.told}"
            return found()[count - 1]

    def end(self) -> RunExit:
        """Wait for the first end."""
        end = self.wait("ended")
        assert isinstance(end, RunExit)
        return end

    def segment(self, count: int = 1) -> ClosedSegment:
        """Wait for the ``count``-th listed segment."""
        segment = self.wait("segment_closed", count=count)
        assert isinstance(segment, ClosedSegment)
        return segment


def descriptors() -> set[str]:
    """What this process has open, by number and kind."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue
    return found


@contextmanager
def watching(
    ffmpeg: str = "/bin/true",
    *,
    argv: Callable[[str, RunOrder], list[str]] = twisted,
    timeouts: StallTimeouts | None = None,
    clock: Clock | None = None,
    spawn_rate: TokenBucket | None = None,
    look: Callable[..., Look] = look_at,
    received: ReceivedBytes | None = None,
) -> Iterator[RunWatcher]:
    """A watcher that is closed in the end, with every process of it gone."""
    watcher = RunWatcher(
        ffmpeg=ffmpeg,
        clock=clock or Clock(),
        spawn_rate=spawn_rate or TokenBucket(interval_s=0.005, burst=50),
        timeouts=timeouts,
        argv=argv,
        look=look,
        received=received,
    )
    try:
        yield watcher
    finally:
        watcher.close(10)
        assert not watcher._live


def pids_in(folder: Path) -> list[int]:
    """The processes that work in ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder.resolve():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def eventually(condition: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Look again and again, for what tells nobody when it happens."""
    pause, until = threading.Event(), monotonic() + deadline_s
    while not (value := condition()) and monotonic() < until:
        pause.wait(0.02)
    return value
