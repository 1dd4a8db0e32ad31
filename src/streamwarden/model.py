"""What the tables hold, as values. Times are aware, in UTC, to the millisecond.

Why a wanted second was not recorded: one closed set for status, metrics and the ledger of gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A stretch of time, from inclusive, to exclusive."""

    from_: datetime
    to: datetime

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.to - self.from_

    def meets(self, started_at: datetime, ended_at: datetime) -> bool:
        """Tell whether any of it is within ``started_at`` to ``ended_at``."""
        return started_at < self.to and ended_at > self.from_

    def holds(self, other: TimeRange) -> bool:
        """Tell whether all of ``other`` is within this."""
        return self.from_ <= other.from_ and other.to <= self.to


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera as its administrator knows it; ``status`` is ``active`` or ``inactive``.

    ``source_url`` is where it is pulled from, None where it pushes; it never holds credentials.
    """

    id: UUID
    name: str
    path: str
    owner: str
    status: str
    created_at: datetime
    source_url: str | None = None
    source_credentials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a camera is pulled from; the credentials are sealed, None where there are none."""

    url: str
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSource:
    """A source and the camera that it is of."""

    camera_id: UUID
    path: str
    status: str
    url: str
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredStream:
    """What is wanted of one camera. ``epoch`` grows with every change and never goes back."""

    camera_id: UUID
    owner: str
    path: str
    wanted: bool
    epoch: int
    requested_by: str
    changed_at: datetime
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredChange:
    """A wish before and after ``want``; ``before`` is None where it was the first."""

    before: DesiredStream | None
    after: DesiredStream


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPeriod:
    """A stretch of time in which a camera's recording was wanted; still open without an end."""

    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A whole file on disk. ``path`` is relative to the record root.

    ``started_at`` and ``ended_at`` are the server's wall clock, ``media_ms`` the length of the
    media itself. ``salvaged`` marks a torn tail that was cut at its last whole fragment. ``digest``
    is BLAKE3 over the file, None where it was not taken. ``init_bytes`` is the size of its header
    (``ftyp`` and ``moov``), 0 where that could not be read.
    """

    id: UUID
    camera_id: UUID
    owner: str
    run: int
    number: int
    started_at: datetime
    ended_at: datetime
    media_ms: int
    size_bytes: int
    path: str
    salvaged: bool = False
    digest: bytes | None = None
    init_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Time that was wanted and not recorded; still open without an end."""

    id: UUID
    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """A signed statement about a camera's footage; ``hash`` is its SHA-256, ``number`` its place."""

    camera_id: UUID
    number: int
    hash: bytes
    until: datetime
    removed_until: datetime | None
    statement: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one camera's stored segments take up."""

    camera_id: UUID
    segments: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a user may do with someone else's camera; a window of recorded time, open where None."""

    user_sub: str
    action: str
    from_: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Tokens that count for nothing any more; an empty ``path`` or ``sub`` stands for any."""

    use: str
    path: str
    sub: str
    issued_before: datetime
    kicked_before: datetime | None
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedUser:
    """Somebody of whose tokens none counts."""

    user_sub: str
    blocked_by: str
    blocked_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Something that was done, or refused. ``subject`` is whom it was done to; ``detail`` is JSON."""

    id: UUID
    at: datetime
    who: str
    action: str
    outcome: str
    camera_id: UUID | None = None
    subject: str | None = None
    address: str = ""
    request_id: str | None = None
    detail: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T_co]):
    """Some items of a list; ``next_cursor`` asks for those that follow, None at the end."""

    items: tuple[T_co, ...]
    next_cursor: str | None = None


class Cause(StrEnum):
    """What stands in the way, in words that an operator can act on."""

    STARTING = "starting"
    """Nothing is wrong: the first frame is on its way."""
    SOURCE_OFFLINE = "source_offline"
    """Nobody publishes, or the publisher left."""
    SERVER_ERROR = "server_error"
    """The media server answered with an error, or not in RTSP."""
    UNAUTHORIZED = "unauthorized"
    """The media server refused the read token."""
    CONNECTION_REFUSED = "connection_refused"
    """No media server listens at that address."""
    UNREACHABLE = "unreachable"
    """The media server's name does not resolve, or no route leads there."""
    TIMEOUT = "timeout"
    """The media server did not answer in time."""
    STALLED = "stalled"
    """The connection stood and no media came."""
    FFMPEG_CRASHED = "ffmpeg_crashed"
    """FFmpeg ended by a signal or an exit code that nothing explains."""
    FFMPEG_MISSING = "ffmpeg_missing"
    """The FFmpeg program cannot be started."""
    UNSUPPORTED_MEDIA = "unsupported_media"
    """The camera sends what does not fit into MP4."""
    DISK_FULL = "disk_full"
    """No space is left under the record root."""
    NOT_WRITABLE = "not_writable"
    """The record root refuses writes."""
    TOKEN_UNAVAILABLE = "token_unavailable"  # noqa: S105 - a cause's name, not a secret
    """The API gave no read token for the spawn."""
    SERVER_DOWN = "server_down"
    """streamwarden itself did not run."""
    ACTOR_PARKED = "actor_parked"
    """The recorder's actor crashed too often and is parked."""
    SHUTDOWN = "shutdown"
    """streamwarden was stopped in order."""
    CLOCK_STEP = "clock_step"
    """The server's clock jumped forward: these seconds were never lived through."""
    FILE_LOST = "file_lost"
    """It was recorded, and its file has since disappeared."""
    INTERNAL = "internal"
    """A defect of streamwarden."""
