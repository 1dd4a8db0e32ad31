"""Boxes of a file or of bytes (ISO/IEC 14496-12, 4.2), as far as a recorder must walk them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Final, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_AHEAD_BYTES: Final = 2048
"""What a fragment's header takes, at 25 frames and some sound."""
_HEADER_BYTES: Final = 8
_LARGE_HEADER_BYTES: Final = 16
_HEADER: Final = struct.Struct(">I4s")
_LARGE_SIZE: Final = struct.Struct(">Q")
_MAX_META_BYTES: Final = 16 * 1024 * 1024
"""A ``moov`` or ``moof`` above this is no recorder's work; it is not read into memory."""


class NotFragmentedMp4(ValueError):
    """The file does not begin like a fragmented MP4 with at least one video track."""


def of_whole_boxes(read: Callable[P, T]) -> Callable[P, T]:
    """Have ``read`` raise NotFragmentedMp4 where a box ends before its fields do."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except struct.error as error:
            raise NotFragmentedMp4("a header cut short") from error

    return reading


class Box(NamedTuple):
    """A box's four-letter type, its first byte, where its payload begins and where it ends."""

    kind: bytes
    start: int
    payload: int
    end: int


class BoxReader:
    """Reads a file's boxes, a little ahead: a fragment's header and the next box's come in one call."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0
        self._bytes = b""

    def boxes(self, size: int) -> Iterator[Box]:
        """Yield the boxes that are whole within ``size`` bytes."""
        position = 0
        while (box := self.box(position)) is not None and box.end <= size:
            yield box
            position = box.end

    def box(self, position: int) -> Box | None:
        """Return the box that begins at ``position``, None where there is no whole header."""
        found = _extent(self._read(position, _LARGE_HEADER_BYTES), 0)
        if found is None:
            return None
        kind, header_bytes, size = found
        return Box(kind, position, position + header_bytes, position + size)

    def payload(self, box: Box) -> bytes:
        """Return what is in a box; raise NotFragmentedMp4 for one that no recorder would write."""
        length = box.end - box.payload
        if length > _MAX_META_BYTES:
            raise NotFragmentedMp4(f"a {box.kind!r} box of {length} bytes")
        return self._read(box.payload, length)

    def _read(self, position: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``position``."""
        begin = position - self._at
        if begin < 0 or begin + length > len(self._bytes):
            self._at, begin = position, 0
            self._bytes = os.pread(self._fd, max(length, _AHEAD_BYTES), position)
        return self._bytes[begin : begin + length]


def _extent(data: bytes, offset: int) -> tuple[bytes, int, int] | None:
    """Return the type of the box at ``offset``, its header's length and its own; None for none."""
    if len(data) - offset < _HEADER_BYTES:
        return None
    size, kind = _HEADER.unpack_from(data, offset)
    header_bytes = _HEADER_BYTES
    if size == 1:
        if len(data) - offset < _LARGE_HEADER_BYTES:
            return None
        (size,) = _LARGE_SIZE.unpack_from(data, offset + _HEADER_BYTES)
        header_bytes = _LARGE_HEADER_BYTES
    # Size 0 means "to the end of the file": nobody can say that such a box is whole.
    return None if size < header_bytes else (kind, header_bytes, size)


def inside(data: bytes, kind: bytes) -> Iterator[bytes]:
    """Yield the payloads of the boxes of one type directly inside ``data``."""
    position = 0
    while (found := _extent(data, position)) is not None:
        each, header_bytes, size = found
        if position + size > len(data):
            return
        if each == kind:
            yield data[position + header_bytes : position + size]
        position += size


def first(data: bytes, *path: bytes) -> bytes:
    """Return the payload of the first box at ``path`` inside ``data``."""
    for kind in path:
        payload = next(inside(data, kind), None)
        if payload is None:
            raise NotFragmentedMp4(f"no {b'/'.join(path)!r} box")
        data = payload
    return data
