"""What is being recorded now, as the streaming role's HTTP serves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from streamwarden.errors import NotFound
from streamwarden.http.streaming.ports import OpenFile
from streamwarden.media.live import LiveWindow
from streamwarden.media.live_shelf import LiveShelf


class NotLive(NotFound):
    """Nothing is being recorded, or nothing has been shown yet."""

    code = "not_live"


class LiveFileNotFound(NotFound):
    """No file of that name is open or has just been finished."""

    code = "segment_not_found"


class ShelfSource:
    """The shelf of a role that may not have started yet."""

    def __init__(self, shelf: Callable[[], LiveShelf]) -> None:
        self._shelf = shelf

    def window(self, camera_id: UUID) -> LiveWindow:
        """Return the newest parts; raise NotLive while nothing is being recorded."""
        found = self._shelf().window(camera_id)
        if found is None:
            raise NotLive("nothing is being recorded of this camera now")
        return found

    def open(self, camera_id: UUID, name: str) -> OpenFile:
        """Open one of the newest files; raise LiveFileNotFound for every other name."""
        fd = self._shelf().open(camera_id, name)
        if fd is None:
            raise LiveFileNotFound("there is no such file, or no longer")
        stream = os.fdopen(fd, "rb")
        state = os.fstat(fd)
        return OpenFile(
            stream=stream,
            size_bytes=state.st_size,
            modified_at=datetime.fromtimestamp(int(state.st_mtime), UTC),
            etag=f"{name}-{state.st_size}",
            whole=False,
        )
