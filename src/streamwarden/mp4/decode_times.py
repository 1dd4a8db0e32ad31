"""Decode times of a fragmented MP4, moved so that one file continues another.

The decode times of every file begin at 0. A player that follows no discontinuity, such as FFmpeg, takes
what begins at 0 again for old and drops it.

Source: ISO/IEC 14496-12, ``tfdt`` (8.8.12), ``tfhd`` (8.8.7), ``mdhd`` (8.4.2).
"""

from __future__ import annotations

import io
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from streamwarden.mp4.boxes import (
    BoxReader,
    NotFragmentedMp4,
    all_inside,
    first,
    inside,
    refuse_truncated,
)
from streamwarden.mp4.sound_offset import Change


@refuse_truncated
def moved_times(fd: int, size: int, by_ms: int) -> list[Change]:
    """Return what makes every decode time of a file later, in the order of the file.

    Raises:
        NotFragmentedMp4: there is no ``moov`` before the fragments, or the structure is damaged.
    """
    timescales: Mapping[int, int] = {}
    changes: list[Change] = []
    file = BoxReader(fd)
    for box in file.boxes(size):
        if box.kind == b"moov":
            timescales = _timescales(file.payload(box))
        elif box.kind == b"moof":
            changes += _moved(file.payload(box), box.payload, timescales, by_ms)
    if not timescales:
        raise NotFragmentedMp4("no movie header")
    return changes


def _timescales(moov: bytes) -> dict[int, int]:
    found = {}
    for trak in inside(moov, b"trak"):
        header, media = first(trak, b"tkhd"), first(trak, b"mdia", b"mdhd")
        (track,) = struct.unpack_from(">I", header, 20 if header[:1] == b"\x01" else 12)
        (found[track],) = struct.unpack_from(">I", media, 20 if media[:1] == b"\x01" else 12)
    return found


def _moved(moof: bytes, offset: int, timescales: Mapping[int, int], by_ms: int) -> Iterator[Change]:
    for at, kind, traf in _placed(moof):
        if kind != b"traf":
            continue
        (track,) = struct.unpack_from(">I", first(traf, b"tfhd"), 4)
        for inner, name, tfdt in _placed(traf):
            if name == b"tfdt":
                form = ">Q" if tfdt[:1] == b"\x01" else ">I"
                (begins,) = struct.unpack_from(form, tfdt, 4)
                moved = begins + by_ms * timescales.get(track, 0) // 1000
                if moved < 1 << 8 * struct.calcsize(form):
                    yield Change(offset + at + inner + 4, struct.pack(form, moved))


def _placed(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield offset of the payload, type and payload of each box directly inside ``data``."""
    position = 0
    for kind, payload in all_inside(data):
        (size,) = struct.unpack_from(">I", data, position)
        header = 16 if size == 1 else 8
        yield position + header, kind, payload
        position += header + len(payload)


class ChangedFile(io.RawIOBase):
    """An open file as it reads with some of its bytes replaced; the file itself is not touched."""

    def __init__(self, file: BinaryIO, changes: Sequence[Change]) -> None:
        super().__init__()
        self._file = file
        self._changes = changes
        self._offsets = [change.offset for change in changes]
        self._longest = max((len(change.data) for change in changes), default=0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        start = self._file.tell()
        data = bytearray(self._file.read(size))
        end = start + len(data)
        for index in range(bisect_left(self._offsets, start - self._longest), len(self._changes)):
            offset, new = self._changes[index].offset, self._changes[index].data
            if offset >= end:
                break
            low, high = max(offset, start), min(offset + len(new), end)
            if low < high:
                data[low - start : high - start] = new[low - offset : high - offset]
        return bytes(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
