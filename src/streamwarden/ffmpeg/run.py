"""One FFmpeg run as the watching thread keeps it: its process, pipes, segment list and clock.

FFmpeg's ``segment`` muxer (``segment_list_type csv``) writes a line of name, start and end in seconds for
each segment that it has closed. Such a line says that a segment is complete; nothing else does. A run that
listens for sound writes a line of the ``framecrc`` muxer for a packet of sound to the same pipe.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from streamwarden.clock import Clock, ClockLine, to_milliseconds
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.exit_causes import Killed
from streamwarden.ffmpeg.looks import Look
from streamwarden.ffmpeg.patience import Arrivals, UsualSilence
from streamwarden.ffmpeg.process import Process
from streamwarden.ffmpeg.stream_tracks import SoundWay
from streamwarden.model import Cause, TimeRange
from streamwarden.paths import live_name, parse_live

_MAX_LINE_BYTES: Final = 4096


_SOUND_LINE: Final = b"0, "
"""The beginning of a packet's line: the number of its track, the only one of that output."""


_FLOWING_PACKETS: Final = 3
"""So many listed packets, 27 at least, show that sound flows and was not a single click."""


class ListedSegment(NamedTuple):
    """A line of the segment list: number, media length, and start on the run's own time line in seconds."""

    number: int
    media_s: float
    from_s: float


class SegmentListReader:
    """Parser of one run's segment list; lines that do not name a segment of the run are dropped."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._rest = b""
        self._overlong = False
        self.dropped = 0
        self.sound_packets = 0
        """Number of listed packets of sound."""

    def feed(self, chunk: bytes) -> list[ListedSegment]:
        """Return the segments whose lines ``chunk`` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        listed = []
        for line in lines:
            overlong, self._overlong = self._overlong or len(line) > _MAX_LINE_BYTES, False
            name, _, times = line.decode("ascii", "replace").strip().partition(",")
            parsed = None if overlong else parse_live(name)
            if parsed is not None and parsed[0] == self._run:
                listed.append(ListedSegment(parsed[1], *_times_s(times)))
            elif not overlong and line.startswith(_SOUND_LINE):
                self.sound_packets += 1
            elif overlong or (line.strip() and not line.startswith(b"#")):
                self.dropped += 1
        if len(self._rest) > _MAX_LINE_BYTES:
            # What follows up to the next line feed belongs to the same line.
            self._rest, self._overlong = b"", True
        return listed


def _times_s(times: str) -> tuple[float, float]:
    """Return length and start in seconds, 0 where the camera's time stamps give no positive length."""
    try:
        start, end = (float(text) for text in times.split(","))
    except ValueError:
        return 0.0, 0.0
    length = end - start
    return (length, start) if math.isfinite(length) and length > 0 else (0.0, 0.0)


_STDERR_TAIL_BYTES: Final = 8192


STDERR_BYTES_A_TICK: Final = 262144
"""Maximum stderr of one run that is read between two ticks; the rest waits in the pipe."""


_MEASURED_AFTER_S: Final = 10.0
"""Two readings of a file's length are this far apart."""

_STANDS_STILL: Final = 0.2
"""Pictures whose time advances by less than this share of the time that passes are held back."""

_OVERDUE_S: Final = 30.0
"""Allowance beyond twice the segment length: cameras leave up to 10 s between key frames."""


_AT_ONCE_S: Final = 1.0
"""A first file that is listed so soon after it was seen to grow may have been written at once."""

_AHEAD_S: Final = 1.5
"""One that holds so much more media than it has had time was written at once."""

_QUIET_S: Final = 0.5
"""So were two that are listed within so long."""

_MAX_HELD: Final = 64
_MAX_HELD_S: Final = 120.0
"""No more of a run's first segments wait to be dated, and no longer: FFmpeg holds back ten pictures."""


_AFTERMATH_S: Final = 10.0
"""A run that ends by itself so soon after its disk hung was lost to that."""


_STEP_S: Final = 2.0
"""A wall clock that departs this far from the monotonic one has been set, not slewed."""


@dataclass(frozen=True, slots=True)
class HeldSegment:
    """A listed segment that is not yet dated; ``read_s`` is when its line was read."""

    listed: ListedSegment
    read_s: float
    paused_s: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the watching thread has seen of a listed segment, by the run's clock.

    ``grew_at`` is when the run's first file first grew, ``paused`` the longest time in which this one did
    not. ``listed_from_s`` and ``media_s`` are the list's. ``file_offset_s`` added to a file time gives the
    run's clock; None where the machine's clock was set meanwhile. ``taken`` is from when to when the
    pictures were taken of a file that was written at once, long after.
    """

    spawned_at: datetime
    grew_at: datetime | None
    paused: TimeRange | None
    listed_from_s: float
    media_s: float
    file_offset_s: float | None
    taken: TimeRange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedSegment:
    """A segment that FFmpeg no longer writes, still under ``.live``; wall-clock times.

    ``torn`` when its run ended without listing it. ``started_at`` is None where only its media tell:
    it then began its media's length before ``ended_at``. The dates of a listed one are when its line was
    read; ``seen`` is what better dates are made from. ``line`` is the clock of its run, None where the run
    is of an earlier server.
    """

    run: int
    number: int
    started_at: datetime | None
    ended_at: datetime
    torn: bool = False
    line: ClockLine | None = None
    seen: Sighting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExit:
    """The end of a run. ``cause`` is None for an orderly stop, ``recorded`` whether it wrote media.

    ``open_segment`` was being written, if its file is there. It ends with its last flush. The first
    segment of a run starts at the spawn or later; its media give the exact time. ``line`` is the clock
    of its times.
    """

    run: int
    at: datetime
    cause: Cause | None
    message: str
    recorded: bool
    open_segment: ClosedSegment | None
    line: ClockLine | None = None


class RunListener(Protocol):
    """Receiver of one camera's run events, called in the watching thread: it must not block."""

    def spawned(self, run: int, at: datetime) -> None:
        """A process has been started."""

    def recording(self, run: int, at: datetime) -> None:
        """The first fragment is on disk, or the file grows again."""

    def segment_closed(self, segment: ClosedSegment) -> None:
        """FFmpeg's segment list says that a segment is complete."""

    def stalled(self, run: int, at: datetime) -> None:
        """The file has stopped growing; the run is being killed."""

    def disk_hangs(self, run: int, since: datetime) -> None:
        """The disk does not answer; what was written until ``since`` was seen on it."""

    def clock_stepped(self, run: int, by_s: float) -> None:
        """The wall clock was set; this run's times continue by the old one."""

    def waiting(self, run: int, since: datetime) -> None:
        """Packets have arrived since then, and no key frame with which a file can begin."""

    def overdue(self, run: int) -> None:
        """The file grows, but its pictures do not: FFmpeg holds them back."""

    def stamps_jumped(self, run: int, by_s: float) -> None:
        """The camera's time stamps jumped ahead; segments of this run are cut at each key frame."""

    def sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        """The run's sound flowed when it began to record (or, while it listens, now), or did not."""

    def ended(self, run_exit: RunExit) -> None:
        """The process has ended and its pipes are drained."""

    def adopted(self) -> None:
        """Every event that is still open for the camera's runs has been repeated."""


def wall_offset_s(clock: Clock) -> float:
    """Return the wall clock minus the monotonic clock, in seconds."""
    return clock.now().timestamp() - clock.monotonic()


class RunClock:
    """A run's wall clock: read once at its spawn, advanced by the monotonic clock.

    The segments of a run keep their order and length when the machine's clock is set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        # By the same two readings as the run's times, whatever came between them.
        self._offset_s = self._wall.timestamp() - self._monotonic
        self.line = ClockLine(clock.boot_id(), self._offset_s)

    def now(self) -> datetime:
        """Return the run's present time, to the millisecond."""
        return self.at_monotonic(self._clock.monotonic())

    def monotonic(self) -> float:
        """Return the monotonic clock, in seconds."""
        return self._clock.monotonic()

    def at_monotonic(self, monotonic_s: float) -> datetime:
        """Convert a time on the monotonic clock to the run's wall clock."""
        return to_milliseconds(self._wall + timedelta(seconds=monotonic_s - self._monotonic))

    def stepped_by_s(self, offset_s: float | None = None) -> float:
        """Return by how many seconds the machine's clock was set since the spawn; 0 if it was not.

        ``offset_s`` is the present ``wall_offset_s``, so that a tick reads the clock once for all runs.
        """
        by_s = (wall_offset_s(self._clock) if offset_s is None else offset_s) - self._offset_s
        return by_s if abs(by_s) > _STEP_S else 0.0

    def file_offset_s(self) -> float:
        """Return what is to be added to the machine's wall clock, in seconds, to get the run's."""
        return (self.now() - self._clock.now()).total_seconds()

    def at_file_time(self, modified_s: float) -> datetime:
        """Convert a file's modification time, in seconds since the epoch, to the run's wall clock."""
        age_s = max(0.0, self._clock.now().timestamp() - modified_s)
        return to_milliseconds(self.now() - timedelta(seconds=age_s))


_JUMP_S: Final = 10.0
_FASTEST: Final = 4.0
"""Some cameras' clocks run at twice the speed; that is no jump."""
_REPORT_AFTER_S: Final = 10.0
"""A run is replaced after this long at the earliest, however often its stamps jump."""


@dataclass(slots=True)
class StampWatch:
    """The jumps ahead of one run's time stamps, from its segment list and the monotonic clock.

    FFmpeg cuts a segment at the first key frame after n times the segment length, and n grows by one
    with each cut: after a jump by an hour it cuts at each key frame for hundreds of segments.
    """

    last_s: float = 0.0
    """Where the last listed segment ended, on the run's own time line."""
    listed_s: float = 0.0
    """When it was listed, on the monotonic clock."""
    jumped_by_s: float = 0.0
    reported: bool = False

    def note(self, ended_s: float, born_s: float, now_s: float) -> None:
        """Take in the end of a listed segment."""
        self.listed_s = self.listed_s or born_s
        ahead_s = ended_s - self.last_s
        # A late list is no jump: then all of the run's media fit into its life.
        if (
            ahead_s > _FASTEST * (now_s - self.listed_s) + _JUMP_S
            and ended_s > now_s - born_s + _JUMP_S
        ):
            self.jumped_by_s = ahead_s - (now_s - self.listed_s)
        self.last_s, self.listed_s = ended_s, now_s

    def due(self, born_s: float, now_s: float) -> bool:
        """Return whether a jump is to be reported now."""
        return self.jumped_by_s > 0 and not self.reported and now_s - born_s >= _REPORT_AFTER_S


@dataclass(slots=True)
class Run:
    """State of one live run; used only by the watching thread."""

    order: RunOrder
    process: Process
    clock: RunClock
    born_s: float
    reader: SegmentListReader
    grew_s: float
    arrivals: Arrivals = field(default_factory=lambda: Arrivals(UsualSilence()))
    recording: bool = False
    wrote_media: bool = False
    stop_asked: bool = False
    killed: Killed | None = None
    lost_to: tuple[Cause, str] | None = None
    """Why its folder is gone, and that in words; it has been killed for that."""
    step_reported: bool = False
    overdue_reported: bool = False
    stamps: StampWatch = field(default_factory=StampWatch)
    sound_at_start: bool = False
    sound_reported: bool = False
    opened_s: float = 0.0
    kill_at_s: float | None = None
    file_begun: bool = False
    """Whether a file is there, with or without media: FFmpeg knows the stream."""
    waiting_reported: bool = False
    measured: tuple[int, float] | None = None
    """The length of the open file's pictures in milliseconds, and when it was read."""
    asked_s: float | None = None
    """When the look that has not returned was asked for."""
    hangs: bool = False
    """Whether that was too long ago: the disk does not answer."""
    blocked: bool = False
    """Whether it was in a write that did not return when it would have been killed for its silence."""
    writes_hang: bool = False
    """Whether it hangs in such a write: then looks may return all the same."""
    hung_from_s: float | None = None
    """When the file was last seen to grow before the disk hung; None once it grows again."""
    hang_ended_s: float | None = None
    """When the file grew again after a hang of the disk."""
    exit_code: int | None = None
    exited_s: float = 0.0
    open_number: int = 0
    open_bytes: int = 0
    last_ended_at: datetime | None = None
    first_grew_s: float | None = None
    last_grew_s: float | None = None
    """When the file was last seen to grow; ``grew_s`` is also when the disk answered again."""
    paused_s: tuple[float, float] = (0.0, 0.0)
    """The longest time in which the open file did not grow, by the monotonic clock."""
    file_offset_s: float = field(init=False)
    stderr: deque[bytes] = field(default_factory=deque)
    stderr_bytes: int = 0
    stderr_budget: int = STDERR_BYTES_A_TICK
    stderr_paused: bool = False
    held: list[HeldSegment] = field(default_factory=list)
    """Listed segments that are not yet dated."""
    pending: dict[int, ClosedSegment] = field(default_factory=dict)
    spawned_at: datetime = field(init=False)
    open_file: Path = field(init=False)
    """The file that FFmpeg is writing."""

    def __post_init__(self) -> None:
        self.spawned_at = self.clock.now()
        self.file_offset_s = self.clock.file_offset_s()
        self._open(0)

    @property
    def number(self) -> int:
        """The run's number, unique and growing for its camera."""
        return self.order.run

    def _open(self, number: int) -> None:
        self.open_number = number
        self.open_file = self.order.folder / live_name(self.order.run, number)
        self.open_bytes = 0
        self.paused_s = (0.0, 0.0)
        self.measured = None

    def take(self, look: Look) -> bool:
        """Take in a look at the open file; return whether it has grown since the last one, by media.

        A file whose growth cannot be observed counts as not recorded.
        """
        self.file_begun = self.file_begun or bool(look.exists)
        if look.size_bytes <= self.open_bytes or not look.holds_media:
            return False
        self.open_bytes = look.size_bytes
        self.wrote_media = True
        return True

    @property
    def disk_hung(self) -> bool:
        """Whether the disk does not answer, or has written nothing since it answers again."""
        return self.hangs or self.hung_from_s is not None

    @property
    def lost_to_hang(self) -> bool:
        """Whether it has ended because of its disk: the server drops a reader that has fallen behind."""
        if self.disk_hung:
            return True
        ended_s = self.hang_ended_s
        return (
            self.killed is None and ended_s is not None and self.exited_s - ended_s < _AFTERMATH_S
        )

    def postpone(self, by_s: float) -> None:
        """Leave out of all judgements a time in which the watching thread could not run."""
        self.grew_s += by_s
        if self.last_grew_s is not None:
            self.last_grew_s += by_s
        self.opened_s += by_s
        self.arrivals.postpone(by_s)
        if self.asked_s is not None:
            self.asked_s += by_s

    def overdue(self, now: float) -> bool:
        """Return whether the open segment is open for suspiciously long, by the monotonic clock.

        Either no key frame has come at which it could be cut, or FFmpeg holds pictures back whose time
        stamps are far ahead of the sound's, and the file grows by the sound alone (``held_back``).
        """
        return self.recording and now - self.opened_s > 2 * self.order.segment_seconds + _OVERDUE_S

    def sound_flows(self) -> bool | None:
        """Return whether the camera's sound flows; None while that is not known, or never will be."""
        if not self.recording:
            return None
        match self.order.audio:
            case SoundWay.COPY:
                return self.sound_at_start
            case SoundWay.AAC:
                return True  # FFmpeg begins its file only with the encoder's first frame
            case SoundWay.LISTEN if self.reader.sound_packets >= _FLOWING_PACKETS:
                return True
        return None

    def note_growth(self, now: float) -> None:
        """Note that the open file has grown at ``now``, by the monotonic clock."""
        if self.last_grew_s is None:
            self.first_grew_s = now
        elif now - self.last_grew_s > self.paused_s[1] - self.paused_s[0]:
            self.paused_s = (self.last_grew_s, now)
        self.grew_s = self.last_grew_s = now

    def list_segment(self, listed: ListedSegment, now: float) -> None:
        """Take in a line of the segment list: FFmpeg writes the next file."""
        if self.wrote_media:
            self.note_growth(now)
        self.held.append(HeldSegment(listed, now, self.paused_s))
        # FFmpeg also lists a file without media, when the source disconnects before its first frame.
        self.wrote_media = self.wrote_media or listed.media_s > 0
        self._open(listed.number + 1)

    def holds_back(self, now: float) -> bool:
        """Return whether the listed segments are dated only by those after them.

        FFmpeg begins no file before it has decoded some pictures, seven of H.264. Of a camera that sends
        few, these are several files, written at once. When they were taken shows once the file after them
        is closed, and the next line says what place that has on the run's own time line.
        """
        if not self.held or self.last_ended_at is not None or len(self.held) >= _MAX_HELD:
            return False
        first = self.held[0]
        open_s = 0.0 if self.first_grew_s is None else first.read_s - self.first_grew_s
        long = first.listed.media_s - open_s > _AHEAD_S
        if not long and open_s >= _AT_ONCE_S:
            return False
        if now - first.read_s < _QUIET_S:
            return True
        if now - first.read_s > _MAX_HELD_S:
            return False
        at_once = self._written_at_once
        return (long or at_once > 1) and len(self.held) < at_once + 2

    @property
    def _written_at_once(self) -> int:
        """The number of the held segments that were listed at once."""
        until_s = self.held[0].read_s + _QUIET_S
        return sum(each.read_s < until_s for each in self.held)

    def close_held(self) -> list[ClosedSegment]:
        """Date the held segments."""
        taken = self._taken() if self.last_ended_at is None and self.held else []
        held, self.held = self.held, []
        taken += [None] * (len(held) - len(taken))
        return [self._close(each, where) for each, where in zip(held, taken, strict=True)]

    def _taken(self) -> list[TimeRange | None]:
        """Return from when to when the first of the held segments were taken that were written at once."""
        at_once = self._written_at_once
        begins_s = [each.listed.from_s for each in self.held]
        if len(begins_s) < at_once + 2 or begins_s != sorted(begins_s):
            return []
        # Then the picture arrived with which the last one of these begins.
        arrived_s, place_s = self.held[at_once].read_s, begins_s[at_once + 1]
        if place_s - begins_s[0] > arrived_s - self.born_s:
            return []
        times = [self.clock.at_monotonic(arrived_s - (place_s - one_s)) for one_s in begins_s]
        return [TimeRange(from_, to) for from_, to in pairwise(times[: at_once + 1])]

    def close_segment(self, number: int, media_s: float, from_s: float = 0.0) -> ClosedSegment:
        """Date a listed segment: it ends when its line was read, where its successor starts."""
        self.list_segment(ListedSegment(number, media_s, from_s), self.clock.monotonic())
        return self._close(self.held.pop(), None)

    def _close(self, held: HeldSegment, taken: TimeRange | None) -> ClosedSegment:
        media_s = held.listed.media_s
        ended_at = self.clock.at_monotonic(held.read_s)
        started_at = self.last_ended_at
        if started_at is None:
            # Not before the spawn: a jump of the time stamps may look like hours, and the time before the
            # spawn is already in the ledger with a cause of its own.
            lived_s = max(0.0, (ended_at - self.spawned_at).total_seconds())
            started_at = to_milliseconds(ended_at - timedelta(seconds=min(media_s, lived_s)))
        segment = ClosedSegment(
            run=self.number,
            number=held.listed.number,
            started_at=min(started_at, ended_at),
            ended_at=ended_at,
            line=self.clock.line,
            seen=self._seen(held, taken),
        )
        self.pending[segment.number] = segment
        self.last_ended_at = ended_at
        return segment

    def _seen(self, held: HeldSegment, taken: TimeRange | None) -> Sighting:
        offset_s, self.file_offset_s = self.file_offset_s, self.clock.file_offset_s()
        from_s, to_s = held.paused_s
        grew_s = self.first_grew_s
        return Sighting(
            spawned_at=self.spawned_at,
            grew_at=None if grew_s is None else self.clock.at_monotonic(grew_s),
            paused=TimeRange(self.clock.at_monotonic(from_s), self.clock.at_monotonic(to_s))
            if to_s > from_s
            else None,
            listed_from_s=held.listed.from_s,
            media_s=held.listed.media_s,
            file_offset_s=offset_s if abs(offset_s - self.file_offset_s) < _STEP_S else None,
            taken=taken,
        )

    def to_be_measured(self, now: float) -> bool:
        """Return whether the next look is to read how long the open file's pictures are."""
        if self.overdue_reported or not self.overdue(now):
            return False
        return self.measured is None or now - self.measured[1] >= self._measured_after_s

    def held_back(self, media_ms: int, now: float) -> bool:
        """Take in the length of the open file's pictures; return whether it stands still."""
        before, self.measured = self.measured, (media_ms, now)
        if before is None or now - before[1] < self._measured_after_s:
            return False
        return media_ms - before[0] < _STANDS_STILL * (now - before[1]) * 1000

    @property
    def _measured_after_s(self) -> float:
        return max(_MEASURED_AFTER_S, 3 * self.arrivals.usual.seconds)

    def open_segment(self, look: Look) -> ClosedSegment | None:
        """Return the segment that an ended run was writing, dated by its last flush; None if none.

        ``look`` is the last one at its file.
        """
        if look.exists is False:
            return None
        if look.modified_s is None or self.disk_hung or self.clock.stepped_by_s():
            # The file's time is by the machine's clock; once that was set, only our own looks count. A
            # write that hung has the time at which the disk answered again.
            seen_s = self.grew_s if self.hung_from_s is None else self.hung_from_s
            flushed_at = self.clock.at_monotonic(seen_s)
        else:
            flushed_at = self.clock.at_file_time(look.modified_s)
        started_at = self.last_ended_at or self.spawned_at
        return ClosedSegment(
            run=self.number,
            number=self.open_number,
            started_at=started_at,
            ended_at=max(started_at, flushed_at),
            torn=True,
            line=self.clock.line,
        )

    def note_stderr(self, chunk: bytes) -> None:
        """Keep the end of FFmpeg's stderr."""
        if not chunk:
            return
        self.stderr_budget -= len(chunk)
        self.stderr.append(chunk[-_STDERR_TAIL_BYTES:])
        self.stderr_bytes += len(self.stderr[-1])
        while self.stderr_bytes - len(self.stderr[0]) >= _STDERR_TAIL_BYTES:
            self.stderr_bytes -= len(self.stderr.popleft())

    def stderr_tail(self) -> str:
        """Return the last bytes of FFmpeg's stderr as text."""
        return b"".join(self.stderr)[-_STDERR_TAIL_BYTES:].decode("utf-8", "replace")
