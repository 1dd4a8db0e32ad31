"""What is being recorded at this moment, as parts of the recorder's own files.

The file that FFmpeg has open is read as it grows; nothing is decoded or copied, and what is kept in
memory is where the last parts are.


A camera's newest files by the names that they were recorded under, wherever they are by now.

All cameras' files of this moment: what is watched live, and where a snapshot comes from.

What is being recorded now, as the streaming role's HTTP serves it.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.errors import NotLive, SegmentNotFound
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FragmentScan, MediaPart, PartBuilder
from streamwarden.paths import live_name, parse_live
from streamwarden.recordings.serving import OpenFile

KEPT_FILES: Final = 64


_HELD: Final = 2


SegmentKey = tuple[int, int]
"""A file's run and number: they grow together with time."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file in its final place."""

    path: Path
    started_at: datetime
    ended_at: datetime


class LiveFiles:
    """Finds files while they move from ``.live`` to their final places. Any thread.

    A file that is being followed is held open: between the two places it is in neither for a moment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Replaced as a whole by the one thread that stores the camera's segments: no reader waits.
        self._finished: dict[SegmentKey, Finished] = {}
        self._held: dict[SegmentKey, int] = {}

    def finished(self, place: SegmentKey, file: Finished) -> None:
        """A file has moved to its final place."""
        kept = list(self._finished.items())[-KEPT_FILES + 1 :]
        self._finished = {**dict(kept), place: file}

    def finish_of(self, place: SegmentKey) -> Finished | None:
        """Return what a file has become, None where it is open or forgotten."""
        return self._finished.get(place)

    def recording(self) -> set[SegmentKey]:
        """Return the files in ``.live``."""
        try:
            names = [entry.name for entry in os.scandir(self.folder)]
        except OSError:
            return set()
        return {place for name in names if (place := parse_live(name)) is not None}

    def newest_first(self) -> list[SegmentKey]:
        """Return every file that can be opened, newest first."""
        return sorted({*self.recording(), *self._finished}, reverse=True)

    def open(self, place: SegmentKey) -> int | None:
        """Open a file for reading; None where it is gone or too old. The caller closes it."""
        live = self.folder / live_name(*place)
        known, held = self._finished.get(place), self._held.get(place)
        for path in (live, known and known.path, held and Path(f"/proc/self/fd/{held}")):
            if path and (fd := _open(path, follow=path.is_relative_to("/proc"))) is not None:
                return fd
        return None

    def hold(self, place: SegmentKey) -> int | None:
        """Open a file once and keep it open; the two that were asked for last stay so."""
        if place not in self._held and (fd := self.open(place)) is not None:
            self._held[place] = fd
            while len(self._held) > _HELD:
                os.close(self._held.pop(next(iter(self._held))))
        return self._held.get(place)

    def let_go(self) -> None:
        """Close what is held."""
        while self._held:
            os.close(self._held.popitem()[1])


def _open(path: Path, *, follow: bool) -> int | None:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


WINDOW_MS: Final = 12_000
"""What is shown at least. A player begins three parts from the end; the rest is room to be late."""


MIN_PARTS: Final = 4


MAX_PARTS: Final = 60


STALE_S: Final = 30.0
"""Nobody has asked for so long: the next who asks begins at what is new then."""


_WINDOW: Final = timedelta(milliseconds=WINDOW_MS)


_DRIFT: Final = timedelta(milliseconds=1_500)
"""A file's last write tells its time to a fragment; what is nearer than this follows on."""


_SEQUENCES_A_SECOND: Final = 4
"""More parts than can come: a sequence that begins by the clock never goes back, restarts or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """Some bytes of a file; ``name`` is the one that it was recorded under."""

    name: str
    init_bytes: int
    offset: int
    size_bytes: int
    media_ms: int
    started_at: datetime

    @property
    def ended_at(self) -> datetime:
        """When its last frame was taken."""
        return self.started_at + timedelta(milliseconds=self.media_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWindow:
    """The newest parts; ``sequence`` and ``discontinuities`` number the first (RFC 8216, 6.2.2)."""

    parts: tuple[LivePart, ...]
    sequence: int
    discontinuities: int
    target_s: int


@dataclass(slots=True)
class _Reading:
    """The file that is being followed, and how much of its media has been grouped."""

    place: SegmentKey
    grouping: PartBuilder
    started_at: datetime | None = None
    scan: FragmentScan = field(default_factory=FragmentScan)
    media_ms: int = 0
    grouped_ms: int = 0

    @property
    def ends_at(self) -> datetime | None:
        return self.started_at and self.started_at + timedelta(milliseconds=self.media_ms)


class LiveCamera:
    """Follows one camera's files for those who watch it. Any thread; it works while asked."""

    def __init__(self, files: LiveFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._parts: deque[LivePart] = deque()
        self._reading: _Reading | None = None
        self._sequence = self._discontinuities = 0
        self._target_s = 1
        self._asked_s = -math.inf
        self._lock = threading.Lock()

    def window(self) -> LiveWindow | None:
        """Return the newest parts, None while nothing is being recorded."""
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._asked_s > STALE_S:
                self._begin_anew()
            self._asked_s = now_s
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

    def rest(self, *, at_once: bool = False) -> None:
        """Let go of the files if nobody has asked for long; one that is being asked is left alone."""
        if not self._lock.acquire(blocking=at_once):
            return
        try:
            if at_once or self._clock.monotonic() - self._asked_s > STALE_S:
                self._reading = None
                self._files.let_go()
                self._asked_s = -math.inf
        finally:
            self._lock.release()

    # Under the lock

    def _begin_anew(self) -> None:
        by_clock = int(self._clock.now().timestamp() * _SEQUENCES_A_SECOND)
        self._sequence = max(self._sequence + len(self._parts), by_clock)
        self._discontinuities += len({part.name for part in self._parts})
        self._parts.clear()
        self._reading = None
        self._target_s = 1

    def _is_over(self, last: LivePart) -> bool:
        patience_s = max(STALE_S, 3.0 * self._target_s)
        return self._clock.now() - last.ended_at > timedelta(seconds=patience_s)

    def _trim(self) -> None:
        while len(self._parts) > MAX_PARTS or self._has_more_than_enough():
            gone = self._parts.popleft()
            self._sequence += 1
            if self._parts and self._parts[0].name != gone.name:
                self._discontinuities += 1

    def _has_more_than_enough(self) -> bool:
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
        """Choose where to begin: some files back, so that a player finds enough."""
        recording = self._files.recording()
        if not recording:
            return None
        run, number = max(recording)
        if number == 0 and len({place[0] for place in recording}) > 1:
            # It is about to take over from another, which is still the one to watch.
            run, number = max(place for place in recording if place[0] != run)
        while self._is_worth_showing((run, number - 1), recording):
            number -= 1
        return _Reading((run, number), PartBuilder())

    def _is_worth_showing(self, place: SegmentKey, recording: Collection[SegmentKey]) -> bool:
        finish = self._files.finish_of(place)
        if finish is None:
            # Complete and not yet stored: the file after it may be without a single part.
            return place in recording
        return finish.ended_at >= self._clock.now() - _WINDOW

    def _read(self, reading: _Reading) -> _Reading | None:
        """Take what is new in the file; return the one to go on with, None to wait for more."""
        # Looked for first: what the file holds after this is all that it will ever hold.
        following = self._next_after(reading)
        fd = self._files.hold(reading.place)
        try:
            if fd is not None:
                self._take(reading, fd)
        except NotFragmentedMp4:
            return following
        if following is not None:
            self._add(reading, reading.grouping.finish())
            following.grouping.gop_ms = reading.grouping.gop_ms
            if following.place[0] == reading.place[0]:
                following.started_at = reading.ends_at
        return following

    def _next_after(self, reading: _Reading) -> _Reading | None:
        (run, number), recording = reading.place, self._files.recording()
        own = (run, number + 1)
        if own in recording or self._files.finish_of(own) is not None:
            return _Reading(own, PartBuilder())
        newest = max(recording, default=reading.place)
        if reading.place not in recording and newest > reading.place:
            return _Reading(newest, PartBuilder())
        return None

    def _take(self, reading: _Reading, fd: int) -> None:
        state = os.fstat(fd)
        fragments = list(reading.scan.advance(fd, state.st_size))
        first = reading.media_ms == 0
        reading.media_ms += sum(fragment.media_ms for fragment in fragments)
        if fragments and first:
            written_at = datetime.fromtimestamp(state.st_mtime, UTC)
            self._date(reading, written_at - timedelta(milliseconds=reading.media_ms))
        self._add(reading, reading.grouping.feed(fragments))

    def _date(self, reading: _Reading, measured: datetime) -> None:
        """Date a file: by its row, else where the one before ended, else by when it was written."""
        finish = self._files.finish_of(reading.place)
        if finish is not None:
            reading.started_at = finish.started_at
        elif reading.started_at is None or abs(reading.started_at - measured) > _DRIFT:
            reading.started_at = measured

    def _add(self, reading: _Reading, groups: Iterable[MediaPart]) -> None:
        for group in groups:
            offset = timedelta(milliseconds=reading.grouped_ms)
            reading.grouped_ms += group.media_ms
            part = LivePart(
                name=live_name(*reading.place),
                init_bytes=reading.scan.init_bytes,
                offset=group.start,
                size_bytes=group.end - group.start,
                media_ms=group.media_ms,
                started_at=to_milliseconds((reading.started_at or self._clock.now()) + offset),
            )
            if not self._shown(part):
                self._parts.append(part)
                # Half up: no part, rounded, may be longer (RFC 8216, 4.3.3.1).
                self._target_s = max(self._target_s, math.floor(group.media_ms / 1000 + 0.5))

    def _shown(self, part: LivePart) -> bool:
        """Tell whether another run's parts have shown this time: one took over from the other."""
        if not self._parts or self._parts[-1].name.split("-")[0] == part.name.split("-")[0]:
            return False
        return part.started_at < self._parts[-1].ended_at - timedelta(milliseconds=500)


_TRIES: Final = 4


class LiveIndex:
    """Told by those who store segments, asked by those who watch. Any thread; asking holds up nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._files: dict[UUID, LiveFiles] = {}
        self._cameras: dict[UUID, LiveCamera] = {}
        self._lock = threading.Lock()

    def opened(self, camera_id: UUID, folder: Path) -> None:
        """A camera is recorded into ``folder``."""
        with self._lock:
            files = self._files.get(camera_id)
            if files is not None and files.folder == folder:
                return
            former = self._cameras.pop(camera_id, None)
            self._files[camera_id] = LiveFiles(folder)
        if former is not None:
            former.rest(at_once=True)

    def finished(
        self,
        camera_id: UUID,
        run: int,
        number: int,
        *,
        path: Path,
        started_at: datetime,
        ended_at: datetime,
    ) -> None:
        """A segment has moved to its final place."""
        if (files := self._files.get(camera_id)) is not None:
            files.finished((run, number), Finished(path, started_at, ended_at))

    def forget(self, camera_id: UUID) -> None:
        """Drop a camera."""
        with self._lock:
            self._files.pop(camera_id, None)
            former = self._cameras.pop(camera_id, None)
        if former is not None:
            former.rest(at_once=True)

    def close(self) -> None:
        """Let go of every file."""
        for camera_id in list(self._files):
            self.forget(camera_id)

    def window(self, camera_id: UUID) -> LiveWindow | None:
        """Return a camera's newest parts, None while it is not being recorded."""
        with self._lock:
            files = self._files.get(camera_id)
            if files is None:
                return None
            camera = self._cameras.setdefault(camera_id, LiveCamera(files, self._clock))
            others = [one for one in self._cameras.values() if one is not camera]
        for other in others:
            other.rest()
        return camera.window()

    def open(self, camera_id: UUID, name: str) -> int | None:
        """Open a file by the name that it was recorded under; None for all but the newest ones."""
        files, place = self._files.get(camera_id), parse_live(name)
        return None if files is None or place is None else files.open(place)

    def newest(self, camera_id: UUID) -> list[int]:
        """Open the newest files, newest first; the caller closes them."""
        files = self._files.get(camera_id)
        if files is None:
            return []
        opened = (files.open(place) for place in files.newest_first()[:_TRIES])
        return [fd for fd in opened if fd is not None]


class ShelfSource:
    """The shelf of a role that may not have started yet."""

    def __init__(self, shelf: Callable[[], LiveIndex]) -> None:
        self._shelf = shelf

    def window(self, camera_id: UUID) -> LiveWindow:
        """Return the newest parts; raise NotLive while nothing is being recorded."""
        found = self._shelf().window(camera_id)
        if found is None:
            raise NotLive("nothing is being recorded of this camera now")
        return found

    def open(self, camera_id: UUID, name: str) -> OpenFile:
        """Open one of the newest files; raise SegmentNotFound for every other name."""
        fd = self._shelf().open(camera_id, name)
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
