"""Session descriptions (RFC 4566): the tracks that a camera or a publisher names in one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RTPMAP = re.compile(r"a=rtpmap:\d+ ([^/\s]+)/(\d{1,9})")

# RFC 3551 section 6: the payload types that need no rtpmap, as far as cameras use them.
_STATIC_CODECS = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "26": ("JPEG", 90000)}


@dataclass(frozen=True, slots=True)
class Track:
    """One media section: its kind and control attribute as the publisher wrote them, codec, clock."""

    kind: str
    control: str
    codec: str
    clock_hz: int


def tracks_of(sdp: str) -> tuple[Track, ...]:
    """List the media sections in order."""
    return tuple(_track(section) for section in sections_of(sdp)[1:])


def sections_of(sdp: str) -> list[list[str]]:
    """Return the lines of the session, then those of each of its media."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        if line:
            sections[-1].append(line)
    return sections


def _track(section: list[str]) -> Track:
    control = next((line[10:] for line in section if line.startswith("a=control:")), "")
    codec, clock_hz = _STATIC_CODECS.get(section[0].split(" ")[-1], ("", 90000))
    for line in section:
        if found := _RTPMAP.match(line):
            codec, clock_hz = found[1], int(found[2])
    kind = section[0].removeprefix("m=").split(" ")[0]
    return Track(kind, control, codec, clock_hz)
