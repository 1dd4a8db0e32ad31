"""The relay's limits on clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Limits of one relay; a client that exceeds one is refused or disconnected."""

    connections: int = 2048
    header_bytes: int = 16 * 1024
    sdp_bytes: int = 64 * 1024
    tracks: int = 16
    pipelined_requests: int = 8
    idle_s: float = 60.0
    """Idle timeout of a connection that neither reads nor publishes."""
    reader_queue_bytes: int = 4 * 1024 * 1024
    """A reader with a longer queue is disconnected."""
    reader_socket_bytes: int | None = None
    """SO_SNDBUF of a reader's socket; None: the kernel's default. Tests use a small one."""
    batch_s: float = 0.005
    """Frames of one path are collected for this time, then written to all readers."""
