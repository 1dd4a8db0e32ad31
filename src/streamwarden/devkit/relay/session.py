"""One client's session and its traffic counters."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4


class SessionState(StrEnum):
    """MediaMTX's states; a session is idle until PLAY or RECORD."""

    IDLE = "idle"
    READ = "read"
    PUBLISH = "publish"


@dataclass(slots=True)
class Traffic:
    """Bytes on the wire and packets, one direction."""

    size_bytes: int = 0
    rtp: int = 0
    rtcp: int = 0

    def add(self, size_bytes: int, rtp: int = 0, rtcp: int = 0) -> None:
        """Add to the counters."""
        self.size_bytes += size_bytes
        self.rtp += rtp
        self.rtcp += rtcp


@dataclass(slots=True, eq=False)
class RelaySession:
    """A session over one TCP connection; ``secret`` is the value of the Session header."""

    connection_id: UUID
    remote: str
    path: str
    query: str = field(repr=False)
    user: str
    user_agent: str
    inbound: Traffic
    outbound: Traffic
    state: SessionState = SessionState.IDLE
    id: UUID = field(default_factory=uuid4)
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    channels: dict[int, int] = field(default_factory=dict)
    """The RTP channels by number of the track."""
