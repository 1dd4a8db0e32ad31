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

from streamwarden.media.boxes import BoxReader, NotFragmentedMp4, inside, of_whole_boxes

_MFRO: Final = struct.Struct(">I4sII")
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


@of_whole_boxes
def read_trailer(fd: int, size: int) -> Trailer:
    """Read the index that ends a file of ``size`` bytes.

    Raises:
        NotFragmentedMp4: there is none, or it tells of no fragment before it.
    """
    start, payload = _mfra(fd, size)
    tracks = dict(found for tfra in inside(payload, b"tfra") for found in _extent(tfra))
    if not tracks:
        raise NotFragmentedMp4("a trailer without fragments")
    trailer = Trailer(start, tracks)
    if trailer.last >= trailer.start:
        raise NotFragmentedMp4("a trailer that tells of fragments after it")
    return trailer


def _mfra(fd: int, size: int) -> tuple[int, bytes]:
    """Return where the ``mfra`` begins that ends the file, and what is in it."""
    end = os.pread(fd, _MFRO.size, max(0, size - _MFRO.size))
    _, kind, _, length = _MFRO.unpack_from(end)
    if kind != b"mfro" or length > size:
        raise NotFragmentedMp4("no trailer")
    file = BoxReader(fd)
    box = file.box(size - length)
    if box is None or box.kind != b"mfra" or box.end != size:
        raise NotFragmentedMp4("no trailer where the file's last box says")
    return box.start, file.payload(box)


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
