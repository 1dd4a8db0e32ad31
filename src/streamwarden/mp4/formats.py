"""Formats of MP4 files: the codecs and parameter sets in a header, and parameter sets among the pictures.

A camera may change its picture's size in mid-stream. FFmpeg then goes on with the header that it has, and
only the parameter sets in front of the key frames are right.

Source: ISO/IEC 14496-12, sample entries (8.5.2, 12.1.3, 12.2.3), ``tfhd`` (8.8.7), ``trun`` (8.8.8);
ISO/IEC 14496-15, ``avcC`` (5.3.3.1), ``hvcC`` (8.3.3.1); ISO/IEC 14496-1, ``esds`` (7.2.6).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from streamwarden.mp4.boxes import (
    Box,
    BoxReader,
    NotFragmentedMp4,
    all_inside,
    decode_time,
    first,
    fragment_ticks,
    inside,
    is_key,
    milliseconds,
    read_trailer,
    refuse_truncated,
    remembered,
    sample_offset,
    sound_track,
    video_track,
)
from streamwarden.mp4.sound_offset import Change
from streamwarden.mp4.structure import FileStructure, read_header, read_structure
from streamwarden.paths import open_nofollow

_H264, _H265 = "h264", "h265"

_CODECS: Final[Mapping[bytes, str]] = {
    b"avc1": _H264, b"avc3": _H264, b"hvc1": _H265, b"hev1": _H265,
}  # fmt: skip

_SET_TYPES: Final[Mapping[str, frozenset[int]]] = {
    _H264: frozenset({7, 8}),
    _H265: frozenset({32, 33, 34}),
}
"""SPS and PPS; VPS, SPS and PPS (H.264 table 7-1, H.265 table 7-1)."""

_PICTURE_ENTRY_BYTES, _SOUND_ENTRY_BYTES = 78, 28

_HEV1: Final = re.compile(rb"stsd\0{7}.{5}hev1", re.DOTALL)
"""``stsd``, its version and flags, the number of entries, the first entry's size and type."""

_HVCC_FIXED_BYTES: Final = 22

_MAX_SETS_BYTES: Final = 8192
"""Parameter sets are looked for in so much of a picture; all of them together have some hundred bytes."""

_MAX_KEY_FRAME_DISTANCE: Final = 120
"""A file's last key frame is looked for in so many fragments from its end; one lasts a second."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What a file's header says of its tracks.

    ``sets`` are the parameter sets, ``sound`` what identifies the sound's codec, None without sound.
    ``length_bytes`` is the size of the length in front of each unit of a picture.
    """

    codec: str
    width: int
    height: int
    sets: frozenset[bytes]
    length_bytes: int
    sound: tuple[str, int, int, bytes] | None


@dataclass(frozen=True, slots=True)
class SetsAtEnd:
    """The parameter sets in force at a file's end, as a fingerprint; ``in_header``: the header has them."""

    fingerprint: bytes
    in_header: bool


@dataclass(frozen=True, slots=True)
class FormatAtEnd:
    """How a finished file ends: its parameter sets, None without; and whether it has a track of sound.

    Both are None where that cannot be told.
    """

    sets: SetsAtEnd | None
    sound: bool | None


@remembered
@refuse_truncated
def file_format(moov: bytes) -> FileFormat:
    """Return what a ``moov`` says; raise NotFragmentedMp4 without a video track."""
    picture: tuple[str, int, int, frozenset[bytes], int] | None = None
    sound: tuple[str, int, int, bytes] | None = None
    for trak in inside(moov, b"trak"):
        handler = first(trak, b"mdia", b"hdlr")[8:12]
        entries = first(trak, b"mdia", b"minf", b"stbl", b"stsd")[8:]
        kind, entry = next(all_inside(entries), (b"", b""))
        if handler == b"vide" and picture is None:
            picture = _picture(kind, entry)
        elif handler == b"soun" and sound is None:
            sound = _sound(kind, entry)
    if picture is None:
        raise NotFragmentedMp4("no video track")
    return FileFormat(*picture, sound)


def format_of(path: Path) -> FileFormat:
    """Return what a file's header says.

    Raises:
        NotFragmentedMp4: it has no header with a video track.
        OSError: it cannot be read.
    """
    fd = open_nofollow(path)
    try:
        return file_format(read_moov(fd, os.fstat(fd).st_size))
    finally:
        os.close(fd)


def read_moov(fd: int, size: int) -> bytes:
    """Return the payload of a file's ``moov``; raise NotFragmentedMp4 without one."""
    return read_header(BoxReader(fd), size)[1]


@dataclass(frozen=True, slots=True)
class FormatSpan:
    """One format from ``from_ms`` of a file's media on, as far as the next span.

    ``sound`` is None where the file holds none, whatever its header announces.
    ``decode_ms`` is the same moment by the file's own stamps, which need not begin at 0. ``fits`` is false
    where the header has other parameter sets. ``size`` is 0 where the sets hold it.
    """

    from_ms: int
    decode_ms: int
    codec: str
    size: tuple[int, int]
    sets: frozenset[bytes]
    sound: tuple[str, int, int, bytes] | None
    fits: bool
    header_size: tuple[int, int] = field(default=(0, 0), compare=False)
    """The size that the header names; the pictures have it where ``fits``."""

    def same_as(self, other: FormatSpan) -> bool:
        """Whether both have the same header."""
        return self == replace(other, from_ms=self.from_ms, decode_ms=self.decode_ms)

    def same_picture_as(self, other: FormatSpan) -> bool:
        """Whether the pictures of both can be in one file, under one header."""
        return self.same_as(replace(other, sound=self.sound))


def formats_in(path: Path) -> list[FormatSpan]:
    """Return the formats of a file's pictures and sound, in time order; the first begins at 0.

    Of each key frame the first bytes are read: a camera may change and change back within one file.

    Raises:
        NotFragmentedMp4: it has no header with a video track.
        OSError: it cannot be read.
    """
    fd = open_nofollow(path)
    try:
        return _formats_in(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


@refuse_truncated
def _formats_in(fd: int, size: int) -> list[FormatSpan]:
    moov = read_moov(fd, size)
    header, track = file_format(moov), video_track(moov)
    if not _holds_sound(fd, size, moov):
        header = replace(header, sound=None)
    spans: list[FormatSpan] = []
    at_ms, file = 0, BoxReader(fd)
    for box in file.boxes(size):
        if box.kind != b"moof":
            continue
        moof = file.payload(box)
        if is_key(moof, track):
            found = _sets_of(fd, box, sample_offset(moof, track), header)
            sets = in_force(header, found) if found or not spans else spans[-1].sets
            decode_ms = milliseconds(decode_time(moof, track), track)
            span = _span(header, at_ms, decode_ms, sets)
            if not spans or not span.same_as(spans[-1]):
                spans.append(span)
        at_ms += milliseconds(fragment_ticks(moof, track), track)
    return spans or [_span(header, 0, 0, header.sets)]


def _holds_sound(fd: int, size: int, moov: bytes) -> bool:
    """Return whether a file has a track of sound with anything in it."""
    if (sound := sound_track(moov)) is None:
        return False
    try:
        return sound.id in read_trailer(fd, size).tracks
    except NotFragmentedMp4:
        return bool(read_structure(BoxReader(fd), size).trafs(sound.id))


def _span(header: FileFormat, from_ms: int, decode_ms: int, sets: frozenset[bytes]) -> FormatSpan:
    header_size = (header.width, header.height)
    return FormatSpan(
        *(from_ms, decode_ms, header.codec, (0, 0) if sets else header_size, sets, header.sound),
        fits=sets == header.sets,
        header_size=header_size,
    )


def entry_changes(header: Box, moov: bytes) -> list[Change]:
    """Return what makes a file's H.265 ``hvc1``, which Apple's players take; they take no ``hev1``.

    Only the name differs (ISO/IEC 14496-15, 8.4.1): ``hvcC`` is the same, and FFmpeg fills it.
    """
    return [Change(header.payload + found.end() - 4, b"hvc1") for found in _HEV1.finditer(moov)]


def format_at_end(file: BoxReader, found: FileStructure) -> FormatAtEnd:
    """Return the parameter sets before the last key frame of a file, and whether it has sound.

    It has no sets where the camera sends them in its session description only, or the codec has none; and
    where the file cannot be read so.
    """
    sound: bool | None = None
    try:
        header = file_format(found.moov)
        sound = header.sound is not None
        for moof, samples in reversed(found.pictures[-_MAX_KEY_FRAME_DISTANCE:]):
            if samples.key:
                sets = _sets_of(file.fd, moof, samples.data_offset, header)
                return FormatAtEnd(_at_end(sets, header), sound)
    except NotFragmentedMp4:
        pass
    return FormatAtEnd(None, sound)


@refuse_truncated
def _sets_of(fd: int, moof: Box, data_offset: int | None, header: FileFormat) -> frozenset[bytes]:
    """Return the parameter sets before the key frame that begins a fragment; only its begin is read."""
    if data_offset is None or header.codec not in _SET_TYPES:
        return frozenset()
    data = os.pread(fd, _MAX_SETS_BYTES, moof.start + data_offset)
    return frozenset(_units(data, header))


def _at_end(sets: frozenset[bytes], header: FileFormat) -> SetsAtEnd | None:
    if not sets:
        return None
    digest = hashlib.blake2b(b"".join(sorted(sets)), digest_size=16).digest()
    return SetsAtEnd(digest, sets <= header.sets)


def in_force(header: FileFormat, found: frozenset[bytes]) -> frozenset[bytes]:
    """Return the parameter sets that hold after ``found`` were sent, which replace those of their types."""
    if not found:
        return header.sets
    types = {_unit_type(one, header.codec) for one in found}
    return found | {one for one in header.sets if _unit_type(one, header.codec) not in types}


def _picture(kind: bytes, entry: bytes) -> tuple[str, int, int, frozenset[bytes], int]:
    width, height = struct.unpack_from(">HH", entry, 24)
    codec = _CODECS.get(kind, kind.decode("latin-1"))
    children = entry[_PICTURE_ENTRY_BYTES:]
    if codec == _H264:
        avcc = first(children, b"avcC")
        return codec, width, height, frozenset(_avcc_sets(avcc)), (avcc[4] & 3) + 1
    if codec == _H265:
        hvcc = first(children, b"hvcC")
        return codec, width, height, frozenset(_hvcc_sets(hvcc)), (hvcc[21] & 3) + 1
    return codec, width, height, frozenset(), 0


def _avcc_sets(avcc: bytes) -> Iterator[bytes]:
    at = 5
    for mask in (0x1F, 0xFF):
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            unit, at = _sized(avcc, at)
            yield unit


def _hvcc_sets(hvcc: bytes) -> Iterator[bytes]:
    arrays, at = hvcc[_HVCC_FIXED_BYTES], _HVCC_FIXED_BYTES + 1
    for _ in range(arrays):
        kind, count = hvcc[at] & 0x3F, struct.unpack_from(">H", hvcc, at + 1)[0]
        at += 3
        for _ in range(count):
            unit, at = _sized(hvcc, at)
            if kind in _SET_TYPES[_H265]:
                yield unit


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">H", data, at)
    return data[at + 2 : at + 2 + size], at + 2 + size


def _sound(kind: bytes, entry: bytes) -> tuple[str, int, int, bytes]:
    """Return codec, channels, sample rate and the decoder's configuration, which has no bit rate in it.

    AAC's configuration holds the channels; in the entry FFmpeg's versions write different numbers.
    """
    (channels,) = struct.unpack_from(">H", entry, 16)
    (rate,) = struct.unpack_from(">I", entry, 24)
    children = entry[_SOUND_ENTRY_BYTES:]
    esds = next(inside(children, b"esds"), None)
    config = _decoder_config(esds[4:]) if esds is not None else next(inside(children, b"dOps"), b"")
    in_config = esds is not None and config
    return kind.decode("latin-1"), 0 if in_config else channels, rate >> 16, config


def _decoder_config(descriptors: bytes) -> bytes:
    """Return the DecoderSpecificInfo of an ``esds``, empty where there is none (MP3)."""
    skipped = {3: 3, 4: 13}  # the fixed fields of ES_Descriptor and DecoderConfigDescriptor
    at = 0
    while at < len(descriptors):
        tag, size, at = descriptors[at], 0, at + 1
        for _ in range(4):
            byte, at = descriptors[at], at + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 5:  # noqa: PLR2004 - DecoderSpecificInfo
            return descriptors[at : at + size]
        at += skipped.get(tag, size)
    return b""


def _units(data: bytes, header: FileFormat) -> Iterator[bytes]:
    """Yield the parameter sets at the start of a picture, up to its first slice."""
    at, types = 0, _SET_TYPES[header.codec]
    while at + header.length_bytes < len(data):
        size = int.from_bytes(data[at : at + header.length_bytes], "big")
        at += header.length_bytes
        unit, at = data[at : at + size], at + size
        if len(unit) < size or not unit:
            return
        kind = _unit_type(unit, header.codec)
        if _is_slice(kind, header.codec):
            return
        if kind in types:
            yield unit


def _unit_type(unit: bytes, codec: str) -> int:
    return unit[0] & 0x1F if codec == _H264 else unit[0] >> 1 & 0x3F


def _is_slice(kind: int, codec: str) -> bool:
    return 1 <= kind <= 5 if codec == _H264 else kind < 32  # noqa: PLR2004 - VCL units, table 7-1
