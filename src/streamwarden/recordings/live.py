"""Live footage: a window of parts over the files that are being recorded.

FFmpeg's open file is read as it grows. Nothing is decoded or copied; what is kept in memory is where the
newest parts are.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.errors import NotLive, SegmentNotFound
from streamwarden.model import Segment
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FragmentScan, MediaPart, PartBuilder
from streamwarden.paths import live_name, parse_live, stored_name
from streamwarden.recordings.serving import OpenFile

WINDOW_MS: Final = 12_000
"""The least that a window shows. A player starts three parts from the end; the rest is slack."""

MIN_PARTS: Final = 4
MAX_PARTS: Final = 60

STALE_S: Final = 30.0
"""After this long without a request the window is dropped."""

KEPT_FILES: Final = 64
"""Stored files that a camera's viewers can still open by their names in ``.live``."""

_HELD_FILES: Final = 2

_NEWEST_FILES: Final = 4
"""Files that a snapshot tries: the newest may not have a key frame yet."""

_WINDOW: Final = timedelta(milliseconds=WINDOW_MS)

_DRIFT: Final = timedelta(milliseconds=1_500)
"""A file's last write gives its time to within a fragment; a start that is nearer follows on."""

_SEQUENCES_A_SECOND: Final = 4
"""Media sequence numbers start from the clock and are more than the parts that can come, so they never
go backwards across restarts (RFC 8216, 6.2.2)."""

SegmentKey = tuple[int, int]
"""A file's run and number; they grow with time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """Some bytes of a file; ``name`` is its name in ``.live``, also after it was stored."""

    name: str
    init_bytes: int
    offset: int
    size_bytes: int
    media_ms: int
    started_at: datetime

    @property
    def ended_at(self) -> datetime:
        """The time of its last frame."""
        return self.started_at + timedelta(milliseconds=self.media_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWindow:
    """The newest parts; ``sequence`` and ``discontinuities`` number the first (RFC 8216, 6.2.2)."""

    parts: tuple[LivePart, ...]
    sequence: int
    discontinuities: int
    target_s: int


class LiveIndex:
    """Index of the newest files of all cameras. Thread-safe.

    Writers are the threads that store segments; readers are live HLS and snapshots. Reading never keeps a
    writer waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._files: dict[UUID, LiveFiles] = {}
        self._cameras: dict[UUID, LiveCamera] = {}
        self._lock = threading.Lock()

    def opened(self, camera_id: UUID, folder: Path) -> None:
        """Note that a camera is recorded into ``folder``, its ``.live``."""
        with self._lock:
            files = self._files.get(camera_id)
            if files is not None and files.folder == folder:
                return
            former = self._cameras.pop(camera_id, None)
            self._files[camera_id] = LiveFiles(folder)
        if former is not None:
            former.close()

    def stored(self, segment: Segment) -> None:
        """Note that a segment has moved to its final place."""
        if (files := self._files.get(segment.camera_id)) is not None:
            files.stored(segment)

    def forget(self, camera_id: UUID) -> None:
        """Drop a camera."""
        with self._lock:
            self._files.pop(camera_id, None)
            former = self._cameras.pop(camera_id, None)
        if former is not None:
            former.close()

    def close(self) -> None:
        """Close all files."""
        for camera_id in list(self._files):
            self.forget(camera_id)

    def window(self, camera_id: UUID) -> LiveWindow:
        """Return a camera's newest parts; raise NotLive while it is not being recorded."""
        with self._lock:
            files = self._files.get(camera_id)
            camera = others = None
            if files is not None:
                camera = self._cameras.setdefault(camera_id, LiveCamera(files, self._clock))
                others = [one for one in self._cameras.values() if one is not camera]
        for other in others or ():
            other.drop_if_stale()
        window = None if camera is None else camera.window()
        if window is None:
            raise NotLive("nothing is being recorded of this camera now")
        return window

    def open(self, camera_id: UUID, name: str) -> OpenFile:
        """Open one of the newest files by its name in ``.live``; raise SegmentNotFound."""
        files, key = self._files.get(camera_id), parse_live(name)
        fd = None if files is None or key is None else files.open(key)
        if fd is None:
            raise SegmentNotFound("there is no such file, or no longer")
        stream = os.fdopen(fd, "rb")
        state = os.fstat(fd)
        return OpenFile(
            stream=stream,
            size_bytes=state.st_size,
            modified_at=datetime.fromtimestamp(int(state.st_mtime), UTC),
            etag=f"{name}-{state.st_size}",
            whole=False,
        )

    def open_newest(self, camera_id: UUID) -> list[int]:
        """Open the newest files, newest first; the caller closes the file descriptors."""
        files = self._files.get(camera_id)
        if files is None:
            return []
        opened = (files.open(key) for key in files.newest_first()[:_NEWEST_FILES])
        return [fd for fd in opened if fd is not None]


@dataclass(slots=True)
class _Reading:
    """The file that is being followed; ``parts_ms`` of its ``media_ms`` are in parts."""

    key: SegmentKey
    builder: PartBuilder = field(default_factory=PartBuilder)
    started_at: datetime | None = None
    scan: FragmentScan = field(default_factory=FragmentScan)
    media_ms: int = 0
    parts_ms: int = 0

    @property
    def ends_at(self) -> datetime | None:
        return self.started_at and self.started_at + timedelta(milliseconds=self.media_ms)


class LiveCamera:
    """The window over one camera's files. Any thread; files are read during requests only."""

    def __init__(self, files: LiveFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._parts: deque[LivePart] = deque()
        self._reading: _Reading | None = None
        self._sequence = self._discontinuities = 0
        self._target_s = 1
        self._requested_s = -math.inf
        self._lock = threading.Lock()

    def window(self) -> LiveWindow | None:
        """Return the newest parts, None while nothing is being recorded."""
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._requested_s > STALE_S:
                self._restart()
            self._requested_s = now_s
            self._follow()
            self._trim()
            if not self._parts or self._is_over(self._parts[-1]):
                return None
            return LiveWindow(
                parts=tuple(self._parts),
                sequence=self._sequence,
                discontinuities=self._discontinuities,
                target_s=self._target_s,
            )

    def drop_if_stale(self) -> None:
        """Close the files after a long time without a request; never waits for a request."""
        if self._lock.acquire(blocking=False):
            try:
                if self._clock.monotonic() - self._requested_s > STALE_S:
                    self._drop()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._drop()

    # Under the lock

    def _drop(self) -> None:
        self._reading = None
        self._files.close_held()
        self._requested_s = -math.inf

    def _restart(self) -> None:
        by_clock = int(self._clock.now().timestamp() * _SEQUENCES_A_SECOND)
        self._sequence = max(self._sequence + len(self._parts), by_clock)
        self._discontinuities += len({part.name for part in self._parts})
        self._parts.clear()
        self._reading = None
        self._target_s = 1

    def _is_over(self, last: LivePart) -> bool:
        over_after_s = max(STALE_S, 3.0 * self._target_s)
        return self._clock.now() - last.ended_at > timedelta(seconds=over_after_s)

    def _trim(self) -> None:
        while len(self._parts) > MAX_PARTS or self._first_is_spare():
            gone = self._parts.popleft()
            self._sequence += 1
            if self._parts and self._parts[0].name != gone.name:
                self._discontinuities += 1

    def _first_is_spare(self) -> bool:
        if len(self._parts) <= MIN_PARTS:
            return False
        return sum(part.media_ms for part in self._parts) - self._parts[0].media_ms >= WINDOW_MS

    def _follow(self) -> None:
        for _ in range(2 * KEPT_FILES):
            if self._reading is None:
                self._reading = self._first()
            if self._reading is None:
                return
            following = self._read(self._reading)
            if following is None:
                return
            self._reading = following

    def _first(self) -> _Reading | None:
        """Return the file to begin with: some files back, so that a player finds enough parts."""
        recording = self._files.recording()
        if not recording:
            return None
        run, number = max(recording)
        if number == 0 and len({key[0] for key in recording}) > 1:
            # A run that is about to take over from another, which is still the one to follow.
            run, number = max(key for key in recording if key[0] != run)
        while self._is_recent((run, number - 1), recording):
            number -= 1
        return _Reading((run, number))

    def _is_recent(self, key: SegmentKey, recording: Collection[SegmentKey]) -> bool:
        segment = self._files.segment(key)
        if segment is None:
            # Complete and not yet stored: the file after it may be without a single part.
            return key in recording
        return segment.ended_at >= self._clock.now() - _WINDOW

    def _read(self, reading: _Reading) -> _Reading | None:
        """Take what is new in the file; return the next file, None to wait for more of this one."""
        # The next file first: once there is one, this one does not grow after it is read.
        following = self._next_after(reading)
        fd = self._files.hold(reading.key)
        try:
            if fd is not None:
                self._take(reading, fd)
        except NotFragmentedMp4:
            return following
        if following is not None:
            self._add(reading, reading.builder.finish())
            following.builder.gop_ms = reading.builder.gop_ms
            if following.key[0] == reading.key[0]:
                following.started_at = reading.ends_at
        return following

    def _next_after(self, reading: _Reading) -> _Reading | None:
        (run, number), recording = reading.key, self._files.recording()
        same_run = (run, number + 1)
        if same_run in recording or self._files.segment(same_run) is not None:
            return _Reading(same_run)
        newest = max(recording, default=reading.key)
        if reading.key not in recording and newest > reading.key:
            return _Reading(newest)
        return None

    def _take(self, reading: _Reading, fd: int) -> None:
        state = os.fstat(fd)
        fragments = list(reading.scan.advance(fd, state.st_size))
        first = reading.media_ms == 0
        reading.media_ms += sum(fragment.media_ms for fragment in fragments)
        if fragments and first:
            written_at = datetime.fromtimestamp(state.st_mtime, UTC)
            self._date(reading, written_at - timedelta(milliseconds=reading.media_ms))
        self._add(reading, reading.builder.feed(fragments))

    def _date(self, reading: _Reading, measured: datetime) -> None:
        """Date a file: by its row, else by the end of the one before, else by its last write."""
        segment = self._files.segment(reading.key)
        if segment is not None:
            reading.started_at = segment.started_at
        elif reading.started_at is None or abs(reading.started_at - measured) > _DRIFT:
            reading.started_at = measured

    def _add(self, reading: _Reading, media: Iterable[MediaPart]) -> None:
        for one in media:
            offset = timedelta(milliseconds=reading.parts_ms)
            reading.parts_ms += one.media_ms
            part = LivePart(
                name=live_name(*reading.key),
                init_bytes=reading.scan.init_bytes,
                offset=one.start,
                size_bytes=one.end - one.start,
                media_ms=one.media_ms,
                started_at=to_milliseconds((reading.started_at or self._clock.now()) + offset),
            )
            if not self._is_covered(part):
                self._parts.append(part)
                # Half up: no part, rounded, may be longer (RFC 8216, 4.3.3.1).
                self._target_s = max(self._target_s, math.floor(one.media_ms / 1000 + 0.5))

    def _is_covered(self, part: LivePart) -> bool:
        """Return whether parts of the run before cover this time, after a make-before-break."""
        if not self._parts or self._parts[-1].name.split("-")[0] == part.name.split("-")[0]:
            return False
        return part.started_at < self._parts[-1].ended_at - timedelta(milliseconds=500)


class LiveFiles:
    """One camera's newest files by run and number, in ``.live`` or in their final places. Any thread.

    A file that is being followed is held open: between the two places it is in neither for a moment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Replaced as a whole by the one thread that stores the camera's segments: readers need no lock.
        self._stored: dict[SegmentKey, Segment] = {}
        self._held: dict[SegmentKey, int] = {}

    def stored(self, segment: Segment) -> None:
        """Note that a segment has moved to its final place."""
        kept = list(self._stored.items())[-KEPT_FILES + 1 :]
        self._stored = {**dict(kept), (segment.run, segment.number): segment}

    def segment(self, key: SegmentKey) -> Segment | None:
        """Return the segment of a stored file, None while it is open or after ``KEPT_FILES`` more."""
        return self._stored.get(key)

    def recording(self) -> set[SegmentKey]:
        """Return the files in ``.live``."""
        try:
            names = [entry.name for entry in os.scandir(self.folder)]
        except OSError:
            return set()
        return {key for name in names if (key := parse_live(name)) is not None}

    def newest_first(self) -> list[SegmentKey]:
        """Return every file that can be opened, newest first."""
        return sorted({*self.recording(), *self._stored}, reverse=True)

    def open(self, key: SegmentKey) -> int | None:
        """Open a file for reading; None where it is gone or too old. The caller closes it."""
        fd = _open(self.folder / live_name(*key), os.O_NOFOLLOW)
        if fd is None and (segment := self._stored.get(key)) is not None:
            name = stored_name(segment.started_at, segment.run, segment.number)
            fd = _open(self.folder.parent / name, os.O_NOFOLLOW)
        if fd is None and (held := self._held.get(key)) is not None:
            fd = _open(Path(f"/proc/self/fd/{held}"))
        return fd

    def hold(self, key: SegmentKey) -> int | None:
        """Open a file once and keep it open, with the one before it."""
        if key not in self._held and (fd := self.open(key)) is not None:
            self._held[key] = fd
            while len(self._held) > _HELD_FILES:
                os.close(self._held.pop(next(iter(self._held))))
        return self._held.get(key)

    def close_held(self) -> None:
        """Close the files that are held open."""
        while self._held:
            os.close(self._held.popitem()[1])


def _open(path: Path, flags: int = 0) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
