"""A file of silence in the format of another file's sound, to fill the time in which there was none.

Players date sound by what they have played: Chromium plays sound that follows a pause too early.

Source: ISO/IEC 14496-12, sample tables (8.6.1.2, 8.7.3, 8.7.4, 8.7.5); ISO/IEC 14496-3,
AudioSpecificConfig (1.6.2.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from streamwarden.mp4.boxes import all_inside, first, inside, refuse_truncated

_FRAME_SAMPLES: Final = 1024

_SILENT_FRAMES: Final = {1: bytes.fromhex("00c800802380"), 2: bytes.fromhex("210049900219002380")}
"""A frame of AAC-LC without sound, by channels; the same for every sample rate."""

_AAC_LC: Final = 2

LONGEST_MS: Final = 6 * 3_600_000

_FROM_SAMPLE_TABLE: Final = frozenset({b"stts", b"stsc", b"stsz", b"stz2", b"stco", b"co64"})


def can_be_silent(sound: tuple[str, int, int, bytes]) -> bool:
    """Whether silence can be made in this format (``FileFormat.sound``): AAC-LC of one or two channels."""
    kind, _, rate, config = sound
    return kind == "mp4a" and rate > 0 and _channels(config) in _SILENT_FRAMES


def _channels(config: bytes) -> int:
    """Return the channels of AAC-LC, 0 for another codec."""
    if len(config) < 2 or config[0] >> 3 != _AAC_LC:  # noqa: PLR2004 - its two fixed bytes
        return 0
    return config[1] >> 3 & 0xF


@refuse_truncated
def silence_like(moov: bytes, sound: tuple[str, int, int, bytes], length_ms: int) -> bytes:
    """Return an MP4 file with at least so much silence, in the format of the sound track in ``moov``.

    Only for sound that `can_be_silent`.
    """
    frame = _SILENT_FRAMES[_channels(sound[3])]
    count = min(length_ms, LONGEST_MS) * sound[2] // 1000 // _FRAME_SAMPLES + 2
    trak = next(one for one in inside(moov, b"trak") if _is_sound(one))
    ftyp = _box(b"ftyp", b"isom" + bytes(4) + b"isomiso2mp41")
    header = _movie(moov, trak, count, len(frame), 0)
    header = _movie(moov, trak, count, len(frame), len(ftyp) + len(header) + 8)
    return ftyp + header + _box(b"mdat", frame * count)


def _is_sound(trak: bytes) -> bool:
    return first(trak, b"mdia", b"hdlr")[8:12] == b"soun"


def _movie(moov: bytes, trak: bytes, count: int, size: int, offset: int) -> bytes:
    media = b"".join(
        _box(kind, b"".join(_information(data, count, size, offset)) if kind == b"minf" else data)
        for kind, data in all_inside(first(trak, b"mdia"))
    )
    track = _box(b"tkhd", first(trak, b"tkhd")) + _box(b"mdia", media)
    return _box(b"moov", _box(b"mvhd", first(moov, b"mvhd")) + _box(b"trak", track))


def _information(minf: bytes, count: int, size: int, offset: int) -> Iterator[bytes]:
    for kind, data in all_inside(minf):
        if kind != b"stbl":
            yield _box(kind, data)
            continue
        kept = (_box(*one) for one in all_inside(data) if one[0] not in _FROM_SAMPLE_TABLE)
        tables = [
            _box(b"stts", struct.pack(">IIII", 0, 1, count, _FRAME_SAMPLES)),
            _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, count, 1)),
            _box(b"stsz", struct.pack(">III", 0, size, count)),
            _box(b"stco", struct.pack(">III", 0, 1, offset)),
        ]
        yield _box(b"stbl", b"".join((*kept, *tables)))


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload
