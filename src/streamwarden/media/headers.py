"""What the headers of a fragmented MP4 say: the video track, and how long a fragment of it plays.

Source: ISO/IEC 14496-12 (ISO BMFF): ``trak`` (8.3), ``trex``, ``tfhd``, ``trun`` (8.8) and ``tfdt``
(8.8.12).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from streamwarden.media.boxes import NotFragmentedMp4, first, inside, of_whole_boxes

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


@dataclass(frozen=True, slots=True)
class Track:
    """The video track; durations are in units of ``1 / timescale`` seconds."""

    id: int
    timescale: int
    default_duration: int
    default_flags: int


@of_whole_boxes
def video_track(moov: bytes) -> Track:
    """Return the first video track of a ``moov``; raise NotFragmentedMp4 where it has none."""
    for trak in inside(moov, b"trak"):
        if first(trak, b"mdia", b"hdlr")[8:12] == b"vide":
            id_ = _versioned(first(trak, b"tkhd"), 12, 20)
            timescale = _versioned(first(trak, b"mdia", b"mdhd"), 12, 20)
            if timescale == 0:
                raise NotFragmentedMp4("a timescale of 0")
            return Track(id_, timescale, *_defaults(moov, id_))
    raise NotFragmentedMp4("no video track")


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


@of_whole_boxes
def decode_time(moof: bytes, track: Track) -> int:
    """Return when the fragment's video begins, in the track's timescale (``tfdt``)."""
    traf = _traf_of(moof, track)
    if traf is None:
        raise NotFragmentedMp4("a fragment without video")
    tfdt = first(traf, b"tfdt")
    return int(struct.unpack_from(">Q" if tfdt[:1] == b"\x01" else ">I", tfdt, 4)[0])


@of_whole_boxes
def fragment_ticks(moof: bytes, track: Track) -> int:
    """Return how long the fragment's video plays, in the track's timescale."""
    return sum(_traf_ticks(traf, track) for traf in inside(moof, b"traf"))


def _traf_ticks(traf: bytes, track: Track) -> int:
    tfhd = first(traf, b"tfhd")
    flags, id_ = struct.unpack_from(">II", tfhd)
    if id_ != track.id:
        return 0
    default = track.default_duration
    if flags & _TFHD_DURATION:
        offset = 8 + sum(size for flag, size in _TFHD_OPTIONAL if flags & flag)
        default = struct.unpack_from(">I", tfhd, offset)[0]
    return sum(_trun_ticks(trun, default) for trun in inside(traf, b"trun"))


@of_whole_boxes
def lead_ticks(moof: bytes, track: Track) -> int:
    """Return by how much the first video frame is longer than any other of its fragment."""
    traf = _traf_of(moof, track)
    durations = () if traf is None else _durations(first(traf, b"trun"))
    return max(0, durations[0] - max(durations[1:])) if len(durations) > 1 else 0


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


@of_whole_boxes
def is_key(moof: bytes, track: Track) -> bool:
    """Tell whether the fragment's first video frame is a key frame."""
    traf = _traf_of(moof, track)
    if traf is None:
        return False
    return not _first_flags(first(traf, b"tfhd"), first(traf, b"trun"), track) & _NOT_A_KEY_FRAME


def _traf_of(moof: bytes, track: Track) -> bytes | None:
    for traf in inside(moof, b"traf"):
        if struct.unpack_from(">I", first(traf, b"tfhd"), 4)[0] == track.id:
            return traf
    return None


def _first_flags(tfhd: bytes, trun: bytes, track: Track) -> int:
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
