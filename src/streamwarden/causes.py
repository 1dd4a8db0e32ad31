"""Why a wanted second was not recorded: one closed set for status, metrics and the ledger of gaps."""

from __future__ import annotations

from enum import StrEnum


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
    INTERNAL = "internal"
    """A defect of streamwarden."""
