"""The muxer's own index at the end of a finished file: where each track's fragments begin.

Source: ISO/IEC 14496-12 (ISO BMFF): ``mfra`` (8.8.9), ``tfra`` (8.8.10) and ``mfro`` (8.8.11), which is
the file's last box and says how long the ``mfra`` around it is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamwarden.media.boxes import NotFragmentedMp4, inside

_READ_BYTES: Final = 4096
"""What a minute of two tracks takes, with a fragment a second."""
_MAX_BYTES: Final = 16 * 1024 * 1024
_MFRO: Final = struct.Struct(">I4sII")
_HEADER: Final = struct.Struct(">I4s")
_TFRA: Final = struct.Struct(">BxxxIII")


@dataclass(frozen=True, slots=True)
class Extent:
    """How many fragments a track has, and where its first and last ``moof`` begin."""

    fragments: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Trailer:
    """Where the ``mfra`` begins, and by track id where the fragments are that it tells of."""

    start: int
    tracks: Mapping[int, Extent]

    @property
    def first(self) -> int:
        """Where the file's first ``moof`` begins."""
        return min(extent.first for extent in self.tracks.values())

    @property
    def last(self) -> int:
        """Where the file's last ``moof`` begins."""
        return max(extent.last for extent in self.tracks.values())


def read_trailer(fd: int, size: int) -> Trailer:
    """Read the index that ends a file of ``size`` bytes.

    Raises:
        NotFragmentedMp4: there is none, or it tells of no fragment before it.
    """
    try:
        payload = _payload(fd, size)
        tracks = dict(found for tfra in inside(payload, b"tfra") for found in _extent(tfra))
    except struct.error as error:
        raise NotFragmentedMp4("a trailer cut short") from error
    if not tracks:
        raise NotFragmentedMp4("a trailer without fragments")
    trailer = Trailer(size - len(payload) - _HEADER.size, tracks)
    if trailer.last >= trailer.start:
        raise NotFragmentedMp4("a trailer that tells of fragments after it")
    return trailer


def _payload(fd: int, size: int) -> bytes:
    end = os.pread(fd, _READ_BYTES, max(0, size - _READ_BYTES))
    if len(end) < _MFRO.size:
        raise NotFragmentedMp4("no trailer")
    _, kind, _, length = _MFRO.unpack_from(end, len(end) - _MFRO.size)
    if kind != b"mfro" or not _HEADER.size + _MFRO.size <= length <= min(size, _MAX_BYTES):
        raise NotFragmentedMp4("no trailer")
    mfra = end[-length:] if length <= len(end) else os.pread(fd, length, size - length)
    if _HEADER.unpack_from(mfra) != (length, b"mfra"):
        raise NotFragmentedMp4("no trailer where the file's last box says")
    return mfra[_HEADER.size :]


def _extent(tfra: bytes) -> list[tuple[int, Extent]]:
    version, track_id, lengths, count = _TFRA.unpack_from(tfra)
    if count == 0:
        return []
    time_bytes = 8 if version == 1 else 4
    numbers_bytes = sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0))
    offset = struct.Struct(">Q" if version == 1 else ">I")
    begin = _TFRA.size + time_bytes
    step = time_bytes + offset.size + numbers_bytes
    (first,) = offset.unpack_from(tfra, begin)
    (last,) = offset.unpack_from(tfra, begin + (count - 1) * step)
    return [(track_id, Extent(count, first, last))]
