"""What the streaming role's app needs from the rest of the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol
from uuid import UUID

from streamwarden.actors.messages import StartStream, StreamStatus


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A segment's file, open for reading; whoever takes it closes ``stream``."""

    stream: BinaryIO
    size_bytes: int
    modified_at: datetime
    etag: str


class Files(Protocol):
    """Knows where segments lie."""

    def open(self, camera_id: UUID, segment_id: UUID) -> OpenFile:
        """Open the file of a segment; raise NotFound where there is none."""


@dataclass(frozen=True, slots=True)
class FragmentEnd:
    """A fragment of a file: where it ends, and how long it plays."""

    end: int
    media_ms: int


class Fragments(Protocol):
    """Knows how segments' files are made up."""

    def of(self, camera_id: UUID, segment_id: UUID) -> Sequence[FragmentEnd]:
        """Return the fragments of a segment; raise NotFound where there is no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """What is played beside whole segments."""

    fragments: Fragments


class SegmentPath(Protocol):
    """What the index knows of a file: where it is under the record root, and when it ended."""

    @property
    def path(self) -> str:
        """Relative to the record root."""

    @property
    def ended_at(self) -> datetime:
        """When the segment was complete."""


class SegmentIndex(Protocol):
    """The index of segments."""

    def get(self, camera_id: UUID, segment_id: UUID) -> SegmentPath | None:
        """Return the segment, None where this camera has no such one."""
