"""Fragments of an MP4 file, a file's summary, and the HLS parts made from fragments.

Source: ISO/IEC 14496-12 (ISO BMFF), movie fragments: a ``moof`` and its ``mdat`` make one fragment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streamwarden.mp4.boxes import (
    Box,
    BoxReader,
    MediaTrack,
    NotFragmentedMp4,
    TrackSamples,
    fragment_ticks,
    is_key,
    milliseconds,
    video_track,
)
from streamwarden.mp4.footage import Footage, footage_of
from streamwarden.mp4.structure import FileStructure, read_structure
from streamwarden.paths import open_nofollow

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
    return summary_of(read_structure(BoxReader(fd), size), finished=False)


def summarise_finished(fd: int, size: int) -> FileSummary:
    """``summarise`` for a file that the muxer has finished; see ``summary_of``."""
    return summary_of(read_structure(BoxReader(fd), size), finished=True)


def summary_of(found: FileStructure, *, finished: bool) -> FileSummary:
    """Return the summary of a file.

    ``finished`` if the muxer has closed it. A gap in the time stamps then counts as media, because a player
    shows the frame before it for that long. But only if the muxer's index at the end of the file is true of
    it, since bytes lost on a full disk move what it lists, and if the time stamps do not jump.

    Raises:
        NotFragmentedMp4: its structure is damaged.
    """
    track, pictures = found.track, [samples for _, samples in found.pictures]
    ticks = _played(found, pictures, track) if finished else None
    # Where sound came first, the first picture is not dated by it.
    begins_so = bool(pictures) and found.pictures[0][0] is found.fragments[0].moof
    return FileSummary(
        found.whole_bytes,
        milliseconds(_shown(pictures) if ticks is None else ticks, track),
        complete=found.complete,
        init_bytes=found.header.end,
        lead_ms=milliseconds(pictures[0].lead, track) if begins_so else 0,
        footage=footage_of(pictures, track),
    )


def _shown(pictures: Sequence[TrackSamples]) -> int:
    """Return how long the pictures are shown, without what is missing between them."""
    return sum(sum(samples.durations) for samples in pictures)


def _played(
    found: FileStructure, pictures: Sequence[TrackSamples], track: MediaTrack
) -> int | None:
    """Return how long a player needs for a file; None where its trailer or its time stamps are wrong."""
    index = None if found.trailer is None else found.trailer.tracks.get(track.id)
    if found.trailer is None or index is None:
        return None
    if (
        index.offsets != tuple(moof.start for moof, _ in found.pictures)
        or found.trailer.first != found.fragments[0].moof.start
        or found.trailer.last != found.fragments[-1].moof.start
        or found.trailer.start != found.whole_bytes
    ):
        return None
    begins, last = pictures[0].begins, pictures[-1]
    if begins is None or last.begins is None:
        return None
    ticks = last.begins + sum(last.durations) - begins
    longest = len(pictures) * _LONG_FRAGMENT_S * track.timescale
    return ticks if 0 <= ticks <= longest else None


class FragmentScan:
    """Incremental reader of a growing file's fragments."""

    def __init__(self) -> None:
        self.init_bytes = 0
        self._track: MediaTrack | None = None
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
