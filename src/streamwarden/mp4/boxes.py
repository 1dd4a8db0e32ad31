"""Boxes and headers of a fragmented MP4, as far as a recorder must read them.

Source: ISO/IEC 14496-12 (ISO BMFF): boxes (4.2), ``trak`` (8.3), ``trex``, ``tfhd``, ``trun`` (8.8),
``mfra`` (8.8.9), ``tfra`` (8.8.10), ``mfro`` (8.8.11), the file's last box with the length of the ``mfra``
around it, and ``tfdt`` (8.8.12).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Final, NamedTuple, ParamSpec, TypeVar, cast

P = ParamSpec("P")


T = TypeVar("T")


_LAST_OFFSET: Final = 2**62
"""Only a damaged size leads beyond it: no file is so long."""

_AHEAD_BYTES: Final = 2048
"""Read-ahead: the size of a ``moof`` with 25 video frames and one second of audio."""


_HEADER_BYTES: Final = 8


_LARGE_HEADER_BYTES: Final = 16


_HEADER: Final = struct.Struct(">I4s")


_LARGE_SIZE: Final = struct.Struct(">Q")


_MAX_META_BYTES: Final = 16 * 1024 * 1024
"""Limit for reading a ``moov`` or ``moof`` into memory; a recorder's are far smaller."""


_REMEMBERED_HEADERS: Final = 1024


_REMEMBERED_BYTES: Final = 4096
"""A longer header is not remembered; a recorder's has less than 2 KB."""


class NotFragmentedMp4(ValueError):
    """The file is not a fragmented MP4 with a video track, or its structure is damaged."""


def refuse_truncated(read: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``read`` to raise NotFragmentedMp4 if a box is shorter than its fields."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (struct.error, IndexError) as error:
            raise NotFragmentedMp4("a truncated header") from error

    return reading


def remembered(read: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Decorate a function of a ``moov`` to remember its last answers: all files of a run have the same."""
    remembering = lru_cache(_REMEMBERED_HEADERS)(read)

    @wraps(read)
    def reading(moov: bytes) -> T:
        return remembering(moov) if len(moov) <= _REMEMBERED_BYTES else read(moov)

    return reading


class Box(NamedTuple):
    """A box's four-letter type, and the offsets of its header, its payload and its end."""

    kind: bytes
    start: int
    payload: int
    end: int


class BoxReader:
    """Reads a file's boxes with read-ahead: a ``moof`` and the next box's header cost one system call."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._at = 0
        self._bytes = b""

    def boxes(self, size: int) -> Iterator[Box]:
        """Yield the boxes that are complete within ``size`` bytes."""
        position = 0
        while (box := self.box(position)) is not None and box.end <= size:
            yield box
            position = box.end

    def box(self, position: int) -> Box | None:
        """Return the box at ``position``, None if its header is incomplete."""
        found = _extent(self.read(position, _LARGE_HEADER_BYTES), 0)
        if found is None:
            return None
        kind, payload, end = found
        return Box(kind, position, position + payload, position + end)

    def payload(self, box: Box) -> bytes:
        """Return a box's payload; raise NotFragmentedMp4 if it is larger than a recorder's can be."""
        length = box.end - box.payload
        if length > _MAX_META_BYTES:
            raise NotFragmentedMp4(f"a {box.kind!r} box of {length} bytes")
        return self.read(box.payload, length)

    def read(self, position: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``position``."""
        if position > _LAST_OFFSET:
            return b""
        begin = position - self._at
        if begin < 0 or begin + length > len(self._bytes):
            self._at, begin = position, 0
            self._bytes = os.pread(self.fd, max(length, _AHEAD_BYTES), position)
        return self._bytes[begin : begin + length]


def _extent(data: bytes, offset: int) -> tuple[bytes, int, int] | None:
    """Return type, and the offsets of payload and end, of the box at ``offset``.

    None if its header is incomplete.
    """
    if len(data) - offset < _HEADER_BYTES:
        return None
    size, kind = _HEADER.unpack_from(data, offset)
    if size >= _HEADER_BYTES:
        return kind, offset + _HEADER_BYTES, offset + size
    # Size 0 means "to the end of the file"; whether such a box is complete cannot be known.
    if size != 1 or len(data) - offset < _LARGE_HEADER_BYTES:
        return None
    (size,) = _LARGE_SIZE.unpack_from(data, offset + _HEADER_BYTES)
    if size < _LARGE_HEADER_BYTES:
        return None
    return kind, offset + _LARGE_HEADER_BYTES, offset + size


def inside(data: bytes, kind: bytes) -> Iterator[bytes]:
    """Yield the payloads of the boxes of one type directly inside ``data``."""
    position, length = 0, len(data)
    while (found := _extent(data, position)) is not None:
        each, payload, position = found
        if position > length:
            return
        if each == kind:
            yield data[payload:position]


def all_inside(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each box directly inside ``data``."""
    position, length = 0, len(data)
    while (found := _extent(data, position)) is not None:
        kind, payload, position = found
        if position > length:
            return
        yield kind, data[payload:position]


def first(data: bytes, *path: bytes) -> bytes:
    """Return the payload of the first box at ``path`` inside ``data``."""
    for kind in path:
        payload = next(inside(data, kind), None)
        if payload is None:
            raise NotFragmentedMp4(f"no {b'/'.join(path)!r} box")
        data = payload
    return data


_TFHD_BASE_OFFSET: Final = 0x1


_TFHD_DESCRIPTION: Final = 0x2


_TFHD_DURATION: Final = 0x8


_TFHD_BEFORE_FLAGS: Final = ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4))


_TFHD_FLAGS: Final = 0x20


_TFHD_BASE_IS_MOOF: Final = 0x20000


_NOT_A_KEY_FRAME: Final = 0x10000
"""``sample_is_non_sync_sample`` (8.8.3.1)."""


_TRUN_DATA_OFFSET: Final = 0x1


_TRUN_FIRST_FLAGS: Final = 0x4


_TRUN_DURATION: Final = 0x100


_TRUN_FLAGS: Final = 0x400


_MAX_SAMPLES: Final = 1_000_000
"""Limit for the samples of one fragment without durations of their own, a damaged count otherwise."""


_TRUN_PER_SAMPLE: Final = (0x100, 0x200, 0x400, 0x800)


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """A track of a ``moov``; durations are in units of ``1 / timescale`` seconds."""

    id: int
    timescale: int
    default_duration: int
    default_flags: int


def milliseconds(ticks: int, track: MediaTrack) -> int:
    """Return a duration in the track's timescale as milliseconds."""
    return round(ticks * 1000 / track.timescale)


@remembered
@refuse_truncated
def video_track(moov: bytes) -> MediaTrack:
    """Return the first video track of a ``moov``; raise NotFragmentedMp4 if there is none."""
    found = _track(moov, b"vide")
    if found is None:
        raise NotFragmentedMp4("no video track")
    return found


@remembered
@refuse_truncated
def sound_track(moov: bytes) -> MediaTrack | None:
    """Return the first track of sound of a ``moov``, None if there is none."""
    return _track(moov, b"soun")


def _track(moov: bytes, handler: bytes) -> MediaTrack | None:
    for trak in inside(moov, b"trak"):
        if first(trak, b"mdia", b"hdlr")[8:12] == handler:
            id_ = id_of(trak)
            timescale = _versioned(first(trak, b"mdia", b"mdhd"), 12, 20)
            if timescale == 0:
                raise NotFragmentedMp4("a timescale of 0")
            return MediaTrack(id_, timescale, *_defaults(moov, id_))
    return None


def id_of(trak: bytes) -> int:
    """Return the id of a ``trak``."""
    return _versioned(first(trak, b"tkhd"), 12, 20)


def _versioned(full_box: bytes, offset_0: int, offset_1: int) -> int:
    """Return a 32-bit field whose offset depends on the full box's version, 0 or 1."""
    value: int = struct.unpack_from(
        ">I", full_box, offset_1 if full_box[:1] == b"\x01" else offset_0
    )[0]
    return value


def _defaults(moov: bytes, track_id: int) -> tuple[int, int]:
    """Return the default sample duration and flags of a track (``trex``)."""
    for trex in (each for mvex in inside(moov, b"mvex") for each in inside(mvex, b"trex")):
        if struct.unpack_from(">I", trex, 4)[0] == track_id:
            duration, _size, flags = struct.unpack_from(">III", trex, 12)
            return duration, flags
    return 0, 0


@refuse_truncated
def decode_time(moof: bytes, track: MediaTrack) -> int:
    """Return the start of the fragment's video, in the track's timescale (``tfdt``)."""
    traf = _traf_of(moof, track)
    if traf is None:
        raise NotFragmentedMp4("a fragment without video")
    tfdt = first(traf, b"tfdt")
    return int(struct.unpack_from(">Q" if tfdt[:1] == b"\x01" else ">I", tfdt, 4)[0])


class TrackSamples(NamedTuple):
    """The samples of a track in one fragment (``traf``), in its timescale.

    ``begins`` is their decode time (``tfdt``), None where it is not said. ``key``: the first one is a key
    frame. ``data_offset`` leads from the start of the ``moof`` to the first one, None where that is not
    said (``default-base-is-moof``).
    """

    begins: int | None
    durations: Sequence[int]
    key: bool
    data_offset: int | None

    @property
    def lead(self) -> int:
        """By how much the first sample is longer than the longest other one."""
        if len(self.durations) < 2:  # noqa: PLR2004 - there is no other one
            return 0
        return max(0, self.durations[0] - max(self.durations[1:]))


@refuse_truncated
def track_samples(traf: bytes, track: MediaTrack) -> TrackSamples:
    """Return the samples of a track's ``traf``."""
    begins = data_offset = None
    key, durations, tfhd = False, cast("Sequence[int]", ()), b""
    default = 0
    for kind, data in all_inside(traf):
        if kind == b"tfhd" and not tfhd:
            tfhd, default = data, _default_duration(data, track)
        elif kind == b"tfdt" and begins is None:
            (begins,) = struct.unpack_from(">Q" if data[:1] == b"\x01" else ">I", data, 4)
        elif kind == b"trun":
            each = _each(data, default)
            if durations:
                durations = (*durations, *each)
                continue
            durations, data_offset = each, _data_offset(tfhd, data)
            key = not _first_flags(tfhd, data, track) & _NOT_A_KEY_FRAME
    if not tfhd:
        raise NotFragmentedMp4("a fragment without a track")
    return TrackSamples(begins, durations, key, data_offset)


def _data_offset(tfhd: bytes, trun: bytes) -> int | None:
    if not struct.unpack_from(">I", tfhd)[0] & _TFHD_BASE_IS_MOOF:
        return None
    if not struct.unpack_from(">I", trun)[0] & _TRUN_DATA_OFFSET:
        return None
    return int(struct.unpack_from(">i", trun, 8)[0])


def _each(trun: bytes, default: int) -> Sequence[int]:
    """Return the duration of each sample of a ``trun``."""
    flags, samples = struct.unpack_from(">II", trun)
    if flags & _TRUN_DURATION:
        return _durations(trun)
    if samples > _MAX_SAMPLES:
        raise NotFragmentedMp4(f"a track run of {samples} samples")
    return [default] * samples


@refuse_truncated
def fragment_ticks(moof: bytes, track: MediaTrack) -> int:
    """Return the duration of the fragment's video, in the track's timescale."""
    return sum(_traf_ticks(traf, track) for traf in inside(moof, b"traf"))


def _traf_ticks(traf: bytes, track: MediaTrack) -> int:
    tfhd = first(traf, b"tfhd")
    if struct.unpack_from(">I", tfhd, 4)[0] != track.id:
        return 0
    default = _default_duration(tfhd, track)
    return sum(_trun_ticks(trun, default) for trun in inside(traf, b"trun"))


def _default_duration(tfhd: bytes, track: MediaTrack) -> int:
    flags: int = struct.unpack_from(">I", tfhd)[0]
    if not flags & _TFHD_DURATION:
        return track.default_duration
    offset = 8 + 8 * bool(flags & _TFHD_BASE_OFFSET) + 4 * bool(flags & _TFHD_DESCRIPTION)
    return int(struct.unpack_from(">I", tfhd, offset)[0])


def _trun_ticks(trun: bytes, default: int) -> int:
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return int(samples * default)
    return sum(_durations(trun))


def _durations(trun: bytes) -> tuple[int, ...]:
    """Return the samples' durations, empty if the ``trun`` holds none."""
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return ()
    offset = 8 + 4 * bool(flags & _TRUN_DATA_OFFSET) + 4 * bool(flags & _TRUN_FIRST_FLAGS)
    per_sample = 4 * sum(bool(flags & flag) for flag in _TRUN_PER_SAMPLE)
    if offset + samples * per_sample > len(trun):
        raise NotFragmentedMp4("a truncated track run")
    words = struct.unpack_from(f">{samples * per_sample // 4}I", trun, offset)
    # The duration is the first of a sample's fields.
    return words[:: per_sample // 4]


@refuse_truncated
def is_key(moof: bytes, track: MediaTrack) -> bool:
    """Return whether the fragment's first video frame is a key frame."""
    traf = _traf_of(moof, track)
    if traf is None:
        return False
    return not _first_flags(first(traf, b"tfhd"), first(traf, b"trun"), track) & _NOT_A_KEY_FRAME


@refuse_truncated
def sample_offset(moof: bytes, track: MediaTrack) -> int | None:
    """Return where the fragment's first video sample is, from the start of its ``moof``.

    None without video, or where the file does not say it so (``default-base-is-moof``).
    """
    traf = _traf_of(moof, track)
    return None if traf is None else _data_offset(first(traf, b"tfhd"), first(traf, b"trun"))


@refuse_truncated
def track_of(traf: bytes) -> int:
    """Return the id of the track that a ``traf`` is about."""
    return int(struct.unpack_from(">I", first(traf, b"tfhd"), 4)[0])


def _traf_of(moof: bytes, track: MediaTrack) -> bytes | None:
    return next((traf for traf in inside(moof, b"traf") if track_of(traf) == track.id), None)


def _first_flags(tfhd: bytes, trun: bytes, track: MediaTrack) -> int:
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


_MFRO: Final = struct.Struct(">I4sII")


_TFRA: Final = struct.Struct(">BxxxIII")


@dataclass(frozen=True, slots=True)
class TrackExtent:
    """The offsets of the ``moof`` boxes of a track's fragments, in the order of the file; never empty."""

    offsets: tuple[int, ...]

    @property
    def fragments(self) -> int:
        """The number of fragments."""
        return len(self.offsets)

    @property
    def first(self) -> int:
        """The offset of the first ``moof``."""
        return self.offsets[0]

    @property
    def last(self) -> int:
        """The offset of the last ``moof``."""
        return self.offsets[-1]


@dataclass(frozen=True, slots=True)
class Trailer:
    """The muxer's index at the end of a finished file: the offset of its ``mfra``, and the tracks by id."""

    start: int
    tracks: Mapping[int, TrackExtent]

    @property
    def first(self) -> int:
        """The offset of the file's first ``moof``."""
        return min(extent.first for extent in self.tracks.values())

    @property
    def last(self) -> int:
        """The offset of the file's last ``moof``."""
        return max(extent.last for extent in self.tracks.values())


@refuse_truncated
def read_trailer(fd: int, size: int) -> Trailer:
    """Read the index that ends a file of ``size`` bytes.

    Raises:
        NotFragmentedMp4: there is no index, or it lists no fragment before itself.
    """
    end = os.pread(fd, _MFRO.size, max(0, size - _MFRO.size))
    length = _trailer_bytes(end)
    file = BoxReader(fd)
    box = file.box(size - length) if length <= size else None
    if box is None or box.kind != b"mfra" or box.end != size:
        raise NotFragmentedMp4("no trailer where the file's last box says")
    return trailer_of(box, file.payload(box))


@refuse_truncated
def trailer_of(mfra: Box, payload: bytes) -> Trailer:
    """Read the index in the last box of a file; raises as ``read_trailer`` does."""
    if _trailer_bytes(payload[-_MFRO.size :]) != mfra.end - mfra.start:
        raise NotFragmentedMp4("a trailer of another length than it says")
    tracks = dict(found for tfra in inside(payload, b"tfra") for found in _track_extents(tfra))
    if not tracks:
        raise NotFragmentedMp4("a trailer without fragments")
    trailer = Trailer(mfra.start, tracks)
    if trailer.last >= trailer.start:
        raise NotFragmentedMp4("a trailer that lists fragments after itself")
    return trailer


def _trailer_bytes(mfro: bytes) -> int:
    _, kind, _, length = _MFRO.unpack_from(mfro)
    if kind != b"mfro":
        raise NotFragmentedMp4("no trailer")
    return int(length)


def _track_extents(tfra: bytes) -> list[tuple[int, TrackExtent]]:
    version, track_id, lengths, count = _TFRA.unpack_from(tfra)
    if count == 0:
        return []
    word = ">Q" if version == 1 else ">I"
    numbers_bytes = sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0))
    entry = struct.Struct(f"{word[0]}{8 if version == 1 else 4}x{word[1]}{numbers_bytes}x")
    entries = tfra[_TFRA.size : _TFRA.size + count * entry.size]
    if len(entries) < count * entry.size:
        raise NotFragmentedMp4("a truncated table of fragments")
    return [(track_id, TrackExtent(tuple(at for (at,) in entry.iter_unpack(entries))))]
