"""What the relay puts up with from its clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of one relay; past each of them the client at fault is refused or disconnected."""

    connections: int = 2048
    header_bytes: int = 16 * 1024
    sdp_bytes: int = 64 * 1024
    tracks: int = 16
    pipelined_requests: int = 8
    idle_s: float = 60.0
    """A connection that neither reads nor publishes is closed after this long without a request."""
    reader_queue_bytes: int = 4 * 1024 * 1024
    """A reader with more than this waiting for it is disconnected."""
    reader_socket_bytes: int | None = None
    """SO_SNDBUF of a reader's socket; None leaves it to the kernel. Tests make it small."""
    batch_s: float = 0.005
    """Frames of one path are gathered for this long and then written to each reader at once."""
