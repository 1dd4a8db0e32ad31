"""Some seconds of a camera, taken to look at: its packets, and what a recording makes of them.

FFmpeg gets the URL by a script on its standard input and not among its arguments, which every account
of the machine may read: the URL holds a password. (The ``concat`` demuxer's script can name any URL,
with options of its own.)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamwarden.causes import Cause
from streamwarden.media.causes import RunEnd, classify
from streamwarden.media.command import ANSWER_TIMEOUT_S, PROTOCOLS, into_segments
from streamwarden.media.jobs import JobEnd, JobOrder, JobRunner, Why
from streamwarden.media.packets import PacketReader, PacketTrack

_SAID_BYTES: Final = 64 * 1024
STARTS_WITHIN_S: Final = 25.0
"""As long as a recorder waits for a run's first media."""
_PROBE_US: Final = 2_000_000
_ENDS_WITHIN_S: Final = 5.0
_PATTERN: Final = "sample-%06d.mp4"
_SEGMENT_SECONDS: Final = 3600
"""Longer than any look: what is recorded of it is one file, of which nobody needs more."""
_STREAM: Final = re.compile(r"Stream #0:\d+[^:]*: (?:Video|Audio): (\w+)(?: \(([^()/]+)\))?(.*)")
_SOUND: Final = re.compile(r", (\d+) Hz, ([^,]+)")


@dataclass(frozen=True, slots=True)
class Described:
    """What FFmpeg says of a track in a line: the profile and, of sound, its rate and channels."""

    codec: str
    profile: str | None
    sample_rate_hz: int | None
    channels: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What came of a camera within some seconds. ``cause`` is None where media came to the end.

    ``audio`` is the way with the sound that a recording took, None where MP4 takes nothing of it.
    """

    tracks: Sequence[PacketTrack]
    described: Sequence[Described]
    cause: Cause | None
    audio: str | None


class Sampler:
    """Takes samples into ``folder``, which is the caller's to remove."""

    def __init__(
        self,
        jobs: JobRunner,
        *,
        ffmpeg: str,
        folder: Path,
        starts_within_s: float = STARTS_WITHIN_S,
    ) -> None:
        self._jobs = jobs
        self._starts_within_s = starts_within_s
        self._ffmpeg = ffmpeg
        self._folder = folder

    def take(self, url: str, *, seconds: float, ways: Sequence[str]) -> Sample:
        """Return what ``url`` sends within ``seconds`` of its first packet, every track that plays.

        It is recorded meanwhile as a recorder would, which tries ``ways`` with the sound in this order.
        """
        for audio in ways:
            sample = self._take(url, seconds, audio)
            if sample.cause is not Cause.UNSUPPORTED_MEDIA:
                return sample
        return self._take(url, seconds, None)

    def _take(self, url: str, seconds: float, audio: str | None) -> Sample:
        reader, came, ended = PacketReader(), threading.Event(), threading.Event()
        ends = list[JobEnd]()

        def on_output(data: bytes) -> None:
            reader.feed(data)
            if reader.packets:
                came.set()

        def on_end(end: JobEnd) -> None:
            ends.append(end)
            came.set()
            ended.set()

        order = JobOrder(
            argv=sample_argv(self._ffmpeg, audio=audio),
            folder=self._folder,
            timeout_s=seconds + self._starts_within_s,
            on_end=on_end,
            stdin=sample_script(url),
            on_output=on_output,
            said_limit_bytes=_SAID_BYTES,
        )
        job = self._jobs.run(order)
        # By our clock: the camera's may jump, and what is recorded may never begin.
        if came.wait(self._starts_within_s):
            ended.wait(seconds)
        self._jobs.cancel(job)
        ended.wait(_ENDS_WITHIN_S)
        end = ends[0] if ends else JobEnd(why=Why.NOT_STARTED, exit_code=-1, output=b"", said="")
        return Sample(
            tracks=reader.tracks,
            described=described(end.said),
            cause=_cause(end, came=reader.packets > 0),
            audio=audio,
        )


def sample_script(url: str) -> bytes:
    """Return the script that names ``url``, quoted as ``av_get_token`` reads it.

    Raises:
        ValueError: the URL has more than one line.
    """
    if len(url.splitlines()) != 1:
        raise ValueError("a URL of several lines")
    quoted = url.replace("'", r"'\''")
    timeout_us = int(ANSWER_TIMEOUT_S * 1_000_000)
    lines = (
        "ffconcat version 1.0",
        f"file '{quoted}'",
        "option rtsp_transport tcp",
        f"option timeout {timeout_us}",
        f"option analyzeduration {_PROBE_US}",
    )
    return ("\n".join(lines) + "\n").encode()


def sample_argv(ffmpeg: str, *, audio: str | None) -> list[str]:
    """Return the arguments that list the packets of what the script names, and record it.

    None for ``audio`` records nothing.
    """
    recorded = into_segments(
        audio=audio or "none", segment_seconds=_SEGMENT_SECONDS, pattern=_PATTERN
    )
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", "-y"),
        *("-protocol_whitelist", f"pipe,{PROTOCOLS}", "-analyzeduration", "1"),
        *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
        *("-map", "0:v?", "-map", "0:a?", "-c", "copy", "-copyinkf"),
        *("-flush_packets", "1", "-f", "framecrc", "pipe:1"),
        *(recorded if audio is not None else ()),
    ]


def described(said: str) -> list[Described]:
    """Return what FFmpeg's lines about its input say of each track."""
    found = []
    for codec, profile, rest in _STREAM.findall(said.partition("Output #0")[0]):
        sound = _SOUND.match(rest)
        found.append(
            Described(
                codec,
                profile or None,
                int(sound[1]) if sound else None,
                sound[2] if sound else None,
            )
        )
    return found


def _cause(end: JobEnd, *, came: bool) -> Cause | None:
    if end.why is Why.NOT_STARTED:
        return Cause.FFMPEG_MISSING
    if end.why is Why.ENDED:
        return classify(_run_end(end, came=came))
    return None if came else Cause.TIMEOUT


def _run_end(end: JobEnd, *, came: bool) -> RunEnd:
    return RunEnd(
        exit_code=end.exit_code,
        stderr=end.said,
        wrote_media=came,
        asked_to_stop=False,
        killed=None,
        waited_s=0.0,
        answer_wait_s=ANSWER_TIMEOUT_S,
    )
