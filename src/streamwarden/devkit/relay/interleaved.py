"""Interleaved frames (RFC 2326 section 10.12): ``$``, channel, two bytes of length, payload.

Channels come in pairs that begin with an even number: RTP on the even one, RTCP on the odd one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

DOLLAR = 0x24


_HEADER_BYTES = 4


_SENDER_REPORT = 200  # RFC 3550 section 12.1


_SENDER_REPORT_BYTES = 20  # up to and including the RTP timestamp


_RTP_HEADER_BYTES = 12


@dataclass(frozen=True, slots=True)
class WholeFrames:
    """The complete frames at the start of a buffer: their end and their number."""

    end: int
    rtp: int
    rtcp: int


def whole_frames(data: bytes) -> WholeFrames:
    """Find the end of the last complete frame; stop at anything that is not a frame."""
    position = count = rtcp = 0
    size = len(data)
    while size - position >= _HEADER_BYTES and data[position] == DOLLAR:
        end = position + _HEADER_BYTES + (data[position + 2] << 8 | data[position + 3])
        if end > size:
            break
        count += 1
        rtcp += data[position + 1] & 1
        position = end
    return WholeFrames(position, count - rtcp, rtcp)


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Return start and end of each frame; ``data`` holds complete frames only."""
    position = 0
    while position < len(data):
        end = position + _HEADER_BYTES + (data[position + 2] << 8 | data[position + 3])
        yield position, end
        position = end


def renumbered(data: bytes, channels: Mapping[int, int]) -> bytes:
    """Map each frame's channel through ``channels``; drop frames of other channels."""
    kept = bytearray()
    for start, end in frames(data):
        channel = channels.get(data[start + 1])
        if channel is not None:
            kept += bytes((DOLLAR, channel))
            kept += data[start + 2 : end]
    return bytes(kept)


def without_media(data: bytes, channels: Container[int] = range(256)) -> bytes:
    """Keep RTCP, drop the RTP of ``channels``."""
    return b"".join(
        data[start:end]
        for start, end in frames(data)
        if data[start + 1] & 1 or data[start + 1] not in channels
    )


def shifted(data: bytes, *, ntp_s: float, rtp_ticks: Mapping[int, int]) -> bytes:
    """Shift the clocks: NTP in sender reports by ``ntp_s``, RTP by ``rtp_ticks`` per channel.

    A sender report's RTP timestamp moves with its track's, as in a camera whose clock jumps.
    """
    moved = bytearray(data)
    for start, end in frames(data):
        channel, payload = data[start + 1], start + _HEADER_BYTES
        ticks = rtp_ticks.get(channel & ~1, 0)
        if channel & 1:
            _shift_report(moved, payload, end, ntp_s, ticks)
        elif end - payload >= _RTP_HEADER_BYTES:
            _add(moved, payload + 4, 4, ticks)
    return bytes(moved)


def _shift_report(data: bytearray, start: int, end: int, ntp_s: float, ticks: int) -> None:
    if end - start >= _SENDER_REPORT_BYTES and data[start + 1] == _SENDER_REPORT:
        _add(data, start + 8, 8, round(ntp_s * 2**32))  # NTP: 32.32 bits, RFC 3550 section 4
        _add(data, start + 16, 4, ticks)


def _add(data: bytearray, at: int, size: int, amount: int) -> None:
    value = int.from_bytes(data[at : at + size], "big") + amount
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "big")
