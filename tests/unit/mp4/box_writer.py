"""ISO BMFF boxes made by hand (ISO/IEC 14496-12), as a recorder's muxer writes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

VIDEO, AUDIO = 1, 2


def box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def large_box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def track(id_: int, *, handler: bytes = b"vide", timescale: int = 1000, version: int = 0) -> bytes:
    word = ">Q" if version else ">I"
    times = struct.pack(word, 0) * 2
    flags = bytes([version, 0, 0, 0])
    tkhd = box(b"tkhd", flags, times, struct.pack(">I", id_), bytes(60))
    mdhd = box(b"mdhd", flags, times, struct.pack(">I", timescale), bytes(8))
    hdlr = box(b"hdlr", bytes(8), handler, bytes(13))
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr))


def movie(*tracks: bytes, default_duration: int = 0) -> bytes:
    trex = box(b"trex", struct.pack(">IIIIII", 0, VIDEO, 1, default_duration, 0, 0))
    return box(b"moov", box(b"mvhd", bytes(100)), *tracks, box(b"mvex", trex))


def header(*, timescale: int = 1000, version: int = 0, sound: bool = True) -> bytes:
    video = track(VIDEO, timescale=timescale, version=version)
    tracks = [track(AUDIO, handler=b"soun"), video] if sound else [video]
    return box(b"ftyp", b"isom", bytes(4)) + movie(*tracks)


def run(durations: Sequence[int], *, offset: bool = True, sizes: bool = True) -> bytes:
    """A ``trun`` that says each sample's duration, and with ``sizes`` its size after it."""
    flags = 0x100 | 0x1 * offset | 0x200 * sizes
    head = struct.pack(">II", flags, len(durations)) + struct.pack(">I", 7) * offset
    samples = (struct.pack(">I", d) + struct.pack(">I", 99) * sizes for d in durations)
    return box(b"trun", head, *samples)


def run_by_default(samples: int) -> bytes:
    return box(b"trun", struct.pack(">II", 0, samples))


def fragment(*truns: bytes, id_: int = VIDEO, default: int | None = None, data: int = 50) -> bytes:
    """``moof`` and ``mdat``; ``default`` is the ``tfhd``'s, after a base offset that is skipped."""
    flags = 0x1 | (0 if default is None else 0x8)
    duration = b"" if default is None else struct.pack(">I", default)
    tfhd = box(b"tfhd", struct.pack(">IIQ", flags, id_, 0), duration)
    return box(b"moof", box(b"traf", tfhd, *truns)) + box(b"mdat", bytes(data))


def timed_fragment(
    begins: int, durations: Sequence[int], *, id_: int = VIDEO, data: int = 50, version: int = 1
) -> bytes:
    """A fragment as FFmpeg's muxer writes it: ``prft`` before it, and ``tfdt`` inside."""
    tfhd = box(b"tfhd", struct.pack(">II", 0x20000, id_))
    tfdt = box(b"tfdt", struct.pack(">Bxxx" + ("Q" if version else "I"), version, begins))
    moof = box(b"moof", box(b"traf", tfhd, tfdt, run(durations)))
    return box(b"prft", bytes(24)) + moof + box(b"mdat", bytes(data))


def trailer(tracks: Mapping[int, Sequence[int]], *, version: int = 1) -> bytes:
    """``mfra`` with the offsets of each track's ``moof`` boxes, and the time 0 for all of them."""
    word = "Q" if version else "I"
    tables = [
        box(
            b"tfra",
            struct.pack(">BxxxIII", version, id_, 0, len(offsets)),
            *(struct.pack(f">{word}{word}BBB", 0, offset, 1, 1, 1) for offset in offsets),
        )
        for id_, offsets in tracks.items()
    ]
    length = 8 + sum(map(len, tables)) + 16
    return box(b"mfra", *tables, box(b"mfro", bytes(4), struct.pack(">I", length)))


def moofs(content: bytes) -> list[int]:
    """Return where the ``moof`` boxes of a file begin."""
    found, position = [], 0
    while position < len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        found += [position] if kind == b"moof" else []
        position += size
    return found
