"""Elementary streams of an odd camera: H.264 or H.265 in Annex B, encoded by FFmpeg, cut into pictures."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from streamwarden.errors import InvalidInput

Codec = Literal["h264", "h265"]

_ENCODED_WITHIN_S: Final = 120

_START_CODE: Final = re.compile(b"\x00\x00\x01")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKind:
    """The encoding of a stream; ``gop`` is the number of pictures from one key frame to the next."""

    codec: Codec = "h264"
    size: str = "320x240"
    gop: int = 10
    pictures: int = 60
    intra_refresh: bool = False
    """Key frames only at the start; afterwards a column of intra blocks moves through the picture."""


STREAMS: Final[Mapping[str, StreamKind]] = {
    "small": StreamKind(),
    "large": StreamKind(size="640x480"),
    "small_h265": StreamKind(codec="h265"),
    "large_h265": StreamKind(codec="h265", size="640x480"),
    "intra": StreamKind(gop=1, pictures=30),
    "gop_2": StreamKind(gop=2),
    "gop_32": StreamKind(gop=32, pictures=128),
    "gop_200": StreamKind(gop=200, pictures=200),
    "gop_600": StreamKind(gop=600, pictures=600),
    "gop_1500": StreamKind(gop=1500, pictures=1500),
    "intra_refresh": StreamKind(gop=50, pictures=100, intra_refresh=True),
}
"""The streams by name. At 10 pictures a second ``gop_600`` has a key frame a minute."""


@dataclass(frozen=True, slots=True)
class UnitTypes:
    """The types of NAL units that matter here (H.264 table 7-1, H.265 table 7-1)."""

    delimiter: int
    parameter_sets: tuple[int, ...]
    key_slices: frozenset[int]
    sei: frozenset[int]


_TYPES: Final[Mapping[Codec, UnitTypes]] = {
    "h264": UnitTypes(9, (7, 8), frozenset({5}), frozenset({6})),
    "h265": UnitTypes(35, (32, 33, 34), frozenset(range(16, 22)), frozenset({39, 40})),
}


def unit_type(codec: Codec, unit: bytes) -> int:
    """Return the type of a NAL unit."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


@dataclass(frozen=True, slots=True)
class Picture:
    """The NAL units of one coded picture, without its delimiter."""

    units: tuple[bytes, ...]
    is_key: bool


class ElementaryStream:
    """The pictures of one encoded stream, to be sent in a loop. Immutable."""

    def __init__(self, name: str, codec: Codec, data: bytes) -> None:
        self.name = name
        self.codec = codec
        self.types = _TYPES[codec]
        self.pictures: Sequence[Picture] = tuple(self._pictures(_units(data)))
        if not self.pictures or not self.pictures[0].is_key:
            raise InvalidInput(f"{name} does not begin with a key frame and its delimiter")

    @cached_property
    def parameter_sets(self) -> Sequence[bytes]:
        """The first parameter set of each type, in the order of the types."""
        found: dict[int, bytes] = {}
        for picture in self.pictures:
            for unit in picture.units:
                found.setdefault(unit_type(self.codec, unit), unit)
        return tuple(found[one] for one in self.types.parameter_sets if one in found)

    def without_parameter_sets(self, picture: Picture) -> tuple[bytes, ...]:
        """Return the picture's other units."""
        sets = self.types.parameter_sets
        return tuple(one for one in picture.units if unit_type(self.codec, one) not in sets)

    def _pictures(self, units: Iterable[bytes]) -> Iterable[Picture]:
        collected: list[bytes] = []
        for unit in units:
            if unit_type(self.codec, unit) != self.types.delimiter:
                collected.append(unit)
            elif collected:
                yield self._picture(collected)
                collected = []
        if collected:
            yield self._picture(collected)

    def _picture(self, units: Sequence[bytes]) -> Picture:
        is_key = any(unit_type(self.codec, one) in self.types.key_slices for one in units)
        return Picture(tuple(units), is_key)


class StreamLibrary:
    """The streams and sounds in a folder, each encoded when it is first asked for."""

    def __init__(self, ffmpeg: str, folder: Path) -> None:
        self._ffmpeg = ffmpeg
        self._folder = folder
        self._known: dict[str, ElementaryStream] = {}

    def stream(self, name: str) -> ElementaryStream:
        """Return the stream ``name`` of ``STREAMS``; raise CalledProcessError if FFmpeg cannot make it."""
        kind = STREAMS.get(name)
        if kind is None:
            raise InvalidInput(f"no such stream; there are {', '.join(STREAMS)}", field="stream")
        if name not in self._known:
            path = self.encoded(f"{name}.{kind.codec}", _arguments(kind))
            self._known[name] = ElementaryStream(name, kind.codec, path.read_bytes())
        return self._known[name]

    def encoded(self, name: str, arguments: Sequence[str]) -> Path:
        """Return the file ``name``, which FFmpeg makes with ``arguments`` if it is not there.

        It gets its name when it is complete, so that several processes may share the folder.
        """
        path = self._folder / name
        if not path.exists():
            unfinished = path.with_name(f"{secrets.token_hex(4)}-{name}")
            quiet = (self._ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "error")
            subprocess.run(  # noqa: S603  # our FFmpeg
                [*quiet, *arguments, str(unfinished)],
                check=True,
                capture_output=True,
                timeout=_ENCODED_WITHIN_S,
            )
            unfinished.rename(path)
        return path


def _arguments(kind: StreamKind) -> Sequence[str]:
    """Return FFmpeg's arguments: each picture with a delimiter, each key frame with parameter sets."""
    source = ("-f", "lavfi", "-i", f"testsrc2=size={kind.size}:rate=10", "-frames:v",
              str(kind.pictures), "-preset", "ultrafast", "-pix_fmt", "yuv420p")  # fmt: skip
    if kind.codec == "h265":
        options = "log-level=error:pools=1:frame-threads=1:bframes=0:aud=1:repeat-headers=1"
        gop = f"keyint={kind.gop}:min-keyint={kind.gop}:scenecut=0"
        return (*source, "-c:v", "libx265", "-x265-params", f"{options}:{gop}", "-f", "hevc")
    refresh = int(kind.intra_refresh)
    return (*source, "-c:v", "libx264", "-threads", "1", "-sc_threshold", "0", "-g", str(kind.gop),
            "-keyint_min", str(kind.gop), "-x264-params",
            f"aud=1:bframes=0:intra-refresh={refresh}", "-f", "h264")  # fmt: skip


def _units(data: bytes) -> Iterable[bytes]:
    """Cut an Annex B stream at its start codes (H.264 and H.265, annex B)."""
    starts = [found.end() for found in _START_CODE.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    for start, end in zip(starts, ends, strict=True):
        if unit := data[start:end].rstrip(b"\x00"):
            yield unit
