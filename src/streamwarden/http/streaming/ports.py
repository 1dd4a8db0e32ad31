"""What the streaming role's app needs from the rest of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from streamwarden.actors.messages import StartStream, StreamStatus
from streamwarden.http.wire import ChildState, RoleSummary, Supervision
from streamwarden.recordings.exports import Exports
from streamwarden.recordings.live import ShelfSource
from streamwarden.recordings.snapshots import Pictures


class Gateway(Protocol):
    """The way into the actors. Each call is bounded in time; raises Unavailable past that."""

    def start(self, message: StartStream) -> StreamStatus:
        """Record this camera; raise Conflict ``other_owner`` where another owner's is recorded."""

    def stop(self, camera_id: UUID) -> StreamStatus:
        """Record this camera no more."""

    def restart(self, camera_id: UUID) -> StreamStatus:
        """Replace the camera's FFmpeg, make before break."""

    def status(self, camera_id: UUID) -> StreamStatus:
        """Return the camera's status from the snapshot; ``stopped`` for one that is not known."""

    def statuses(self) -> list[StreamStatus]:
        """Return every status of the snapshot."""


class Insides(Protocol):
    """What operators are shown of the role. Each call is bounded; raises Unavailable past that."""

    def summary(self) -> RoleSummary:
        """Return cameras by state, disk and index."""

    def supervision(self) -> Supervision:
        """Return the tree."""

    def restart(self, child_id: str) -> ChildState:
        """Restart a child; raise NotFound ``child_not_found``, Conflict ``not_restartable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """What is played beside whole segments."""

    live: ShelfSource
    pictures: Pictures
    exports: Exports
