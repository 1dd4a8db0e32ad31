"""Fragments of an MP4 file, a file's summary, and the HLS parts made from fragments.

Source: ISO/IEC 14496-12 (ISO BMFF), movie fragments: a ``moof`` and its ``mdat`` make one fragment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
    milliseconds,
    read_trailer,
    video_track,
)
from streamwarden.mp4.footage import Footage, FootageScan
from streamwarden.paths import open_nofollow

_BEFORE_A_FRAGMENT: Final = 4
"""Boxes up to and including the first ``moof``: ``ftyp``, ``moov``, ``prft``, ``moof``."""


_LONG_FRAGMENT_S: Final = 10
"""Upper limit for the mean fragment; one second is usual."""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """The structure of a file: ``whole_bytes`` is the offset of the end of its last complete fragment.

    ``media_ms`` is the video's length up to there. ``complete`` means that the muxer wrote its trailer
    (``mfra``) as the last box. ``init_bytes`` is the size of ``ftyp`` and ``moov``. ``lead_ms`` is the
    excess length of the first frame: if audio arrives before the first key frame, FFmpeg lets that frame
    start with the audio, long before it was taken. ``footage`` holds the times of all pictures.
    """

    whole_bytes: int
    media_ms: int
    complete: bool
    init_bytes: int
    lead_ms: int = 0
    footage: Footage = field(default_factory=Footage, repr=False, compare=False)

    @property
    def length_ms(self) -> int:
        """The video's length with the times between fragments, which ``media_ms`` of a torn file lacks."""
        return max(self.media_ms, self.footage.media_ms)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A complete fragment; ``start`` includes the boxes before its ``moof``, such as ``prft``.

    ``media_ms`` is its video's duration, ``key`` whether it begins with a key frame.
    """

    start: int
    end: int
    media_ms: int
    key: bool


def init_bytes(fd: int) -> int | None:
    """Return the size of ``ftyp`` and ``moov``, None while they are not written yet."""
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
    """Read the structure of ``path``, without its media data.

    Raises:
        NotFragmentedMp4: it has no complete ``moov`` with a video track.
        OSError: it cannot be read.
    """
    fd = open_nofollow(path)
    try:
        return summarise_boxes(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def summarise_boxes(fd: int, size: int) -> FileSummary:
    """``summarise`` for the first ``size`` bytes of an open file."""
    track: VideoTrack | None = None
    whole = ticks = pending = init = 0
    lead: int | None = None
    trailer_end = -1
    moof = b""
    scan: FootageScan | None = None
    file = BoxReader(fd)
    for box in file.boxes(size):
        if box.kind == b"moov":
            track = video_track(file.payload(box))
            scan = FootageScan(track)
            init = whole = box.end
        elif box.kind == b"moof" and track is not None:
            moof = file.payload(box)
            pending = fragment_ticks(moof, track)
            lead = lead_ticks(moof, track) if lead is None else lead
        elif box.kind == b"mdat" and track is not None:
            whole, ticks, pending = box.end, ticks + pending, 0
            if scan is not None and moof:
                scan.add(moof)
            moof = b""
        elif box.kind == b"mfra":
            trailer_end = box.end
    if track is None or scan is None:
        raise NotFragmentedMp4("no movie header with a video track")
    return FileSummary(
        whole,
        milliseconds(ticks, track),
        complete=trailer_end == size,
        init_bytes=init,
        lead_ms=milliseconds(lead or 0, track) if whole > init else 0,
        footage=scan.result(),
    )


def summarise_finished(fd: int, size: int) -> FileSummary:
    """``summarise`` for a file that the muxer has finished, at a fraction of the cost.

    It uses the muxer's index at the end of the file, if the first fragment is where the index says and
    the last one ends where the index begins; bytes lost on a full disk would have moved them. A gap in
    the time stamps counts as media, because a player shows the frame before it for that long. If the
    index is wrong or the time stamps jump, the file is read box by box.

    Raises:
        NotFragmentedMp4: it has no complete ``moov`` with a video track.
    """
    try:
        return _by_trailer(fd, read_trailer(fd, size))
    except NotFragmentedMp4:
        return summarise_boxes(fd, size)


def _by_trailer(fd: int, trailer: Trailer) -> FileSummary:
    """Return the summary by the trailer; raise NotFragmentedMp4 if the trailer is wrong."""
    file = BoxReader(fd)
    track, init, at = _beginning(file)
    pictures = trailer.tracks.get(track.id)
    if pictures is None or not at == pictures.first == trailer.first:
        raise NotFragmentedMp4("the trailer's first fragment is not the file's")
    scan = FootageScan(track)
    begins = ends = b""
    for position in pictures.offsets:
        ends = _moof(file, position)
        begins = begins or ends
        scan.add(ends)
    last = _expect(file, trailer.last, b"moof")
    if _expect(file, last.end, b"mdat").end != trailer.start:
        raise NotFragmentedMp4("the trailer's last fragment is not the file's")
    ticks = decode_time(ends, track) + fragment_ticks(ends, track) - decode_time(begins, track)
    if not 0 <= ticks <= pictures.fragments * _LONG_FRAGMENT_S * track.timescale:
        raise NotFragmentedMp4("the time stamps have jumped")
    return FileSummary(
        trailer.start,
        milliseconds(ticks, track),
        complete=True,
        init_bytes=init,
        lead_ms=milliseconds(lead_ticks(begins, track), track),
        footage=scan.result(),
    )


def _beginning(file: BoxReader) -> tuple[VideoTrack, int, int]:
    """Return the video track, the end of the ``moov``, and the start of the first ``moof``."""
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


class FragmentScan:
    """Incremental reader of a growing file's fragments."""

    def __init__(self) -> None:
        self.init_bytes = 0
        self._track: VideoTrack | None = None
        self._position = self._start = 0
        self._pending: tuple[int, bool] | None = None

    def advance(self, fd: int, size: int) -> Iterator[Fragment]:
        """Yield the fragments that are complete within ``size`` bytes and were not yielded before.

        Raises:
            NotFragmentedMp4: the file is not a fragmented MP4, or has no video track.
        """
        file = BoxReader(fd)
        while (box := file.box(self._position)) is not None and box.end <= size:
            self._position = box.end
            if box.kind == b"moov":
                self._begin(file.payload(box), box)
            elif box.kind == b"moof":
                self._pending = self._parse(file.payload(box))
            elif box.kind == b"mdat" and self._pending is not None:
                (media_ms, key), self._pending = self._pending, None
                yield Fragment(self._start, box.end, media_ms, key)
                self._start = box.end

    def _begin(self, moov: bytes, box: Box) -> None:
        self._track = video_track(moov)
        self.init_bytes = self._start = box.end

    def _parse(self, moof: bytes) -> tuple[int, bool]:
        track = self._track
        if track is None:
            raise NotFragmentedMp4("a fragment before the movie header")
        return milliseconds(fragment_ticks(moof, track), track), is_key(moof, track)


MIN_PART_MS: Final = 900
"""Shorter parts would cost a request each and save no latency: FFmpeg flushes once a second."""


_EARLY_MS: Final = 15
"""Tolerance for rounding; less than a frame."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """An HLS part: the bytes from ``start`` to ``end`` of a file, with ``media_ms`` of media.

    It begins with a key frame. The exception is a part after one that was closed early, when a key frame
    arrives later than the distance of earlier ones.
    """

    start: int
    end: int
    media_ms: int


class PartBuilder:
    """Builds parts from one file's fragments, from key frame to key frame. Pure.

    A part ends before the next key frame. That frame is known only when its fragment is complete, a
    second later. To save that second, a part is closed once it reaches ``gop_ms``, the last distance
    between key frames, 0 while unknown.
    """

    def __init__(self, gop_ms: int = 0) -> None:
        self.gop_ms = gop_ms
        self._open: MediaPart | None = None
        self._since_key_ms = 0
        self._keys = 0

    def feed(self, fragments: Iterable[Fragment]) -> Iterator[MediaPart]:
        """Yield the parts that these fragments complete."""
        for fragment in fragments:
            yield from self._take(fragment)

    def finish(self) -> Iterator[MediaPart]:
        """Yield the last part of a finished file, unless it holds audio only."""
        if self._open is not None and self._open.media_ms > 0:
            yield self._open
        self._open = None

    def _take(self, fragment: Fragment) -> Iterator[MediaPart]:
        if fragment.key:
            self._note_key_frame()
            if self._open is not None and self._open.media_ms >= MIN_PART_MS:
                yield self._open
                self._open = None
        begun = self._open or MediaPart(fragment.start, fragment.start, 0)
        self._open = MediaPart(begun.start, fragment.end, begun.media_ms + fragment.media_ms)
        self._since_key_ms += fragment.media_ms
        if self._is_full(self._open):
            yield self._open
            self._open = None

    def _note_key_frame(self) -> None:
        if self._keys > 0:
            self.gop_ms = self._since_key_ms
        self._keys += 1
        self._since_key_ms = 0

    def _is_full(self, part: MediaPart) -> bool:
        enough = max(MIN_PART_MS, self.gop_ms - _EARLY_MS)
        at_a_key = self._since_key_ms >= self.gop_ms - _EARLY_MS
        return self.gop_ms > 0 and at_a_key and part.media_ms >= enough
