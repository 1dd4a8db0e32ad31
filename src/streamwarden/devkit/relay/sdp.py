"""Session descriptions (RFC 4566): what the relay reads from them and writes into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_RTPMAP = re.compile(r"a=rtpmap:\d+ ([^/\s]+)/(\d{1,9})")

# RFC 3551 section 6: the payload types that need no rtpmap, as far as cameras use them.
_STATIC_CODECS = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "26": ("JPEG", 90000)}
# MediaMTX's own words for codecs (internal/formatlabel).
_LABELS = {
    "H264": "H264",
    "H265": "H265",
    "MPEG4-GENERIC": "MPEG-4 Audio",
    "MP4A-LATM": "MPEG-4 Audio LATM",
    "OPUS": "Opus",
    "PCMA": "G711",
    "PCMU": "G711",
    "JPEG": "M-JPEG",
    "AV1": "AV1",
    "VP8": "VP8",
    "VP9": "VP9",
}


@dataclass(frozen=True, slots=True)
class Track:
    """One media section: its kind and control attribute as the publisher wrote them, codec, clock."""

    kind: str
    control: str
    codec: str
    clock_hz: int

    @property
    def label(self) -> str:
        """MediaMTX's word for the codec."""
        return _LABELS.get(self.codec.upper(), "Generic")


def tracks_of(sdp: str) -> tuple[Track, ...]:
    """List the media sections in order."""
    return tuple(_track(section) for section in _sections(sdp)[1:])


def with_track_controls(sdp: str) -> str:
    """Replace the publisher's controls by ``trackID=N``, which is what MediaMTX writes."""
    head, *media = _sections(sdp)
    lines = list(_without_controls(head))
    for number, section in enumerate(media):
        lines += [*_without_controls(section), f"a=control:trackID={number}"]
    return "\r\n".join(lines) + "\r\n"


def padded_with_metadata(sdp: str, count: int) -> str:
    """Add ONVIF metadata tracks, on which nothing is ever sent, until there are ``count``."""
    extra = [
        f"m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
        f"a=control:trackID={number}\r\n"
        for number in range(len(tracks_of(sdp)), count)
    ]
    return sdp + "".join(extra)


def absurd() -> str:
    """Write a description that no camera writes: thousands of tracks and numbers out of range."""
    head = "v=0\r\no=- 0 0 IN IP4 999.999.999.999\r\ns=" + "x" * 65536 + "\r\nt=-1 -1\r\n"
    track = (
        "m=video 99999999999 RTP/AVP -1 4294967296\r\na=rtpmap:-1 H264/-90000\r\n"
        "a=fmtp:-1 sprop-parameter-sets=" + "A" * 4096 + "\r\na=control:" + "/" * 512 + "\r\n"
    )
    return head + track * 1000


def _sections(sdp: str) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        if line:
            sections[-1].append(line)
    return sections


def _without_controls(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if not line.startswith("a=control:"))


def _track(section: list[str]) -> Track:
    control = next((line[10:] for line in section if line.startswith("a=control:")), "")
    codec, clock_hz = _STATIC_CODECS.get(section[0].split(" ")[-1], ("", 90000))
    for line in section:
        if found := _RTPMAP.match(line):
            codec, clock_hz = found[1], int(found[2])
    kind = section[0].removeprefix("m=").split(" ")[0]
    return Track(kind, control, codec, clock_hz)
