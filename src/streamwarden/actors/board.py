"""The last known status of every camera: what HTTP reads instead of asking actors."""

from __future__ import annotations

import threading
from uuid import UUID

from streamwarden.actors.messages import RecorderState, StreamStatus
from streamwarden.clock import Clock


class BoardEntry:
    """One camera's place on the board, held by the newest incarnation of its recorder."""

    def __init__(self, board: StatusBoard, camera_id: UUID) -> None:
        self._board = board
        self._camera_id = camera_id

    def put(self, status: StreamStatus) -> None:
        """Show ``status``, unless a later incarnation holds the entry."""
        self._board.put(self, status)

    def last(self) -> StreamStatus:
        """Return what is shown now."""
        return self._board.get(self._camera_id)


class StatusBoard:
    """A snapshot, one entry a camera. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._holders: dict[UUID, BoardEntry] = {}
        self._shown: dict[UUID, StreamStatus] = {}
        self._lock = threading.Lock()
        self._since = clock.now()

    def take_over(self, camera_id: UUID) -> BoardEntry:
        """Return the camera's entry; whoever held it before can no longer write."""
        entry = BoardEntry(self, camera_id)
        with self._lock:
            self._holders[camera_id] = entry
        return entry

    def put(self, holder: BoardEntry, status: StreamStatus) -> None:
        """Show ``status`` if ``holder`` still holds the camera's entry."""
        with self._lock:
            if self._holders.get(status.camera_id) is holder:
                self._shown[status.camera_id] = status

    def get(self, camera_id: UUID) -> StreamStatus:
        """Return the camera's status; ``stopped`` where nothing was ever wanted."""
        shown = self._shown.get(camera_id)
        if shown is not None:
            return shown
        return StreamStatus(camera_id=camera_id, status=RecorderState.STOPPED, since=self._since)

    def all(self) -> list[StreamStatus]:
        """Return every status that there is, by camera id."""
        with self._lock:
            shown = list(self._shown.values())
        return sorted(shown, key=lambda status: status.camera_id)

    def remove(self, camera_id: UUID) -> None:
        """Forget a camera that no longer exists."""
        with self._lock:
            self._holders.pop(camera_id, None)
            self._shown.pop(camera_id, None)
