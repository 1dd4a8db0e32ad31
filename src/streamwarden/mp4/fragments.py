"""Fragmented MP4 as far as a recorder must read it: where fragments end, and how long they play.

Source: ISO/IEC 14496-12 (ISO BMFF), movie fragments: ``moof`` and its ``mdat`` make one fragment.


Fragments of an open file, put together to what a player can begin with: from key frame to key frame.

Pure. A part ends where the next key frame begins. That is known only once the next fragment is whole,
a second later; so a part that has reached the last distance between key frames ends at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamwarden.mp4.boxes import (
    Box,
    BoxReader,
    NotFragmentedMp4,
    Trailer,
    VideoTrack,
    decode_time,
    fragment_ticks,
    is_key,
    lead_ticks,
    read_trailer,
    video_track,
)
from streamwarden.paths import open_nofollow

__all__ = [
    "FileSummary",
    "Fragment",
    "FragmentScan",
    "NotFragmentedMp4",
    "init_bytes",
    "summarise",
    "summarise_boxes",
    "summarise_finished",
]


_BEFORE_A_FRAGMENT: Final = 4
"""Boxes that may stand before the first ``moof``: ``ftyp``, ``moov`` and ``prft``; then it."""


_LONG_FRAGMENT_S: Final = 10
"""A fragment plays a second where pictures come evenly."""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What a file holds: ``whole_bytes`` is where the last whole fragment ends.

    ``media_ms`` is the video's length up to there. ``complete`` means that the muxer wrote its
    trailer (``mfra``) and nothing follows it. ``init_bytes`` is the size of ``ftyp`` and ``moov``.
    ``lead_ms`` is by how much the first frame is stretched: where audio comes before the first key
    frame, FFmpeg lets that frame begin with the audio, long before it was taken.
    """

    whole_bytes: int
    media_ms: int
    complete: bool
    init_bytes: int
    lead_ms: int = 0


@dataclass(frozen=True, slots=True)
class Fragment:
    """A whole fragment: its first byte (of what comes before its ``moof``) and where it ends.

    ``media_ms`` is how long its video plays, ``key`` whether that begins with a key frame.
    """

    start: int
    end: int
    media_ms: int
    key: bool


def init_bytes(fd: int) -> int | None:
    """Return the size of ``ftyp`` and ``moov``, or None while they are not yet written."""
    position = 0
    file = BoxReader(fd)
    for _ in range(4):
        box = file.box(position)
        if box is None:
            return None
        position = box.end
        if box.kind == b"moov":
            return position
    return None


def summarise(path: Path) -> FileSummary:
    """Read ``path``'s structure; its media data are not touched.

    Raises:
        NotFragmentedMp4: it has no whole ``moov`` with a video track.
        OSError: it cannot be read.
    """
    fd = open_nofollow(path)
    try:
        return summarise_boxes(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def summarise_boxes(fd: int, size: int) -> FileSummary:
    """Return what ``summarise`` does, of the first ``size`` bytes of an open file."""
    track: VideoTrack | None = None
    whole = ticks = pending = init = 0
    lead: int | None = None
    trailer_end = -1
    file = BoxReader(fd)
    for box in file.boxes(size):
        if box.kind == b"moov":
            track = video_track(file.payload(box))
            init = whole = box.end
        elif box.kind == b"moof" and track is not None:
            moof = file.payload(box)
            pending = fragment_ticks(moof, track)
            lead = lead_ticks(moof, track) if lead is None else lead
        elif box.kind == b"mdat" and track is not None:
            whole, ticks, pending = box.end, ticks + pending, 0
        elif box.kind == b"mfra":
            trailer_end = box.end
    if track is None:
        raise NotFragmentedMp4("no movie header with a video track")
    return FileSummary(
        whole,
        _milliseconds(ticks, track),
        complete=trailer_end == size,
        init_bytes=init,
        lead_ms=_milliseconds(lead or 0, track) if whole > init else 0,
    )


def summarise_finished(fd: int, size: int) -> FileSummary:
    """Return what ``summarise`` says of a file that the muxer has finished, for a tenth of the work.

    The muxer's own index at the end tells where the fragments are. It is believed only where the first
    is in its place and the last ends where the index begins: bytes that a full disk has swallowed
    would have moved them. A hole in the time stamps counts as played: a player shows the picture
    before it for as long. Where they have jumped, and in all else, the file is read box by box.

    Raises:
        NotFragmentedMp4: it has no whole ``moov`` with a video track.
    """
    try:
        return _by_trailer(fd, read_trailer(fd, size))
    except NotFragmentedMp4:
        return summarise_boxes(fd, size)


def _by_trailer(fd: int, trailer: Trailer) -> FileSummary:
    """Return the summary that a true trailer gives; raise NotFragmentedMp4 for one that is not."""
    file = BoxReader(fd)
    track, init, at = _beginning(file)
    pictures = trailer.tracks.get(track.id)
    if pictures is None or not at == pictures.first == trailer.first:
        raise NotFragmentedMp4("the trailer's first fragment is not the file's")
    begins = _moof(file, at)
    ends = _moof(file, pictures.last)
    last = _expect(file, trailer.last, b"moof")
    if _expect(file, last.end, b"mdat").end != trailer.start:
        raise NotFragmentedMp4("the trailer's last fragment is not the file's")
    ticks = decode_time(ends, track) + fragment_ticks(ends, track) - decode_time(begins, track)
    if not 0 <= ticks <= pictures.fragments * _LONG_FRAGMENT_S * track.timescale:
        raise NotFragmentedMp4("the time stamps have jumped")
    return FileSummary(
        trailer.start,
        _milliseconds(ticks, track),
        complete=True,
        init_bytes=init,
        lead_ms=_milliseconds(lead_ticks(begins, track), track),
    )


def _beginning(file: BoxReader) -> tuple[VideoTrack, int, int]:
    """Return the video track, where the ``moov`` ends, and where the first ``moof`` begins."""
    track: VideoTrack | None = None
    position = init = 0
    for _ in range(_BEFORE_A_FRAGMENT):
        box = file.box(position)
        if box is None:
            break
        if box.kind == b"moof" and track is not None:
            return track, init, box.start
        position = box.end
        if box.kind == b"moov":
            track, init = video_track(file.payload(box)), box.end
    raise NotFragmentedMp4("no movie header with a video track before the first fragment")


def _moof(file: BoxReader, position: int) -> bytes:
    return file.payload(_expect(file, position, b"moof"))


def _expect(file: BoxReader, position: int, kind: bytes) -> Box:
    box = file.box(position)
    if box is None or box.kind != kind:
        raise NotFragmentedMp4(f"no {kind!r} box at {position}")
    return box


def _milliseconds(ticks: int, track: VideoTrack) -> int:
    return round(ticks * 1000 / track.timescale)


class FragmentScan:
    """Reads a file's fragments as they become whole; each call goes on where the last one ended."""

    def __init__(self) -> None:
        self.init_bytes = 0
        self._track: VideoTrack | None = None
        self._position = self._start = 0
        self._pending: tuple[int, bool] | None = None

    def advance(self, fd: int, size: int) -> Iterator[Fragment]:
        """Yield the fragments that are whole within ``size`` bytes and have not been yielded yet.

        Raises:
            NotFragmentedMp4: the file is none, or has no video track.
        """
        file = BoxReader(fd)
        while (box := file.box(self._position)) is not None and box.end <= size:
            self._position = box.end
            if box.kind == b"moov":
                self._begin(file.payload(box), box)
            elif box.kind == b"moof":
                self._pending = self._look(file.payload(box))
            elif box.kind == b"mdat" and self._pending is not None:
                (media_ms, key), self._pending = self._pending, None
                yield Fragment(self._start, box.end, media_ms, key)
                self._start = box.end

    def _begin(self, moov: bytes, box: Box) -> None:
        self._track = video_track(moov)
        self.init_bytes = self._start = box.end

    def _look(self, moof: bytes) -> tuple[int, bool]:
        track = self._track
        if track is None:
            raise NotFragmentedMp4("a fragment before the movie header")
        return _milliseconds(fragment_ticks(moof, track), track), is_key(moof, track)


MIN_PART_MS: Final = 900
"""Shorter ones would cost a request each and save no delay: FFmpeg flushes once a second."""


_EARLY_MS: Final = 15
"""Less than a frame: rounding, and nothing that could be one frame more."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """Bytes from ``start`` to ``end`` that play for ``media_ms``, from a key frame on.

    A group that was ended early, though the camera's next key frame came later than the ones before,
    is followed by one that begins without.
    """

    start: int
    end: int
    media_ms: int


class PartBuilder:
    """Groups one file's fragments in their order. ``gop_ms`` is what is known of the camera so far."""

    def __init__(self, gop_ms: int = 0) -> None:
        self.gop_ms = gop_ms
        self._open: MediaPart | None = None
        self._since_key_ms = 0
        self._keys = 0

    def feed(self, fragments: Iterable[Fragment]) -> Iterator[MediaPart]:
        """Yield the groups that these fragments complete."""
        for fragment in fragments:
            yield from self._take(fragment)

    def finish(self) -> Iterator[MediaPart]:
        """Yield what is left of a file that grows no more; sound without a picture is left out."""
        if self._open is not None and self._open.media_ms > 0:
            yield self._open
        self._open = None

    def _take(self, fragment: Fragment) -> Iterator[MediaPart]:
        if fragment.key:
            self._learn()
            if self._open is not None and self._open.media_ms >= MIN_PART_MS:
                yield self._open
                self._open = None
        begun = self._open or MediaPart(fragment.start, fragment.start, 0)
        self._open = MediaPart(begun.start, fragment.end, begun.media_ms + fragment.media_ms)
        self._since_key_ms += fragment.media_ms
        if self._is_full(self._open):
            yield self._open
            self._open = None

    def _learn(self) -> None:
        if self._keys > 0:
            self.gop_ms = self._since_key_ms
        self._keys += 1
        self._since_key_ms = 0

    def _is_full(self, group: MediaPart) -> bool:
        enough = max(MIN_PART_MS, self.gop_ms - _EARLY_MS)
        at_a_key = self._since_key_ms >= self.gop_ms - _EARLY_MS
        return self.gop_ms > 0 and at_a_key and group.media_ms >= enough
