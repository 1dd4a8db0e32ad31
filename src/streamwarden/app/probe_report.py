"""What was found out about a camera, as values: for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    """What a recording does with a track."""

    KEPT = "kept"
    MADE_AAC = "made_aac"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing: a stable code, what it is, and what to do about it."""

    code: str
    says: str
    do: str = ""

    def as_json(self) -> Mapping[str, str]:
        """Return it for scripts."""
        return {"code": self.code, "says": self.says, "do": self.do}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackReport:
    """One track that a camera offers. What could not be measured is None.

    ``kind`` is ``picture``, ``sound`` or ``data``. ``key_frame_s`` is the usual
    distance between two key frames.
    """

    kind: str
    codec: str
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    key_frame_s: float | None = None
    b_frames: bool | None = None
    sample_rate_hz: int | None = None
    channels: str | None = None
    bits_per_second: int | None = None
    fate: Fate | None = None

    def as_json(self) -> Mapping[str, Any]:
        """Return it for scripts."""
        return {
            "kind": self.kind,
            "codec": self.codec,
            "profile": self.profile,
            "width": self.width,
            "height": self.height,
            "frames_per_second": self.frames_per_second,
            "key_frame_seconds": self.key_frame_s,
            "b_frames": self.b_frames,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "bits_per_second": self.bits_per_second,
            "fate": None if self.fate is None else self.fate.value,
        }


_BROWSERS: Mapping[str, str] = {"no_browser": "none", "some_browsers": "some"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """A camera, looked at: ``url`` is without user and password. No problem means: it is recorded."""

    url: str
    seconds: float
    tracks: Sequence[TrackReport] = ()
    problems: Sequence[Finding] = ()
    notes: Sequence[Finding] = ()

    @property
    def browsers(self) -> str | None:
        """Which browsers play a recording: ``all``, ``some``, ``none``; None where nobody can tell."""
        if not any(track.kind == "picture" and track.fate is Fate.KEPT for track in self.tracks):
            return None
        codes = {note.code for note in self.notes}
        return next((word for code, word in _BROWSERS.items() if code in codes), "all")

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_json(self) -> Mapping[str, Any]:
        """Return it for scripts."""
        return {
            "url": self.url,
            "ok": self.good,
            "seconds": self.seconds,
            "browsers": self.browsers,
            "tracks": [track.as_json() for track in self.tracks],
            "problems": [finding.as_json() for finding in self.problems],
            "notes": [finding.as_json() for finding in self.notes],
        }
