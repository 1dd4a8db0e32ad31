"""Fragmented MP4 as far as a recorder must read it: where fragments end, and how long they play.

Source: ISO/IEC 14496-12 (ISO BMFF), movie fragments: ``moof`` and its ``mdat`` make one fragment;
``tfhd``, ``tfdt`` and ``trun`` give its samples' durations in the track's timescale.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamwarden.media.boxes import Box, BoxReader, NotFragmentedMp4, first, inside

__all__ = ["Fragment", "FragmentScan", "NotFragmentedMp4", "Summary", "init_bytes", "summarise"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds: ``whole_bytes`` is where the last whole fragment ends.

    ``media_ms`` is the video's length up to there. ``complete`` means that the muxer wrote its
    trailer (``mfra``) and nothing follows it. ``init_bytes`` is the size of ``ftyp`` and ``moov``.
    ``lead_ms`` is by how much the first frame is stretched: where audio comes before the first key
    frame, FFmpeg lets that frame begin with the audio, long before it was taken.
    """

    fragments: int
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


@dataclass(frozen=True, slots=True)
class _Track:
    id: int
    timescale: int
    default_duration: int
    default_flags: int


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


def summarise(path: Path) -> Summary:
    """Read ``path``'s structure; its media data are not touched.

    Raises:
        NotFragmentedMp4: it has no whole ``moov`` with a video track.
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _summarise(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


class FragmentScan:
    """Reads a file's fragments as they become whole; each call goes on where the last one ended."""

    def __init__(self) -> None:
        self.init_bytes = 0
        self._track: _Track | None = None
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
        self._track = _video_track(moov)
        if self._track is None:
            raise NotFragmentedMp4("no video track")
        self.init_bytes = self._start = box.end

    def _look(self, moof: bytes) -> tuple[int, bool]:
        track = self._track
        if track is None:
            raise NotFragmentedMp4("a fragment before the movie header")
        return round(_fragment_ticks(moof, track) * 1000 / track.timescale), _is_key(moof, track)


def _summarise(fd: int, size: int) -> Summary:
    track: _Track | None = None
    fragments = whole = ticks = pending = init = lead = 0
    trailer_end = -1
    file = BoxReader(fd)
    for box in file.boxes(size):
        if box.kind == b"moov":
            track = _video_track(file.payload(box))
            init = whole = box.end
        elif box.kind == b"moof" and track is not None:
            moof = file.payload(box)
            pending = _fragment_ticks(moof, track)
            lead = lead if fragments else _lead_ticks(moof, track)
        elif box.kind == b"mdat" and track is not None:
            fragments, whole, ticks, pending = fragments + 1, box.end, ticks + pending, 0
        elif box.kind == b"mfra":
            trailer_end = box.end
    if track is None:
        raise NotFragmentedMp4("no movie header with a video track")
    return Summary(
        fragments,
        whole,
        round(ticks * 1000 / track.timescale),
        complete=trailer_end == size,
        init_bytes=init,
        lead_ms=round(lead * 1000 / track.timescale) if fragments else 0,
    )


def _video_track(moov: bytes) -> _Track | None:
    try:
        for trak in inside(moov, b"trak"):
            if first(trak, b"mdia", b"hdlr")[8:12] == b"vide":
                id_ = _versioned(first(trak, b"tkhd"), 12, 20)
                timescale = _versioned(first(trak, b"mdia", b"mdhd"), 12, 20)
                if timescale == 0:
                    raise NotFragmentedMp4("a timescale of 0")
                return _Track(id_, timescale, *_defaults(moov, id_))
    except struct.error as error:
        raise NotFragmentedMp4("a movie header cut short") from error
    return None


def _versioned(full_box: bytes, offset_0: int, offset_1: int) -> int:
    """Return the 32-bit field that stands at one offset in version 0 and at another in version 1."""
    value: int = struct.unpack_from(
        ">I", full_box, offset_1 if full_box[:1] == b"\x01" else offset_0
    )[0]
    return value


def _defaults(moov: bytes, track_id: int) -> tuple[int, int]:
    """Return a sample's duration and flags where its fragment does not say them."""
    for trex in (each for mvex in inside(moov, b"mvex") for each in inside(mvex, b"trex")):
        if struct.unpack_from(">I", trex, 4)[0] == track_id:
            duration, _size, flags = struct.unpack_from(">III", trex, 12)
            return duration, flags
    return 0, 0


_TFHD_OPTIONAL: Final = ((0x1, 8), (0x2, 4))
_TFHD_DURATION: Final = 0x8
_TFHD_BEFORE_FLAGS: Final = (*_TFHD_OPTIONAL, (0x8, 4), (0x10, 4))
_TFHD_FLAGS: Final = 0x20
_NOT_A_KEY_FRAME: Final = 0x10000
"""``sample_is_non_sync_sample`` (8.8.3.1)."""
_TRUN_DATA_OFFSET: Final = 0x1
_TRUN_FIRST_FLAGS: Final = 0x4
_TRUN_DURATION: Final = 0x100
_TRUN_FLAGS: Final = 0x400
_TRUN_PER_SAMPLE: Final = (0x100, 0x200, 0x400, 0x800)


def _fragment_ticks(moof: bytes, track: _Track) -> int:
    """Return how long the fragment's video plays, in the track's timescale."""
    try:
        return sum(_traf_ticks(traf, track) for traf in inside(moof, b"traf"))
    except struct.error as error:
        raise NotFragmentedMp4("a fragment header cut short") from error


def _traf_ticks(traf: bytes, track: _Track) -> int:
    tfhd = first(traf, b"tfhd")
    flags, id_ = struct.unpack_from(">II", tfhd)
    if id_ != track.id:
        return 0
    default = track.default_duration
    if flags & _TFHD_DURATION:
        offset = 8 + sum(size for flag, size in _TFHD_OPTIONAL if flags & flag)
        default = struct.unpack_from(">I", tfhd, offset)[0]
    return sum(_trun_ticks(trun, default) for trun in inside(traf, b"trun"))


def _lead_ticks(moof: bytes, track: _Track) -> int:
    """Return by how much the first video frame is longer than any other of its fragment."""
    for traf in inside(moof, b"traf"):
        if struct.unpack_from(">I", first(traf, b"tfhd"), 4)[0] == track.id:
            durations = _durations(first(traf, b"trun"))
            return max(0, durations[0] - max(durations[1:])) if len(durations) > 1 else 0
    return 0


def _trun_ticks(trun: bytes, default: int) -> int:
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return int(samples * default)
    return sum(_durations(trun))


def _durations(trun: bytes) -> tuple[int, ...]:
    """Return each sample's own duration, nothing where they have none of their own."""
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return ()
    offset = 8 + 4 * bool(flags & _TRUN_DATA_OFFSET) + 4 * bool(flags & _TRUN_FIRST_FLAGS)
    per_sample = 4 * sum(bool(flags & flag) for flag in _TRUN_PER_SAMPLE)
    if offset + samples * per_sample > len(trun):
        raise NotFragmentedMp4("a track run cut short")
    words = struct.unpack_from(f">{samples * per_sample // 4}I", trun, offset)
    # The duration is the first of a sample's fields.
    return words[:: per_sample // 4]


def _is_key(moof: bytes, track: _Track) -> bool:
    """Tell whether the fragment's first video frame is a key frame."""
    try:
        for traf in inside(moof, b"traf"):
            tfhd = first(traf, b"tfhd")
            if struct.unpack_from(">I", tfhd, 4)[0] == track.id:
                return not _first_flags(tfhd, first(traf, b"trun"), track) & _NOT_A_KEY_FRAME
    except struct.error as error:
        raise NotFragmentedMp4("a fragment header cut short") from error
    return False


def _first_flags(tfhd: bytes, trun: bytes, track: _Track) -> int:
    flags: int = struct.unpack_from(">I", trun)[0]
    offset = 8 + 4 * bool(flags & _TRUN_DATA_OFFSET)
    if flags & _TRUN_FIRST_FLAGS:
        return int(struct.unpack_from(">I", trun, offset)[0])
    if flags & _TRUN_FLAGS:
        offset += sum(4 for flag in _TRUN_PER_SAMPLE[:2] if flags & flag)
        return int(struct.unpack_from(">I", trun, offset)[0])
    tfhd_flags: int = struct.unpack_from(">I", tfhd)[0]
    if not tfhd_flags & _TFHD_FLAGS:
        return track.default_flags
    offset = 8 + sum(size for flag, size in _TFHD_BEFORE_FLAGS if tfhd_flags & flag)
    return int(struct.unpack_from(">I", tfhd, offset)[0])
