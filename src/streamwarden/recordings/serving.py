"""Stored segments, opened for reading: their bytes, and where they can be cut."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, cast
from uuid import UUID

from streamwarden.errors import SegmentNotFound
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.decode_times import ChangedFile, moved_times
from streamwarden.mp4.formats import FileFormat, file_format, read_moov
from streamwarden.mp4.fragments import Fragment, FragmentScan
from streamwarden.storage.recording_index import SegmentRepository

MOST_FORMATS: Final = 500
"""So many headers are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A file, open for reading; the receiver closes ``stream``.

    ``whole`` means that it will never change.
    """

    stream: BinaryIO
    size_bytes: int
    modified_at: datetime
    etag: str
    whole: bool = True


class IndexedFiles:
    """The files that the index names, below the record root. Blocking; any thread."""

    def __init__(self, segments: SegmentRepository, record_root: Path) -> None:
        self._segments = segments
        self._root = record_root

    def open(self, camera_id: UUID, segment_id: UUID, *, at_ms: int = 0) -> OpenFile:
        """Open the file of a segment; its decode times are later by ``at_ms``.

        A row with a path through a symbolic link or out of the record root opens nothing. The entity tag is
        the segment's id: a stored file never changes.

        Raises:
            SegmentNotFound: no such row, or no such file.
        """
        row = self._segments.get(camera_id, segment_id)
        if row is None:
            raise SegmentNotFound("this camera has no such segment")
        stream: BinaryIO = os.fdopen(_open_beneath(self._root, row.path), "rb")
        size = os.fstat(stream.fileno()).st_size
        if at_ms:
            stream = _moved(stream, size, at_ms)
        return OpenFile(
            stream=stream,
            size_bytes=size,
            modified_at=row.ended_at,
            etag=f"{segment_id}-{at_ms}" if at_ms else str(segment_id),
        )

    def formats(self, camera_id: UUID, from_: datetime, to: datetime) -> dict[UUID, str]:
        """Return the format of the tracks of the first segments of a range, equal where it is the same.

        A segment whose file is gone or cannot be read has none.
        """
        found = {}
        for row in self._segments.in_range(camera_id, from_, to, limit=MOST_FORMATS):
            try:
                fd = _open_beneath(self._root, row.path)
            except SegmentNotFound:
                continue
            try:
                found[row.id] = _format(file_format(read_moov(fd, os.fstat(fd).st_size)))
            except NotFragmentedMp4:
                continue
            finally:
                os.close(fd)
        return found

    def fragments(self, camera_id: UUID, segment_id: UUID) -> list[Fragment]:
        """Return the fragments of a segment's file, whose media data are not read.

        Raises:
            SegmentNotFound: as ``open``, or the file is not fragmented MP4.
        """
        with self.open(camera_id, segment_id).stream as file:
            size = os.fstat(file.fileno()).st_size
            try:
                return list(FragmentScan().advance(file.fileno(), size))
            except NotFragmentedMp4 as error:
                raise SegmentNotFound("the segment's file cannot be read") from error


def _moved(stream: BinaryIO, size: int, at_ms: int) -> BinaryIO:
    try:
        return cast("BinaryIO", ChangedFile(stream, moved_times(stream.fileno(), size, at_ms)))
    except NotFragmentedMp4 as error:
        stream.close()
        raise SegmentNotFound("the segment's file cannot be read") from error


def _format(header: FileFormat) -> str:
    """Return what a media player cannot change without a new start: codecs, size, the sound's format."""
    told = (header.codec, header.width, header.height, header.sound)
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def _open_beneath(root: Path, relative: str) -> int:
    try:
        real_root = root.resolve(strict=True)
        found = (real_root / relative).resolve(strict=True)
        if not found.is_relative_to(real_root) or found != real_root / relative:
            raise SegmentNotFound("the segment's file is not where recordings are kept")
        # The last component is not followed again: a link put there meanwhile is refused.
        opened = os.open(found, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL; RuntimeError: a loop
        raise SegmentNotFound("the segment's file is gone") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise SegmentNotFound("the segment's file is gone")
    return opened
