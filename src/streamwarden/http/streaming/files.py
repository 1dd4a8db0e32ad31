"""Opens the files of segments, and nothing else that is on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import UUID

from streamwarden.errors import NotFound
from streamwarden.http.streaming.ports import OpenFile, SegmentIndex


class SegmentNotFound(NotFound):
    """No such segment of this camera, or its file is gone."""

    code = "segment_not_found"


class IndexedFiles:
    """The files that the index names, under the record root."""

    def __init__(self, index: SegmentIndex, record_root: Path) -> None:
        self._index = index
        self._root = record_root

    def open(self, camera_id: UUID, segment_id: UUID) -> OpenFile:
        """Open the file of a segment.

        Never by a symbolic link or from outside the record root, whatever the row says. The entity tag
        is the segment's id: a stored file never changes.

        Raises:
            SegmentNotFound: no such row, or no such file.
        """
        row = self._index.get(camera_id, segment_id)
        if row is None:
            raise SegmentNotFound("this camera has no such segment")
        stream = os.fdopen(_open_beneath(self._root, row.path), "rb")
        return OpenFile(
            stream=stream,
            size_bytes=os.fstat(stream.fileno()).st_size,
            modified_at=row.ended_at,
            etag=str(segment_id),
        )


def _open_beneath(root: Path, relative: str) -> int:
    try:
        real_root = root.resolve(strict=True)
        found = (real_root / relative).resolve(strict=True)
        if not found.is_relative_to(real_root) or found != real_root / relative:
            raise SegmentNotFound("the segment's file is not where recordings are kept")
        # The last name is not followed again: a link put there meanwhile is refused.
        opened = os.open(found, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL; RuntimeError: a loop
        raise SegmentNotFound("the segment's file is gone") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise SegmentNotFound("the segment's file is gone")
    return opened
