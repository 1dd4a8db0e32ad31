"""Some seconds of a camera, taken to look at: its packets, and what a recording makes of them.

FFmpeg gets the URL by a script on its standard input and not among its arguments, which every account
of the machine may read: the URL holds a password. (The ``concat`` demuxer's script can name any URL,
with options of its own.)


What a stream's packets say of it: frame rate, key frames, bit rate, order, jumps.

Source: FFmpeg's ``framecrc`` muxer, one line a packet: stream, dts, pts, duration, size, checksum, and
``F=`` with the flags unless it is a key frame's alone (``libavformat/framecrcenc.c``). Its head names
each stream's time base, kind, codec and size.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median_low
from typing import Final

from streamwarden.ffmpeg.command import ANSWER_TIMEOUT_S, PROTOCOLS, segment_output
from streamwarden.ffmpeg.exit_causes import RunEnd, classify
from streamwarden.ffmpeg.jobs import JobEnd, JobOrder, JobOutcome, JobRunner
from streamwarden.model import Cause

_HEAD: Final = re.compile(r"#(\w+) (\d+): (\S+)")


_FLAGS: Final = re.compile(r"F=0x([0-9A-Fa-f]+)")


_MOST_LINE_CHARS: Final = 400


_MOST_PACKETS: Final = 200_000


_UNKNOWN: Final = -(2**63)
"""AV_NOPTS_VALUE."""


JUMP_S: Final = 2.0
"""Two packets in a row whose times are further apart than this: a clock that was set, or lost frames."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: when it is shown in the track's time base, its size, and whether it is a key frame.

    FFmpeg does not know the time of a few packets before the first key frame: ``pts`` is None then.
    """

    pts: int | None
    size_bytes: int
    key: bool


@dataclass(slots=True)
class PacketTrack:
    """One track's packets, in the order in which they came; ``kind`` and ``codec`` are FFmpeg's words."""

    kind: str = ""
    codec: str = ""
    tick_s: Fraction = Fraction(1, 90_000)
    width: int = 0
    height: int = 0
    packets: list[Packet] = field(default_factory=list)

    @property
    def times(self) -> list[int]:
        """When each packet is shown, as far as that is known, in the order in which they came."""
        return [packet.pts for packet in self.packets if packet.pts is not None]

    @property
    def seconds(self) -> float:
        """How much media time there is, without the last packet's own duration."""
        times = self.times
        return float((max(times) - min(times)) * self.tick_s) if times else 0.0

    @property
    def per_second(self) -> float | None:
        """Packets a second, by the distance that most have: of video the frame rate.

        FFmpeg moves the first few when the camera's clock becomes known, so the mean would be wrong.
        None where there are too few to tell.
        """
        steps = [after - before for before, after in pairwise(sorted(self.times)) if after > before]
        return float(1 / (median_low(steps) * self.tick_s)) if steps else None

    @property
    def bits_per_second(self) -> float | None:
        """The bit rate. None where there are too few packets to tell."""
        timed = [packet for packet in self.packets if packet.pts is not None]
        if self.seconds <= 0:
            return None
        return 8 * sum(packet.size_bytes for packet in timed[:-1]) / self.seconds

    def key_frames_s(self) -> list[float]:
        """Return when each key frame was, in seconds from the first packet."""
        first = next(iter(self.times), 0)
        return [float(((one.pts or 0) - first) * self.tick_s) for one in self.packets if one.key]

    def reordered(self) -> bool:
        """Whether pictures are shown in another order than they are sent in: B-frames."""
        limit = JUMP_S / float(self.tick_s)
        return any(0 < before - after < limit for before, after in pairwise(self.times))

    def stood_still_s(self) -> float:
        """Return how long time stamps have stood still.

        FFmpeg lets those that go back stand still until they have caught up. It does so for up to a
        second at the beginning, when the first sender report tells the camera's clock.
        """
        longest = max((sum(1 for _ in same) for _, same in groupby(self.times)), default=0)
        return longest / (self.per_second or 1.0)

    def jumps_s(self) -> list[float]:
        """Return by how much the time stamps jump where they do, in seconds."""
        found = (float((after - before) * self.tick_s) for before, after in pairwise(self.times))
        return [step_s for step_s in found if abs(step_s) > JUMP_S]


class PacketReader:
    """Reads ``framecrc``'s output as it comes; what is no line of its is passed over."""

    def __init__(self) -> None:
        self._tracks: dict[int, PacketTrack] = {}
        self._rest = b""
        self.packets = 0
        """How many have come."""

    @property
    def tracks(self) -> Sequence[PacketTrack]:
        """The tracks in their order."""
        return [self._tracks[number] for number in sorted(self._tracks)]

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MOST_LINE_CHARS]
        for line in lines:
            self._line(line[:_MOST_LINE_CHARS].decode("ascii", "replace"))

    def _line(self, line: str) -> None:
        if found := _HEAD.match(line):
            self._head(found[1], int(found[2]), found[3])
            return
        words = [word.strip() for word in line.split(",")]
        try:
            number, _, pts, _, size = (int(word) for word in words[:5])
        except ValueError:
            return  # a remark
        self.packets += 1
        if self.packets > _MOST_PACKETS or number not in self._tracks:
            return
        flags = _FLAGS.search(line)
        key = flags is None or bool(int(flags[1], 16) & 1)
        self._tracks[number].packets.append(Packet(None if pts == _UNKNOWN else pts, size, key))

    def _head(self, what: str, number: int, value: str) -> None:
        track = self._tracks.setdefault(number, PacketTrack())
        match what:
            case "tb" if Fraction(value) > 0:
                track.tick_s = Fraction(value)
            case "media_type":
                track.kind = value
            case "codec_id":
                track.codec = value
            case "dimensions":
                width, _, height = value.partition("x")
                track.width, track.height = int(width), int(height)


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
class TrackDescription:
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
    descriptions: Sequence[TrackDescription]
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
            stderr_limit_bytes=_SAID_BYTES,
        )
        job = self._jobs.run(order)
        # By our clock: the camera's may jump, and what is recorded may never begin.
        if came.wait(self._starts_within_s):
            ended.wait(seconds)
        self._jobs.cancel(job)
        ended.wait(_ENDS_WITHIN_S)
        end = (
            ends[0]
            if ends
            else JobEnd(outcome=JobOutcome.NOT_STARTED, exit_code=-1, output=b"", stderr="")
        )
        return Sample(
            tracks=reader.tracks,
            descriptions=describe_tracks(end.stderr),
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
    recorded = segment_output(
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


def describe_tracks(said: str) -> list[TrackDescription]:
    """Return what FFmpeg's lines about its input say of each track."""
    found = []
    for codec, profile, rest in _STREAM.findall(said.partition("Output #0")[0]):
        sound = _SOUND.match(rest)
        found.append(
            TrackDescription(
                codec,
                profile or None,
                int(sound[1]) if sound else None,
                sound[2] if sound else None,
            )
        )
    return found


def _cause(end: JobEnd, *, came: bool) -> Cause | None:
    if end.outcome is JobOutcome.NOT_STARTED:
        return Cause.FFMPEG_MISSING
    if end.outcome is JobOutcome.ENDED:
        return classify(_run_end(end, came=came))
    return None if came else Cause.TIMEOUT


def _run_end(end: JobEnd, *, came: bool) -> RunEnd:
    return RunEnd(
        exit_code=end.exit_code,
        stderr=end.stderr,
        wrote_media=came,
        asked_to_stop=False,
        killed=None,
        waited_s=0.0,
        answer_wait_s=ANSWER_TIMEOUT_S,
    )
