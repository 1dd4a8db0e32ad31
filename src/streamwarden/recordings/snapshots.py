"""Snapshots: the newest picture of a camera as a JPEG, cached for a few seconds."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import NoPicture, NotFound, PicturesBusy
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.mp4.picture import newest_key_frame, picture_argv
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.serving import IndexedFiles
from streamwarden.storage.recording_index import SegmentRepository

log = structlog.get_logger(__name__)

FRESH_S: Final = 3.0

_KEPT: Final = 128
"""Pictures in memory: some 10 MB."""

_AT_ONCE: Final = 2

_OF_USER: Final = 2
"""Pictures of one user that are being made at once; a further request waits for a while."""

_REQUESTS: Final = 12
"""Requests that may be here at once, more than one user's: the role's other threads stay free."""

_WIDTHS: Final = (64, 96, 128, 160, 240, 320, 480, 640, 960, 1280, 1920)

_WAIT_S: Final = 4.0

_DECODED_WITHIN_S: Final = 5.0


class PlacesByKey:
    """At most so many callers at once for each key; a further one waits for a while. Any thread."""

    def __init__(self, places: int, *, busy: str) -> None:
        self._places = places
        self._busy = busy
        self._rooms: dict[Hashable, tuple[threading.BoundedSemaphore, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Hold a place of ``key``; raise PicturesBusy where none becomes free in time."""
        with self._lock:
            room, callers = self._rooms.get(key, (threading.BoundedSemaphore(self._places), 0))
            self._rooms[key] = (room, callers + 1)
        try:
            if not room.acquire(timeout=_WAIT_S):
                raise PicturesBusy(self._busy, retry_after_s=2)
            try:
                yield
            finally:
                room.release()
        finally:
            with self._lock:
                room, callers = self._rooms[key]
                self._rooms[key] = (room, callers - 1)
                if callers == 1:
                    del self._rooms[key]


@dataclass(frozen=True, slots=True)
class TakenPicture:
    """A picture as a JPEG, and when it was taken."""

    jpeg: bytes
    taken_at: datetime


class SnapshotMaker:
    """Makes snapshots. Any thread; a call blocks for some seconds at most."""

    def __init__(
        self,
        *,
        jobs: JobRunner,
        ffmpeg: Callable[[], str],
        live: LiveIndex,
        segments: SegmentRepository,
        files: IndexedFiles,
        folder: Path,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._ffmpeg = ffmpeg
        self._live = live
        self._segments = segments
        self._files = files
        self._folder = folder
        self._clock = clock
        self._kept: OrderedDict[tuple[UUID, int], _Kept] = OrderedDict()
        self._of_user = PlacesByKey(_OF_USER, busy="too many of your pictures are being made")
        self._of_camera = PlacesByKey(1, busy="this camera's picture is still being made")
        self._lock = threading.Lock()
        self._requests = threading.BoundedSemaphore(_REQUESTS)
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)

    def take(
        self, camera_id: UUID, width: int, user_id: str = "", *, max_age_s: int | None = None
    ) -> TakenPicture:
        """Return the camera's newest picture for a user, at most ``width`` pixels wide.

        It has the next smaller of a few widths: each other one would be decoded anew.

        Raises:
            NoPicture: there is none, or it is older than ``max_age_s``.
            PicturesBusy: too many are being made.
        """
        found = self._take(camera_id, width, user_id)
        age_s = (self._clock.now() - found.taken_at).total_seconds()
        if max_age_s is not None and age_s > max_age_s:
            raise NoPicture(f"the camera's last picture is {age_s:.0f} s old")
        return found

    def _take(self, camera_id: UUID, width: int, user_id: str) -> TakenPicture:
        width = max((each for each in _WIDTHS if each <= width), default=_WIDTHS[0])
        if (kept := self._fresh(camera_id, width)) is not None:
            return kept
        with (
            _place_in(self._requests, 0.0),
            self._of_user.hold(user_id),
            # The others then find the camera's picture in the cache.
            self._of_camera.hold(camera_id),
        ):
            if (kept := self._fresh(camera_id, width)) is not None:
                return kept
            return self._make(camera_id, width)

    def _fresh(self, camera_id: UUID, width: int) -> TakenPicture | None:
        with self._lock:
            kept = self._kept.get((camera_id, width))
            if kept is None or self._clock.monotonic() - kept.made_s > FRESH_S:
                return None
            return kept.snapshot

    def _make(self, camera_id: UUID, width: int) -> TakenPicture:
        source, content, taken_at = self._newest(camera_id)
        kept = self._kept.get((camera_id, width))
        if kept and kept.source == source:
            found = kept.snapshot
        else:
            found = TakenPicture(self._decode(content, width), taken_at)
        with self._lock:
            self._kept[camera_id, width] = _Kept(found, source, self._clock.monotonic())
            self._kept.move_to_end((camera_id, width))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _newest(self, camera_id: UUID) -> tuple[tuple[int, int], bytes, datetime]:
        with ExitStack() as opened:
            files = []
            for fd in self._live.open_newest(camera_id):
                opened.callback(os.close, fd)
                # A file in progress has no row; its last write is when its media ended.
                files.append((fd, datetime.fromtimestamp(os.fstat(fd).st_mtime, UTC)))
            if not files:
                files = [opened.enter_context(self._last_file(camera_id))]
            for fd, ended_at in files:
                if (found := newest_key_frame(fd)) is not None:
                    taken_at = ended_at - timedelta(milliseconds=found.before_end_ms)
                    return (os.fstat(fd).st_ino, found.offset), found.mp4, taken_at
        raise NoPicture("nothing that holds a picture has been recorded of this camera")

    @contextmanager
    def _last_file(self, camera_id: UUID) -> Iterator[tuple[int, datetime]]:
        last = self._segments.latest(camera_id)
        if last is None:
            raise NoPicture("nothing has been recorded of this camera")
        with _no_picture_if_gone(), self._files.open(camera_id, last.id).stream as file:
            yield file.fileno(), last.ended_at

    def _decode(self, content: bytes, width: int) -> bytes:
        with _place_in(self._decoding, _WAIT_S):
            end = self._jobs.run_and_wait(
                picture_argv(self._ffmpeg(), width),
                self._folder,
                stdin=content,
                timeout_s=_DECODED_WITHIN_S,
            )
        if not end.succeeded or not end.output:
            log.warning(
                "picture_not_made", outcome=end.outcome, exit_code=end.exit_code, stderr=end.stderr
            )
            raise NoPicture("the camera's last picture cannot be decoded")
        return end.output


@dataclass(slots=True)
class _Kept:
    snapshot: TakenPicture
    source: tuple[int, int]
    made_s: float


@contextmanager
def _no_picture_if_gone() -> Iterator[None]:
    """Raise NoPicture where the last segment's file is gone."""
    try:
        yield
    except NoPicture:
        raise
    except NotFound as error:
        raise NoPicture("the camera's last segment is gone") from error


@contextmanager
def _place_in(room: threading.BoundedSemaphore, timeout_s: float) -> Iterator[None]:
    if not room.acquire(timeout=timeout_s):
        raise PicturesBusy("too many pictures are being made", retry_after_s=2)
    try:
        yield
    finally:
        room.release()
