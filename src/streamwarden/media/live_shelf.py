"""All cameras' files of this moment: what is watched live, and where a snapshot comes from."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock
from streamwarden.media.live import LiveCamera, LiveWindow
from streamwarden.media.live_files import Finished, LiveFiles
from streamwarden.media.names import parse_live

_TRIES: Final = 4


class LiveShelf:
    """Told by those who store segments, asked by those who watch. Any thread; asking holds up nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._files: dict[UUID, LiveFiles] = {}
        self._cameras: dict[UUID, LiveCamera] = {}
        self._lock = threading.Lock()

    def opened(self, camera_id: UUID, folder: Path) -> None:
        """A camera is recorded into ``folder``."""
        with self._lock:
            files = self._files.get(camera_id)
            if files is not None and files.folder == folder:
                return
            former = self._cameras.pop(camera_id, None)
            self._files[camera_id] = LiveFiles(folder)
        if former is not None:
            former.rest(at_once=True)

    def finished(
        self,
        camera_id: UUID,
        run: int,
        number: int,
        *,
        path: Path,
        started_at: datetime,
        ended_at: datetime,
    ) -> None:
        """A segment has moved to its final place."""
        if (files := self._files.get(camera_id)) is not None:
            files.finished((run, number), Finished(path, started_at, ended_at))

    def forget(self, camera_id: UUID) -> None:
        """Drop a camera."""
        with self._lock:
            self._files.pop(camera_id, None)
            former = self._cameras.pop(camera_id, None)
        if former is not None:
            former.rest(at_once=True)

    def close(self) -> None:
        """Let go of every file."""
        for camera_id in list(self._files):
            self.forget(camera_id)

    def window(self, camera_id: UUID) -> LiveWindow | None:
        """Return a camera's newest parts, None while it is not being recorded."""
        with self._lock:
            files = self._files.get(camera_id)
            if files is None:
                return None
            camera = self._cameras.setdefault(camera_id, LiveCamera(files, self._clock))
            others = [one for one in self._cameras.values() if one is not camera]
        for other in others:
            other.rest()
        return camera.window()

    def open(self, camera_id: UUID, name: str) -> int | None:
        """Open a file by the name that it was recorded under; None for all but the newest ones."""
        files, place = self._files.get(camera_id), parse_live(name)
        return None if files is None or place is None else files.open(place)

    def newest(self, camera_id: UUID) -> list[int]:
        """Open the newest files, newest first; the caller closes them."""
        files = self._files.get(camera_id)
        if files is None:
            return []
        opened = (files.open(place) for place in files.newest_first()[:_TRIES])
        return [fd for fd in opened if fd is not None]
