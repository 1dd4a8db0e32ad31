"""The values of the domain, most of them rows of tables.

Times are aware, in UTC, to the millisecond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID, uuid4

T_co = TypeVar("T_co", covariant=True)

STREAM_PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}")
"""A camera's path at the media server, without its leading slash."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of time: ``from_`` inclusive, ``to`` exclusive."""

    from_: datetime
    to: datetime

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.to - self.from_

    def overlaps(self, started_at: datetime, ended_at: datetime) -> bool:
        """Return whether any part of ``started_at`` to ``ended_at`` is inside."""
        return started_at < self.to and ended_at > self.from_

    def contains(self, started_at: datetime, ended_at: datetime) -> bool:
        """Return whether all of ``started_at`` to ``ended_at`` is inside."""
        return self.from_ <= started_at and ended_at <= self.to

    def clip(self, other: TimeRange) -> TimeRange | None:
        """Return the part of ``other`` that is inside, None where there is none."""
        from_ = max(other.from_, self.from_)
        to = min(other.to, self.to)
        return TimeRange(from_, to) if from_ < to else None


class Transport(StrEnum):
    """How the media server receives the media of a camera that it pulls (RFC 2326, section 12.39)."""

    AUTOMATIC = "automatic"
    """TCP; another one for a camera that refuses TCP."""
    TCP = "tcp"
    UDP = "udp"
    MULTICAST = "multicast"


class SourceTrouble(StrEnum):
    """Why a camera that is pulled gives the media server no stream: a closed set."""

    UNRESOLVED = "unresolved"
    NOT_ALLOWED = "not_allowed"
    CREDENTIALS = "credentials"
    CERTIFICATE = "certificate"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    TLS = "tls"
    TLS_NEEDED = "tls_needed"
    NOT_RTSP = "not_rtsp"
    REDIRECT = "redirect"
    LOGIN_MISSING = "login_missing"
    LOGIN_WRONG = "login_wrong"
    LOGIN_UNKNOWN = "login_unknown"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TRANSPORT_REFUSED = "transport_refused"
    NOT_ACCEPTABLE = "not_acceptable"
    BUSY = "busy"
    NO_SESSION = "no_session"
    SERVER_ERROR = "server_error"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera; ``status`` is ``active`` or ``inactive``.

    ``source_url`` is the URL that the media server pulls, None where the camera publishes. It never
    holds credentials. ``source_transport`` is None where the camera publishes.
    """

    id: UUID
    name: str
    path: str
    owner: str
    status: str
    created_at: datetime
    source_url: str | None = None
    source_credentials: bool = False
    source_transport: Transport | None = None
    owned_since: datetime | None = None
    """When it changed its owner for the last time; None: it always had this one."""

    def __post_init__(self) -> None:
        """Take the transport as the database has it, as text."""
        if self.source_transport is not None:
            object.__setattr__(self, "source_transport", Transport(self.source_transport))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The URL that a camera is pulled from, and its encrypted credentials, None where it has none."""

    url: str
    encrypted: bytes | None = field(default=None, repr=False)
    transport: Transport = Transport.AUTOMATIC

    def __post_init__(self) -> None:
        """Take the transport as the database has it, as text."""
        object.__setattr__(self, "transport", Transport(self.transport))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSource(Source):
    """A source, with its camera's path and status."""

    camera_id: UUID
    path: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredStream:
    """The desired state of one camera's stream. ``epoch`` grows with every change."""

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
    """A desired state before and after ``want``; ``before`` is None where it was the first."""

    before: DesiredStream | None
    after: DesiredStream


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPeriod:
    """A period in which a camera was to be recorded; ``ended_at`` is None while it lasts."""

    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stored segment: one file, and its row. ``path`` is relative to the record root.

    ``started_at`` and ``ended_at`` are the server's wall clock, ``media_ms`` is the duration of the media.
    ``salvaged``: a torn segment that was cut after its last complete fragment. ``digest`` is BLAKE3 over
    the file, None if unknown. ``init_bytes`` is the size of ``ftyp`` and ``moov``, 0 if unknown.
    ``holes`` are the times without pictures, as ``from-to`` in ms after the start, separated by blanks.
    ``error_ms``: the pictures were taken at most this long before or after what the dates say; None if
    unknown. ``standing``: its time stamps give its pictures no time; known where it is stored, and kept
    nowhere.
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
    holes: str = ""
    error_ms: int | None = None
    standing: bool = field(default=False, compare=False)

    @property
    def missing(self) -> list[TimeRange]:
        """The times inside without pictures."""
        bounds = (part.partition("-") for part in self.holes.split())
        return [
            TimeRange(
                self.started_at + timedelta(milliseconds=int(from_ms)),
                self.started_at + timedelta(milliseconds=int(to_ms)),
            )
            for from_ms, _, to_ms in bounds
        ]

    @property
    def pictures(self) -> list[TimeRange]:
        """The times inside with pictures."""
        begins = [self.started_at, *(each.to for each in self.missing)]
        ends = [*(each.from_ for each in self.missing), self.ended_at]
        both = (TimeRange(from_, to) for from_, to in zip(begins, ends, strict=True))
        return [each for each in both if each.from_ < each.to]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSegment:
    """The newest segment of a camera, for the status and the ledger file."""

    started_at: datetime
    ended_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Time that was wanted and not recorded; ``ended_at`` is None while it lasts."""

    id: UUID
    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None
    cause: str
    clock_set: bool = False
    """The clock was set back over it: it may also be recorded, under the former time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """A seal, that is, a signed statement about a camera's footage; ``hash`` is its SHA-256.

    ``number`` counts the camera's seals from 0.
    """

    camera_id: UUID
    number: int
    hash: bytes
    until: datetime
    removed_until: datetime | None
    statement: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The number and size of one camera's stored segments."""

    camera_id: UUID
    segments: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One action that a user may do with a camera of another owner.

    ``from_`` and ``until`` limit the action ``recordings`` to a range of recorded time; None: no limit.
    """

    user_sub: str
    action: str
    from_: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A rule that revokes tokens of one ``use`` that were issued up to ``issued_before``.

    An empty ``path`` or ``sub`` stands for any. ``kicked_before`` None: open sessions go on.
    """

    use: str
    path: str
    sub: str
    issued_before: datetime
    kicked_before: datetime | None
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedUser:
    """A blocked user: none of their tokens is accepted."""

    user_sub: str
    blocked_by: str
    blocked_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """An action that was done or refused. ``subject`` is the user it concerns, ``detail`` JSON text."""

    id: UUID = field(default_factory=uuid4)
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
    """One page of a list; ``next_cursor`` continues it, None at the end."""

    items: tuple[T_co, ...]
    next_cursor: str | None = None


class Cause(StrEnum):
    """The cause of a gap or of an error: a closed set for status, metrics and the ledger."""

    STARTING = "starting"
    """No error: the first frame has not arrived yet."""
    SOURCE_OFFLINE = "source_offline"
    """No publisher, or the publisher left."""
    SERVER_ERROR = "server_error"
    """The media server answered with an error, or the answer was not RTSP."""
    UNAUTHORIZED = "unauthorized"
    """The media server refused the read token."""
    CONNECTION_REFUSED = "connection_refused"
    """No media server listens at that address."""
    UNREACHABLE = "unreachable"
    """The media server's name does not resolve, or there is no route to it."""
    TIMEOUT = "timeout"
    """The media server did not answer in time."""
    PICTURES_MISSING = "pictures_missing"
    """The recording went on, and for a time no pictures came."""
    STALLED = "stalled"
    """The connection stayed open but no media arrived."""
    NO_KEY_FRAME = "no_key_frame"
    """Packets arrived, and no key frame with which a file can begin."""
    TIMESTAMPS_JUMPED = "timestamps_jumped"
    TIMESTAMPS_STANDING = "timestamps_standing"
    """The camera's time stamps jumped ahead; its FFmpeg was replaced without a gap."""
    FFMPEG_CRASHED = "ffmpeg_crashed"
    """FFmpeg ended by a signal or with an unknown exit code."""
    FFMPEG_MISSING = "ffmpeg_missing"
    """The FFmpeg program cannot be started."""
    UNSUPPORTED_MEDIA = "unsupported_media"
    """MP4 cannot hold the camera's media."""
    DISK_FULL = "disk_full"
    """No space is left under the record root."""
    NOT_WRITABLE = "not_writable"
    """The record root refuses writes."""
    RECORD_ROOT_MISSING = "record_root_missing"
    """The record root is not there: its file system is not mounted, or the folder is empty."""
    RECORD_ROOT_CHANGED = "record_root_changed"
    """Another record root or file system is in the place of the known one."""
    RECORD_ROOT_READ_ONLY = "record_root_read_only"
    """The record root's file system has become read-only."""
    RECORD_ROOT_HANGS = "record_root_hangs"
    """The record root's file system does not answer."""
    TOKEN_UNAVAILABLE = "token_unavailable"  # noqa: S105 - a cause's name, not a secret
    """The API gave no read token for the spawn."""
    SERVER_DOWN = "server_down"
    """streamwarden was not running."""
    ACTOR_PARKED = "actor_parked"
    """The recorder's actor crashed too often and is parked."""
    SHUTDOWN = "shutdown"
    """streamwarden was shut down in order."""
    CLOCK_STEP = "clock_step"
    """The server's clock jumped forward; these seconds did not exist."""
    FILE_LOST = "file_lost"
    """The file was recorded and has disappeared since."""
    INTERNAL = "internal"
    """A bug in streamwarden."""


OF_THE_ROOT = (
    Cause.RECORD_ROOT_MISSING,
    Cause.RECORD_ROOT_CHANGED,
    Cause.RECORD_ROOT_READ_ONLY,
    Cause.RECORD_ROOT_HANGS,
    Cause.NOT_WRITABLE,
)
"""The causes for which a record root as a whole cannot be recorded into."""
