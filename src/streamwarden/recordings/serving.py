"""How stored segments' files are made up, for whoever must cut one."""

from __future__ import annotations

import os
from uuid import UUID

from streamwarden.errors import SegmentNotFound
from streamwarden.http.streaming.ports import FragmentEnd
from streamwarden.http.streaming.stored_files import IndexedFiles
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FragmentScan


class StoredFragments:
    """Reads a segment's structure from its file; its media data are not touched."""

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files

    def of(self, camera_id: UUID, segment_id: UUID) -> list[FragmentEnd]:
        """Return the fragments of a segment; raise SegmentNotFound where there is no such file."""
        with self._files.open(camera_id, segment_id).stream as file:
            size = os.fstat(file.fileno()).st_size
            try:
                found = list(FragmentScan().advance(file.fileno(), size))
            except NotFragmentedMp4 as error:
                raise SegmentNotFound("the segment's file cannot be read") from error
        return [FragmentEnd(one.end, one.media_ms) for one in found]
