"""What the streaming role's app needs from the rest of the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol
from uuid import UUID

from streamwarden.actors.messages import StartStream, StreamStatus
from streamwarden.http.wire import ChildState, OwnedExport, RoleSummary, Supervision


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
    """A file, open for reading; whoever takes it closes ``stream``.

    ``whole`` means that it will never change.
    """

    stream: BinaryIO
    size_bytes: int
    modified_at: datetime
    etag: str
    whole: bool = True


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


class LivePart(Protocol):
    """Some bytes of a file; ``name`` is the one that it was recorded under."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as the class says
    @property
    def init_bytes(self) -> int: ...  # noqa: D102 - likewise
    @property
    def offset(self) -> int: ...  # noqa: D102 - likewise
    @property
    def size_bytes(self) -> int: ...  # noqa: D102 - likewise
    @property
    def media_ms(self) -> int: ...  # noqa: D102 - likewise
    @property
    def started_at(self) -> datetime: ...  # noqa: D102 - likewise


class LiveParts(Protocol):
    """The newest parts of a camera's files, and how the first is numbered."""

    @property
    def parts(self) -> Sequence[LivePart]: ...  # noqa: D102 - likewise
    @property
    def sequence(self) -> int: ...  # noqa: D102 - likewise
    @property
    def discontinuities(self) -> int: ...  # noqa: D102 - likewise
    @property
    def target_s(self) -> int: ...  # noqa: D102 - likewise


class LiveSource(Protocol):
    """Knows what is being recorded now."""

    def window(self, camera_id: UUID) -> LiveParts:
        """Return the newest parts; raise NotFound ``not_live`` while nothing is being recorded."""

    def open(self, camera_id: UUID, name: str) -> OpenFile:
        """Open one of the newest files; raise NotFound for every other name."""


class Pictures(Protocol):
    """Makes snapshots."""

    def take(self, camera_id: UUID, width: int) -> bytes:
        """Return the last picture as a JPEG; raise NotFound ``no_picture``, or Unavailable."""


class Insides(Protocol):
    """What operators are shown of the role. Each call is bounded; raises Unavailable past that."""

    def summary(self) -> RoleSummary:
        """Return cameras by state, disk and index."""

    def supervision(self) -> Supervision:
        """Return the tree."""

    def restart(self, child_id: str) -> ChildState:
        """Restart a child; raise NotFound ``child_not_found``, Conflict ``not_restartable``."""


class Exports(Protocol):
    """Makes exports; raises NotFound ``export_not_found`` for what is not there."""

    def add(self, camera_id: UUID, user_id: str, from_: datetime, to: datetime, /) -> OwnedExport:
        """Order one; raise NotFound ``nothing_recorded``, InvalidInput, or Unavailable."""

    def of_camera(self, camera_id: UUID, /) -> list[OwnedExport]:
        """Return a camera's, newest first."""

    def get(self, camera_id: UUID, export_id: UUID, /) -> OwnedExport:
        """Return one."""

    def cancel(self, camera_id: UUID, export_id: UUID, /) -> OwnedExport:
        """End one, or delete its file."""

    def open(self, camera_id: UUID, export_id: UUID, /) -> OpenFile:
        """Open the file of one that is done."""

    def proof(self, camera_id: UUID, export_id: UUID, /) -> bytes:
        """Return the proof of one that is done; raise NotFound ``proof_not_available``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """What is played beside whole segments."""

    fragments: Fragments
    live: LiveSource
    pictures: Pictures
    exports: Exports


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
