"""One FFmpeg life as the watching thread keeps it: process, pipes, what was listed, when it grew.

FFmpeg's segment list as it comes through a pipe: CSV lines of name, start and end in seconds.

A line says that a segment is complete, and nothing else does. Source: FFmpeg's ``segment`` muxer,
``segment_list_type csv``.
"""

from __future__ import annotations

import math
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.exit_causes import Killed
from streamwarden.ffmpeg.process import Process
from streamwarden.model import Cause
from streamwarden.mp4.fragments import init_bytes
from streamwarden.paths import live_name, open_nofollow, parse_live

_MAX_LINE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ListedSegment:
    """A segment that FFmpeg has finished; ``media_s`` is its length on the run's own time line."""

    number: int
    media_s: float


class SegmentListReader:
    """Turns chunks of the list into segments; a line that is not ours is counted and dropped."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._rest = b""
        self._overlong = False
        self.dropped = 0

    def feed(self, chunk: bytes) -> list[ListedSegment]:
        """Return the segments whose lines ``chunk`` completes, in order."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        segments = [self._finish(line) for line in lines]
        if len(self._rest) > _MAX_LINE_BYTES:
            # The rest of such a line is no line of its own.
            self._rest, self._overlong = b"", True
        return [segment for segment in segments if segment is not None]

    def _finish(self, line: bytes) -> ListedSegment | None:
        overlong, self._overlong = self._overlong or len(line) > _MAX_LINE_BYTES, False
        if overlong:
            self.dropped += 1
            return None
        return self._parse(line) if line.strip() else None

    def _parse(self, line: bytes) -> ListedSegment | None:
        name, _, times = line.decode("ascii", "replace").strip().partition(",")
        parsed = parse_live(name)
        if parsed is None or parsed[0] != self._run:
            self.dropped += 1
            return None
        return ListedSegment(parsed[1], _length_s(times))


def _length_s(times: str) -> float:
    """Return end - start, or 0 where the camera's time stamps make no sense."""
    try:
        start, end = (float(text) for text in times.split(","))
    except ValueError:
        return 0.0
    length = end - start
    return length if math.isfinite(length) and length > 0 else 0.0


_STDERR_TAIL_BYTES: Final = 8192


STDERR_BYTES_A_TICK: Final = 262144
"""What one run may say between two looks at it; more waits in the pipe."""


_TRAILER: Final = b"mfra"
"""All that follows the header where a run has ended before its first frame."""


_OVERDUE_S: Final = 30.0
"""What a segment may take beyond twice its length: cameras leave 10 s between key frames."""


_STEP_S: Final = 2.0
"""A wall clock that departs this far from the monotonic one has been set, not slewed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A finished segment of a run with its wall-clock times."""

    number: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. ``cause`` is None when it was asked to.

    ``tail`` is the segment that was open, if any media may be in it. It ends with its last flush; a
    run's first one begins no earlier than the spawn: only its media tell when.
    """

    at: datetime
    cause: Cause | None
    message: str
    recorded: bool
    tail: Listed | None


class RunListener(Protocol):
    """Who is told about a camera's runs. Called in the watching thread: put it into an inbox."""

    def spawned(self, run: int, at: datetime) -> None:
        """A process has been started."""

    def recording(self, run: int, at: datetime) -> None:
        """The first fragment is on disk, or the file grows again."""

    def listed(self, run: int, segment: Listed) -> None:
        """FFmpeg's segment list says that a segment is complete."""

    def stalled(self, run: int, at: datetime) -> None:
        """The file has stopped growing; the run is being killed."""

    def clock_stepped(self, run: int, by_s: float) -> None:
        """The wall clock was set: this run's times go on by the old one."""

    def overdue(self, run: int) -> None:
        """The file grows, but the open segment should have ended long ago."""

    def ended(self, run: int, end: Ended) -> None:
        """The process has ended and its pipes are drained."""

    def adopted(self) -> None:
        """All that was known of the camera's runs has been told."""


def wall_offset_s(clock: Clock) -> float:
    """Return by how much the wall clock is ahead of the monotonic one."""
    return clock.now().timestamp() - clock.monotonic()


class RunClock:
    """A run's wall clock: set once at its spawn, moved on by the monotonic clock.

    So the segments of a run keep their order and length when the machine's clock is set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._offset_s = wall_offset_s(clock)

    def now(self) -> datetime:
        """Return the run's present time, to the millisecond."""
        return self.at_monotonic(self._clock.monotonic())

    def at_monotonic(self, monotonic_s: float) -> datetime:
        """Return the run's time of a moment on the monotonic clock."""
        return to_milliseconds(self._wall + timedelta(seconds=monotonic_s - self._monotonic))

    def stepped_by_s(self, offset_s: float | None = None) -> float:
        """Return how far the machine's clock has been set since the spawn; 0 when it was not.

        ``offset_s`` is the clock's present ``wall_offset_s``, for who asks many runs at once.
        """
        by_s = (wall_offset_s(self._clock) if offset_s is None else offset_s) - self._offset_s
        return by_s if abs(by_s) > _STEP_S else 0.0

    def at_file_time(self, modified_s: float) -> datetime:
        """Return the run's time of a file's modification, given as seconds since the epoch."""
        age_s = max(0.0, self._clock.now().timestamp() - modified_s)
        return to_milliseconds(self.now() - timedelta(seconds=age_s))


@dataclass(slots=True)
class Run:
    """The live state of one run; only the watching thread touches it."""

    order: RunOrder
    process: Process
    clock: RunClock
    born_s: float
    reader: SegmentListReader
    grew_s: float
    recording: bool = False
    wrote_media: bool = False
    stop_asked: bool = False
    killed: Killed | None = None
    step_told: bool = False
    overdue_told: bool = False
    opened_s: float = 0.0
    kill_at_s: float | None = None
    open_number: int = 0
    open_bytes: int = 0
    last_ended_at: datetime | None = None
    stderr: deque[bytes] = field(default_factory=deque)
    stderr_bytes: int = 0
    stderr_budget: int = STDERR_BYTES_A_TICK
    stderr_paused: bool = False
    pending: dict[int, Listed] = field(default_factory=dict)
    spawned_at: datetime = field(init=False)
    open_file: Path = field(init=False)
    """The file that FFmpeg is writing."""

    def __post_init__(self) -> None:
        self.spawned_at = self.clock.now()
        self._open(0)

    @property
    def number(self) -> int:
        """The run's number, unique and growing for its camera."""
        return self.order.run

    def _open(self, number: int) -> None:
        self.open_number = number
        self.open_file = self.order.folder / live_name(self.order.run, number)
        self.open_bytes = 0

    def grown(self) -> bool:
        """Look at the open file; True when it has grown since the last look and holds media."""
        try:
            size = self.open_file.stat().st_size
            if size <= self.open_bytes or not (self.wrote_media or self._holds_media(size)):
                return False
        except OSError:
            # Not there yet, or the disk refuses: what cannot be seen to grow does not record.
            return False
        self.open_bytes = size
        self.wrote_media = True
        return True

    def overdue(self, now: float) -> bool:
        """Whether the open segment should have ended long ago, by the monotonic clock.

        FFmpeg holds a picture back whose time stamps are far ahead of the sound's; the sound alone
        makes the file grow.
        """
        return self.recording and now - self.opened_s > 2 * self.order.segment_seconds + _OVERDUE_S

    def _holds_media(self, size: int) -> bool:
        fd = open_nofollow(self.open_file)
        try:
            header = init_bytes(fd)
            kind = os.pread(fd, 4, header + 4) if header is not None else b""
        finally:
            os.close(fd)
        return header is not None and size > header and kind != _TRAILER

    def take(self, segment: ListedSegment) -> Listed:
        """Give a finished segment its times: it ends now, where its successor starts."""
        ended_at = self.clock.now()
        began = self.last_ended_at or self._began(ended_at, segment.media_s)
        listed = Listed(segment.number, min(began, ended_at), ended_at)
        self.pending[segment.number] = listed
        self.last_ended_at = ended_at
        self.wrote_media = self.wrote_media or self._listed_media()
        self._open(segment.number + 1)
        return listed

    def _listed_media(self) -> bool:
        """Whether the first listed file holds any: a source may go before it has sent a frame."""
        try:
            return self._holds_media(self.open_file.stat().st_size)
        except OSError:
            return True

    def _began(self, ended_at: datetime, media_s: float) -> datetime:
        # No earlier than its spawn: time stamps that jump claim hours, and what came before the spawn
        # is accounted for already, with its own cause.
        lived_s = max(0.0, (ended_at - self.spawned_at).total_seconds())
        return to_milliseconds(ended_at - timedelta(seconds=min(media_s, lived_s)))

    def tail(self) -> Listed | None:
        """Return the open segment of a run that has ended, dated by its last flush."""
        try:
            modified_s = self.open_file.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError:
            # It is there and the disk refuses to say more: nobody looked later than this.
            modified_s = None
        began = self.last_ended_at or self.spawned_at
        return Listed(self.open_number, began, max(began, self._last_flush(modified_s)))

    def _last_flush(self, modified_s: float | None) -> datetime:
        # A file's time is by the machine's clock. After that was set, only our own looks count.
        if modified_s is None or self.clock.stepped_by_s():
            return self.clock.at_monotonic(self.grew_s)
        return self.clock.at_file_time(modified_s)

    def note_stderr(self, chunk: bytes) -> None:
        """Keep the end of what FFmpeg says."""
        if not chunk:
            return
        self.stderr_budget -= len(chunk)
        self.stderr.append(chunk[-_STDERR_TAIL_BYTES:])
        self.stderr_bytes += len(self.stderr[-1])
        while self.stderr_bytes - len(self.stderr[0]) >= _STDERR_TAIL_BYTES:
            self.stderr_bytes -= len(self.stderr.popleft())

    def stderr_tail(self) -> str:
        """Return the kept end of what FFmpeg said."""
        return b"".join(self.stderr)[-_STDERR_TAIL_BYTES:].decode("utf-8", "replace")
