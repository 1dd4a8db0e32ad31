"""What a stream's packets say of it: frame rate, key frames, bit rate, order, jumps.

Source: FFmpeg's ``framecrc`` muxer, one line a packet: stream, dts, pts, duration, size, checksum, and
``F=`` with the flags unless it is a key frame's alone (``libavformat/framecrcenc.c``). Its head names
each stream's time base, kind, codec and size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from statistics import median_low
from typing import Final

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
