"""RTP packets of pictures and sound, and RTCP sender reports (RFC 3550, RFC 6184, RFC 7798)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streamwarden.devkit.odd_camera.elementary_streams import Codec, unit_type

_PAYLOAD_BYTES: Final = 1300

_FIRST, _LAST = 0x80, 0x40  # bits S and E of a fragment's header

_FRAGMENT_H264, _FRAGMENT_H265 = 28, 49  # FU-A, FU

_NTP_EPOCH_S: Final = 2_208_988_800  # from 1900 to 1970, RFC 5905 section 6


@dataclass(slots=True)
class RtpSender:
    """The packets of one track to one viewer, numbered."""

    payload_type: int
    source: int
    sequence: int = 1000
    packets: int = 0
    octets: int = 0
    stamp: int = 0

    def packet(self, payload: bytes, stamp: int, *, marker: bool) -> bytes:
        """Return the next packet."""
        self.stamp = stamp & 0xFFFFFFFF
        kind = self.payload_type | (0x80 if marker else 0)
        head = struct.pack(">BBHII", 0x80, kind, self.sequence, self.stamp, self.source)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return head + payload

    def report(self, clock_s: float) -> bytes:
        """Return a sender report that gives the last packet's timestamp the Unix time ``clock_s``."""
        ntp = round((clock_s + _NTP_EPOCH_S) * 2**32) & (2**64 - 1)
        counts = (self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF)
        return struct.pack(">BBHIQIII", 0x80, 200, 6, self.source, ntp, self.stamp, *counts)


def payloads_of(
    codec: Codec, units: Sequence[bytes], *, marked: frozenset[int] = frozenset()
) -> Iterator[tuple[bytes, bool]]:
    """Return the payloads of one picture with their marker bits: on the last, and on ``marked`` types."""
    for number, unit in enumerate(units, 1):
        fragments = _fragments(codec, unit)
        ends_picture = number == len(units) or unit_type(codec, unit) in marked
        for count, fragment in enumerate(fragments, 1):
            yield fragment, ends_picture and count == len(fragments)


def _fragments(codec: Codec, unit: bytes) -> Sequence[bytes]:
    if len(unit) <= _PAYLOAD_BYTES:
        return (unit,)
    kind = unit_type(codec, unit)
    if codec == "h264":
        head, body = bytes(((unit[0] & 0xE0) | _FRAGMENT_H264,)), unit[1:]
    else:
        head, body = bytes(((unit[0] & 0x81) | _FRAGMENT_H265 << 1, unit[1])), unit[2:]
    starts = range(0, len(body), _PAYLOAD_BYTES)
    return tuple(
        head
        + bytes((kind | (_FIRST if at == 0 else 0) | (_LAST if at == starts[-1] else 0),))
        + body[at : at + _PAYLOAD_BYTES]
        for at in starts
    )
