"""Parameter sets among a stream's packets: a reader that joins later must get them in its description.

MediaMTX does so too (internal/codecprocessor): a camera that changes its size, or whose own description
was wrong, has a right one for the next reader.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from streamwarden.mediamtx.rtsp_client import SdpTrack, sections_of

_TYPES: Final[Mapping[str, tuple[int, ...]]] = {"H264": (7, 8), "H265": (32, 33, 34)}
"""SPS and PPS; VPS, SPS and PPS."""

_AGGREGATES: Final[Mapping[str, int]] = {"H264": 24, "H265": 48}  # STAP-A, AP

_NAMES: Final = ("sprop-vps", "sprop-sps", "sprop-pps")

_OURS: Final = ("profile-level-id", "sprop-parameter-sets", *_NAMES)


class ParameterSets:
    """The newest parameter sets of one track, by type; at first those of its description."""

    def __init__(self, track: SdpTrack, section: Sequence[str]) -> None:
        self._codec = track.codec.upper()
        self._types = _TYPES.get(self._codec, ())
        self._sets = dict(self._described(section)) if self._types else {}

    def take(self, packet: bytes) -> bool:
        """Take the sets in an RTP packet; return whether one is new."""
        if not self._types:
            return False
        new = {self._type(unit): unit for unit in self._units(_payload(packet))}
        if new.items() <= self._sets.items():
            return False
        self._sets |= new
        return True

    def parameters(self) -> Mapping[str, str]:
        """Return the parameters of the format (RFC 6184, section 8.1; RFC 7798, section 7.1)."""
        shown = {one: base64.b64encode(self._sets[one]).decode() for one in sorted(self._sets)}
        if not shown:
            return {}
        if self._codec == "H265":
            return {_NAMES[self._types.index(one)]: text for one, text in shown.items()}
        profile = {"profile-level-id": self._sets[7][1:4].hex()} if 7 in self._sets else {}  # noqa: PLR2004 - SPS
        return {**profile, "sprop-parameter-sets": ",".join(shown.values())}

    def _units(self, payload: bytes) -> Iterator[bytes]:
        if not payload:
            return
        if self._type(payload) == _AGGREGATES[self._codec]:
            at = 1 if self._codec == "H264" else 2
            while at + 2 < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                unit = payload[at + 2 : at + 2 + size]
                if unit and self._type(unit) in self._types:
                    yield unit
                at += 2 + size
        elif self._type(payload) in self._types:
            yield payload

    def _type(self, unit: bytes) -> int:
        return unit[0] & 0x1F if self._codec == "H264" else unit[0] >> 1 & 0x3F

    def _described(self, section: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        for text in _fmtp(section).items():
            if text[0] not in _OURS[1:]:
                continue
            for part in text[1].split(","):
                try:
                    unit = base64.b64decode(part)
                except binascii.Error:
                    continue  # a camera may describe anything
                if unit and self._type(unit) in self._types:
                    yield self._type(unit), unit


def with_parameter_sets(sdp: str, sets: Mapping[int, ParameterSets]) -> str:
    """Return ``sdp`` with the sets of these tracks, by number, in place of its own."""
    head, *media = sections_of(sdp)
    lines = list(head)
    for number, section in enumerate(media):
        found = sets[number].parameters() if number in sets else {}
        lines += _replaced(section, found) if found else section
    return "\r\n".join(lines) + "\r\n"


def _replaced(section: Sequence[str], found: Mapping[str, str]) -> list[str]:
    kept = {name: value for name, value in _fmtp(section).items() if name not in _OURS}
    text = ";".join(
        f"{name}={value}" if value else name for name, value in {**kept, **found}.items()
    )
    others = [line for line in section if not line.startswith("a=fmtp:")]
    return [*others, f"a=fmtp:{section[0].split(' ')[-1]} {text}"]


def _fmtp(section: Sequence[str]) -> dict[str, str]:
    line = next((one for one in section if one.startswith("a=fmtp:")), "")
    pairs = (one.strip().partition("=") for one in line.partition(" ")[2].split(";") if one.strip())
    return {name: value for name, _, value in pairs}


def _payload(packet: bytes) -> bytes:
    """Return an RTP packet's payload (RFC 3550, section 5.1)."""
    if len(packet) < 12:  # noqa: PLR2004 - the fixed header
        return b""
    start = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10 and len(packet) >= start + 4:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
    return packet[start:end]
