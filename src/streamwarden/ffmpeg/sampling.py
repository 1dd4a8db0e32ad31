"""Samples of a camera for the probe: some seconds of its packets, and what a recording makes of them.

FFmpeg reads the URL from a script on standard input (``concat`` demuxer), because it may hold a password
and every account of the machine can read a process's arguments.

Packets are read from FFmpeg's ``framecrc`` muxer, one line a packet: stream, dts, pts, duration, size,
checksum, and ``F=`` with the flags unless the packet is a plain key frame
(``libavformat/framecrcenc.c``). Its header lines give each stream's time base, type, codec and size.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median_low
from typing import Final

from streamwarden.ffmpeg.command import ANSWER_TIMEOUT_S, PROTOCOLS, segment_output
from streamwarden.ffmpeg.exit_causes import RunEnd, classify
from streamwarden.ffmpeg.jobs import JobEnd, JobOrder, JobOutcome, JobRunner
from streamwarden.ffmpeg.sandbox import recorder_reach
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.model import Cause, Transport

_HEAD: Final = re.compile(r"#(\w+) (\d+): (\S+)")


_FLAGS: Final = re.compile(r"F=0x([0-9A-Fa-f]+)")


_MOST_LINE_CHARS: Final = 400


_MOST_PACKETS: Final = 200_000


_UNKNOWN: Final = -(2**63)
"""AV_NOPTS_VALUE."""


JUMP_S: Final = 2.0
"""A larger step between two packets is a jump: the camera's clock was set, or frames were lost."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; ``pts`` is in the track's time base.

    ``pts`` is None for a few packets before the first key frame, whose time FFmpeg does not know.
    """

    pts: int | None
    size_bytes: int
    key: bool


@dataclass(slots=True)
class PacketTrack:
    """The packets of one track, in order of arrival; ``kind`` and ``codec`` are FFmpeg's names."""

    kind: str = ""
    codec: str = ""
    tick_s: Fraction = Fraction(1, 90_000)
    width: int = 0
    height: int = 0
    packets: list[Packet] = field(default_factory=list)

    @property
    def times(self) -> list[int]:
        """The known ``pts`` values, in order of arrival."""
        return [packet.pts for packet in self.packets if packet.pts is not None]

    @property
    def seconds(self) -> float:
        """The media time from the first packet to the last, without the last one's duration."""
        times = self.times
        return float((max(times) - min(times)) * self.tick_s) if times else 0.0

    @property
    def per_second(self) -> float | None:
        """Packets per second by their median distance: for video the frame rate. None if there are too few.

        Not the mean: FFmpeg moves the first packets when the camera's clock becomes known.
        """
        steps = [after - before for before, after in pairwise(sorted(self.times)) if after > before]
        return float(1 / (median_low(steps) * self.tick_s)) if steps else None

    @property
    def bits_per_second(self) -> float | None:
        """The bit rate, None if there are too few packets."""
        timed = [packet for packet in self.packets if packet.pts is not None]
        if self.seconds <= 0:
            return None
        return 8 * sum(packet.size_bytes for packet in timed[:-1]) / self.seconds

    def key_frames_s(self) -> list[float]:
        """Return the times of the key frames, in seconds from the first packet."""
        first = next(iter(self.times), 0)
        return [float(((one.pts or 0) - first) * self.tick_s) for one in self.packets if one.key]

    def reordered(self) -> bool:
        """Return whether frames are presented in another order than they are sent (B-frames)."""
        limit = JUMP_S / float(self.tick_s)
        return any(0 < before - after < limit for before, after in pairwise(self.times))

    def stood_still_s(self) -> float:
        """Return the longest time for which the time stamps stood still.

        FFmpeg repeats the last time stamp instead of going back. Up to a second of it is normal at the
        beginning, when the first RTCP sender report gives the camera's clock.
        """
        longest = max((sum(1 for _ in same) for _, same in groupby(self.times)), default=0)
        return longest / (self.per_second or 1.0)

    def jumps_s(self) -> list[float]:
        """Return the jumps between successive time stamps, in seconds."""
        found = (float((after - before) * self.tick_s) for before, after in pairwise(self.times))
        return [step_s for step_s in found if abs(step_s) > JUMP_S]


class PacketReader:
    """Incremental parser of ``framecrc`` output; other lines are ignored."""

    def __init__(self) -> None:
        self._tracks: dict[int, PacketTrack] = {}
        self._rest = b""
        self.packets = 0
        """Number of packets so far."""

    @property
    def tracks(self) -> Sequence[PacketTrack]:
        """The tracks in stream order."""
        return [self._tracks[number] for number in sorted(self._tracks)]

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the output."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MOST_LINE_CHARS]
        for line in lines:
            self._line(line[:_MOST_LINE_CHARS].decode("ascii", "replace"))

    def _line(self, line: str) -> None:
        if found := _HEAD.match(line):
            # A value that is none, such as a time base of 1/0, is ignored like any other line.
            with suppress(ValueError, ZeroDivisionError):
                self._head(found[1], int(found[2]), found[3])
            return
        words = [word.strip() for word in line.split(",")]
        try:
            number, _, pts, _, size = (int(word) for word in words[:5])
        except ValueError:
            return  # not a packet
        if max(abs(pts), abs(size)) > -_UNKNOWN:
            return  # beyond the 64 bits that FFmpeg has
        self.packets += 1
        if self.packets > _MOST_PACKETS or number not in self._tracks:
            return
        flags = _FLAGS.search(line)
        key = flags is None or bool(int(flags[1], 16) & 1)
        self._tracks[number].packets.append(Packet(None if pts == _UNKNOWN else pts, size, key))

    def _head(self, what: str, number: int, value: str) -> None:
        if number >= _MOST_TRACKS:
            return
        track = self._tracks.setdefault(number, PacketTrack())
        match what:
            case "tb":
                tick_s = Fraction(value)
                if tick_s > 0 and max(tick_s.as_integer_ratio()) < _MOST_IN_TICK:
                    track.tick_s = tick_s
            case "media_type":
                track.kind = value
            case "codec_id":
                track.codec = value
            case "dimensions":
                width, _, height = value.partition("x")
                track.width, track.height = int(width), int(height)


_MOST_TRACKS: Final = 64


_MOST_IN_TICK: Final = 2**31
"""FFmpeg's AVRational holds two int."""


_STDERR_BYTES: Final = 64 * 1024


STARTS_WITHIN_S: Final = 25.0
"""The same time that a recorder waits for a run's first media."""


_PROBE_US: Final = 2_000_000


_ENDS_WITHIN_S: Final = 5.0


_PATTERN: Final = "sample-%06d.mp4"


_SEGMENT_SECONDS: Final = 3600
"""Longer than any sample, so that the recording is a single file."""


_STREAM: Final = re.compile(r"Stream #0:\d+[^:]*: (?:Video|Audio): (\w+)(?: \(([^()/]+)\))?(.*)")


_AUDIO: Final = re.compile(r", (\d+) Hz, ([^,]+)")


@dataclass(frozen=True, slots=True)
class TrackDescription:
    """FFmpeg's description of a track: codec, profile and, for audio, sample rate and channels."""

    codec: str
    profile: str | None
    sample_rate_hz: int | None
    channels: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The result of one sample. ``cause`` is None if media arrived until its end.

    ``audio`` is the way of recording sound that worked, None if MP4 can hold none of the tracks.
    """

    tracks: Sequence[PacketTrack]
    descriptions: Sequence[TrackDescription]
    cause: Cause | None
    audio: SoundWay | None


class Sampler:
    """Takes samples; the recording goes to ``folder``, which the caller removes."""

    def __init__(
        self,
        jobs: JobRunner,
        *,
        ffmpeg: str,
        folder: Path,
        starts_within_s: float = STARTS_WITHIN_S,
        transport: Transport = Transport.TCP,
    ) -> None:
        self._jobs = jobs
        self._starts_within_s = starts_within_s
        self._ffmpeg = ffmpeg
        self._folder = folder
        self._transport = transport

    def take(self, url: str, *, seconds: float, tracks: StreamTracks) -> Sample:
        """Return what ``url`` sends within ``seconds`` of its first packet, in all audio and video tracks.

        Meanwhile it is recorded as a recorder would: with sound that flows, or else the picture alone.
        """
        for audio in dict.fromkeys((tracks.sound_way, SoundWay.AAC, SoundWay.NONE)):
            if audio is SoundWay.AAC and tracks.sound is None:
                continue
            sample = self._take(url, seconds, audio)
            if sample.cause is not Cause.UNSUPPORTED_MEDIA:
                return sample
        return self._take(url, seconds, None)

    def _take(self, url: str, seconds: float, audio: SoundWay | None) -> Sample:
        reader, begun, ended = PacketReader(), threading.Event(), threading.Event()
        ends = list[JobEnd]()

        def on_output(data: bytes) -> None:
            reader.feed(data)
            if reader.packets:
                begun.set()

        def on_end(end: JobEnd) -> None:
            ends.append(end)
            begun.set()
            ended.set()

        order = JobOrder(
            argv=sample_argv(self._ffmpeg, audio=audio),
            folder=self._folder,
            timeout_s=seconds + self._starts_within_s,
            on_end=on_end,
            reach=recorder_reach(url),
            stdin=sample_script(url, self._transport),
            on_output=on_output,
            stderr_limit_bytes=_STDERR_BYTES,
        )
        job = self._jobs.run(order)
        # Timed by our clock: the camera's may jump, and the recording may never begin.
        if begun.wait(self._starts_within_s):
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
            cause=_cause(end, received=reader.packets > 0),
            audio=audio,
        )


_TRANSPORTS: Final = {Transport.UDP: "udp", Transport.MULTICAST: "udp_multicast"}
"""FFmpeg's words; TCP for any other."""


def sample_script(url: str, transport: Transport = Transport.TCP) -> bytes:
    """Return the concat script for ``url``, quoted for ``av_get_token``.

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
        f"option rtsp_transport {_TRANSPORTS.get(transport, 'tcp')}",
        f"option timeout {timeout_us}",
        f"option analyzeduration {_PROBE_US}",
    )
    return ("\n".join(lines) + "\n").encode()


def sample_argv(ffmpeg: str, *, audio: SoundWay | None) -> list[str]:
    """Return the arguments that list the packets of the script's input and record it.

    ``audio`` None: do not record.
    """
    recorded = segment_output(
        audio=audio or SoundWay.NONE,
        segment_seconds=_SEGMENT_SECONDS,
        pattern=_PATTERN,
    )
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", "-y"),
        *("-protocol_whitelist", f"pipe,udp,{PROTOCOLS}", "-analyzeduration", "1"),
        *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
        *("-map", "0:v?", "-map", "0:a?", "-c", "copy", "-copyinkf"),
        *("-flush_packets", "1", "-f", "framecrc", "pipe:1"),
        *(recorded if audio is not None else ()),
    ]


def describe_tracks(stderr: str) -> list[TrackDescription]:
    """Parse FFmpeg's description of its input's tracks."""
    found = []
    for codec, profile, rest in _STREAM.findall(stderr.partition("Output #0")[0]):
        audio = _AUDIO.match(rest)
        found.append(
            TrackDescription(
                codec,
                profile or None,
                int(audio[1]) if audio else None,
                audio[2] if audio else None,
            )
        )
    return found


def _cause(end: JobEnd, *, received: bool) -> Cause | None:
    if end.outcome is JobOutcome.NOT_STARTED:
        return Cause.FFMPEG_MISSING
    if end.outcome is JobOutcome.ENDED:
        return classify(_run_end(end, received=received))
    return None if received else Cause.TIMEOUT


def _run_end(end: JobEnd, *, received: bool) -> RunEnd:
    return RunEnd(
        exit_code=end.exit_code,
        stderr=end.stderr,
        wrote_media=received,
        asked_to_stop=False,
        killed=None,
        waited_s=0.0,
        answer_wait_s=ANSWER_TIMEOUT_S,
    )
