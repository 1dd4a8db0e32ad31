"""FFmpeg's command line for one run; every option's reason is in ``docs/design/0003-a-run.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from streamwarden.media.confinement import WITH_US
from streamwarden.media.names import live_pattern

ANSWER_TIMEOUT_S: Final = 5.0
"""FFmpeg's own ``-timeout``: connecting is bounded by it, reading by twice as much."""

PROTOCOLS: Final = "rtsp,rtsps,rtp,tcp,tls"
"""All that an FFmpeg which reads a camera may speak."""

_INTERLEAVE: Final = "500000"
"""Microseconds that a track waits for the other one: FFmpeg's own 10 s would hold back the picture of
a camera whose microphone falls silent until it looked stalled."""
_FRAGMENTS: Final = (
    "movflags=+frag_keyframe+empty_moov+default_base_moof"
    f":frag_duration=1000000:flush_packets=1:write_prft=wallclock:max_interleave_delta={_INTERLEAVE}"
)


class RunOrder(Protocol):
    """All that one FFmpeg life needs. ``url`` holds a token: keep it out of the repr."""

    @property
    def run(self) -> int:
        """The run's number."""

    @property
    def url(self) -> str:
        """Where to read from."""

    @property
    def segment_seconds(self) -> int:
        """How long a segment is to be; it ends at the first key frame from there on."""

    @property
    def folder(self) -> Path:
        """FFmpeg's working folder."""

    @property
    def audio(self) -> str:
        """``copy``, ``aac`` or ``none``."""

    @property
    def probe_s(self) -> float:
        """How long to look at the stream before deciding what it is."""


def recording_argv(ffmpeg: str, order: RunOrder) -> list[str]:
    """Return the arguments that record ``order.url`` into segments in the working folder."""
    return [
        *WITH_US,
        ffmpeg,
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"),
        *("-protocol_whitelist", PROTOCOLS),
        *("-analyzeduration", str(int(order.probe_s * 1_000_000))),
        *("-rtsp_transport", "tcp", "-timeout", str(int(ANSWER_TIMEOUT_S * 1_000_000))),
        *("-i", order.url),
        *into_segments(
            audio=order.audio,
            segment_seconds=order.segment_seconds,
            pattern=live_pattern(order.run),
        ),
    ]


def into_segments(*, audio: str, segment_seconds: int, pattern: str) -> list[str]:
    """Return what is made of an input: which tracks, how, and into which files."""
    return [
        *_tracks(audio),
        *("-max_interleave_delta", _INTERLEAVE),
        *("-f", "segment", "-segment_time", str(segment_seconds), "-reset_timestamps", "1"),
        *("-segment_list", "pipe:1", "-segment_list_type", "csv"),
        *("-segment_format", "mp4", "-segment_format_options", _FRAGMENTS),
        pattern,
    ]


def _tracks(audio: str) -> list[str]:
    """Return what is recorded of which track: the audio never costs the video."""
    video = ["-map", "0:v:0", "-c:v", "copy"]
    match audio:
        case "copy":
            return [*video, "-map", "0:a:0?", "-c:a", "copy"]
        case "aac":
            return [*video, "-map", "0:a:0?", "-c:a", "aac", "-b:a", "64k"]
        case "none":
            return video
        case _:
            raise ValueError(f"audio is copied, made AAC or left out, not {audio!r}")


ENVIRONMENT: Final = {"TZ": "UTC", "AV_LOG_FORCE_NOCOLOR": "1", "PATH": "/usr/bin:/bin"}
"""FFmpeg's whole environment: nothing of ours reaches it. PATH is for ``prlimit`` and ``setpriv`` alone."""
