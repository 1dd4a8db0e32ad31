"""What is being recorded at this moment, as parts of the recorder's own files.

The file that FFmpeg has open is read as it grows; nothing is decoded or copied, and what is kept in
memory is where the last parts are.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.media.fmp4 import FragmentScan, NotFragmentedMp4
from streamwarden.media.grouping import Group, Grouping
from streamwarden.media.live_files import KEPT_FILES, LiveFiles, Place
from streamwarden.media.names import live_name

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

    place: Place
    grouping: Grouping
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
        return _Reading((run, number), Grouping())

    def _is_worth_showing(self, place: Place, recording: Collection[Place]) -> bool:
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
            return _Reading(own, Grouping())
        newest = max(recording, default=reading.place)
        if reading.place not in recording and newest > reading.place:
            return _Reading(newest, Grouping())
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

    def _add(self, reading: _Reading, groups: Iterable[Group]) -> None:
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
