"""The findings of a camera probe, and the advice that goes with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamwarden.auth.rtsp_urls import redact
from streamwarden.mediamtx.rtsp_client import NotDescribed, Trouble
from streamwarden.model import Cause


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """One finding: a stable code, a message, and advice for the operator."""

    code: str
    message: str
    advice: str = ""

    def as_json(self) -> Mapping[str, str]:
        """Return the finding for scripts."""
        return {"code": self.code, "says": self.message, "do": self.advice}


class TrackHandling(StrEnum):
    """How a recording handles a track."""

    KEPT = "kept"
    MADE_AAC = "made_aac"
    LEFT_OUT = "left_out"


_ADDRESS: Final = "Check address, port and cable. Is the camera on, and does this machine reach it?"

_LOGIN: Final = (
    "Give --username and --password-file. Many cameras have an RTSP user of their own, apart from that "
    "of their web page."
)

_PATH: Final = (
    "The path after the address differs from maker to maker: look for RTSP in its manual."
)


def of_trouble(error: NotDescribed) -> ProbeFinding:
    """Return why a camera did not describe its stream."""
    message, advice = _TROUBLES[error.trouble]
    return ProbeFinding(error.trouble.value, message(redact(error.detail)), advice)


def _with_detail(text: str) -> Callable[[str], str]:
    return lambda detail: text + (f": {detail}" if detail else "")


_TROUBLES: Final[Mapping[Trouble, tuple[Callable[[str], str], str]]] = {
    Trouble.UNRESOLVED: (
        _with_detail("The name in the URL does not resolve"),
        "Check its spelling, and DNS.",
    ),
    Trouble.REFUSED: (
        _with_detail("Nothing listens at this port: the connection was refused"),
        "Check the port (554 is usual); RTSP may be switched off in the camera's settings.",
    ),
    Trouble.UNREACHABLE: (_with_detail("The address cannot be reached"), _ADDRESS),
    Trouble.TIMEOUT: (_with_detail("No answer came in time"), _ADDRESS),
    Trouble.CLOSED: (
        _with_detail("The camera closed the connection instead of answering"),
        "Has it as many viewers as it takes? Restart it; check that this port is its RTSP.",
    ),
    Trouble.TLS: (
        _with_detail("The TLS connection failed"),
        "Try rtsp:// in the place of rtsps://, or another port (322 is usual for rtsps).",
    ),
    Trouble.NOT_RTSP: (
        _with_detail("What answers there does not speak RTSP"),
        "Check the port: 80 and 8080 are web pages, RTSP usually has 554.",
    ),
    Trouble.REDIRECT: (
        lambda detail: f"It sends its viewers on, to {detail or 'nowhere'}; that was not followed",
        "If that address is the camera you mean, use it in the URL.",
    ),
    Trouble.LOGIN_MISSING: (
        _with_detail("The camera asks for a user and a password (401)"),
        _LOGIN,
    ),
    Trouble.LOGIN_WRONG: (
        _with_detail("The camera refuses this user or password (401)"),
        f"{_LOGIN} After several wrong ones some lock the account for minutes.",
    ),
    Trouble.LOGIN_UNKNOWN: (
        _with_detail("It asks for a way to sign in that is not known here"),
        "Set the camera to Digest (MD5 or SHA-256) or Basic.",
    ),
    Trouble.FORBIDDEN: (
        _with_detail("The camera refuses this user (403)"),
        "Give the user the right to watch.",
    ),
    Trouble.NOT_FOUND: (_with_detail("The camera has no stream at this path (404)"), _PATH),
    Trouble.TRANSPORT_REFUSED: (
        _with_detail("The camera describes its stream and does not send it in this way (461)"),
        "Try --transport automatic, which tries all ways; set the camera's transport to one that works.",
    ),
    Trouble.NOT_ACCEPTABLE: (
        _with_detail("The camera does not send its stream as it was asked for (406)"),
        "Try another --transport; look in its settings for the protocols that RTSP may use.",
    ),
    Trouble.BUSY: (
        _with_detail("The camera takes no further viewer, or has no bandwidth left"),
        "Close other viewers (an app, a recorder), raise its limit, or choose a smaller stream.",
    ),
    Trouble.NO_SESSION: (
        _with_detail("The camera has lost the session (454)"),
        "Restart the camera; update its firmware.",
    ),
    Trouble.TLS_NEEDED: (
        _with_detail("The port speaks TLS and nothing else"),
        "Use rtsps:// in the place of rtsp://.",
    ),
    Trouble.SERVER_ERROR: (
        lambda detail: f"The camera reports a fault of its own ({detail})",
        "Restart the camera. Where it stays: fewer viewers, a smaller stream, new firmware.",
    ),
    Trouble.ERROR: (
        lambda detail: f"The camera answered with an error ({detail})",
        f"{_PATH} Restart the camera if the path is right.",
    ),
}


def of_cause(cause: Cause, codec: str) -> ProbeFinding:
    """Return why a camera that described its stream sent nothing to record."""
    message, advice = _CAUSES.get(
        cause, (f"Reading the stream failed ({cause.value})", "Try again; restart it.")
    )
    return ProbeFinding(cause.value, message.format(codec=codec), advice)


_CAUSES: Final[Mapping[Cause, tuple[str, str]]] = {
    Cause.UNSUPPORTED_MEDIA: (
        "MP4 cannot hold what it sends ({codec}): nothing of it can be recorded",
        "Set the camera to H.264.",
    ),
    Cause.STARTING: (
        "The picture's size is unknown: no key frame came in time",
        "Set the distance between key frames (GOP, I-frame interval) to 1 or 2 s.",
    ),
    Cause.UNAUTHORIZED: ("It let us in and then refused the stream itself (401)", _LOGIN),
    Cause.SOURCE_OFFLINE: (
        "It ended the connection before a picture came",
        "Has it as many viewers as it takes? Restart it.",
    ),
    Cause.FFMPEG_MISSING: (
        "FFmpeg cannot be started on this machine",
        "Install it, or set STREAMWARDEN_FFMPEG; check-config shows which one is taken.",
    ),
    Cause.TIMEOUT: (
        "It described a picture, and none came while the probe looked",
        "Look longer with --seconds if it sends few pictures; else restart it, and check its network.",
    ),
    Cause.STALLED: (
        "It described a picture, and none came while the probe looked",
        "Look longer with --seconds if it sends few pictures; else restart it, and check its network.",
    ),
}


def distrusted(why: str) -> ProbeFinding:
    """Return that MediaMTX would refuse the camera's certificate."""
    return ProbeFinding(
        "certificate",
        f"This machine does not trust its certificate ({why}); MediaMTX refuses such a camera",
        "Use rtsp:// in a network of your own; or give the camera a certificate of an authority that "
        "MediaMTX's machine trusts, and use the name that it is for.",
    )


def broke_off(cause: Cause) -> ProbeFinding:
    """Return that the stream ended during the probe."""
    return ProbeFinding(
        "broke_off",
        f"The stream ended while it was looked at ({cause.value})",
        "Try again. Where it happens again: the network, or a camera with too many viewers.",
    )


NO_PICTURE: Final = ProbeFinding(
    "no_picture", "It offers no picture", "Use the path of a stream that has one."
)


def no_key_frame(seconds: float) -> ProbeFinding:
    """Return that no key frame came; a recording starts with one."""
    return ProbeFinding(
        "no_key_frame",
        f"No key frame came within {seconds:.0f} s: a recording begins with the next one",
        "Set the distance between key frames (GOP, I-frame interval) to 1 or 2 s; or look longer with "
        "--seconds.",
    )


def time_jumps(longest_s: float | None) -> ProbeFinding:
    """Return that time stamps jump by up to ``longest_s``; None: they go back."""
    how = "go back" if longest_s is None else f"jump by up to {abs(longest_s):.0f} s"
    return ProbeFinding(
        "time_jumps",
        f"Its time stamps {how}: segments are cut at odd places",
        "Update its firmware; set its clock by NTP; is the network losing packets?",
    )


def rare_key_frames(distance_s: float) -> ProbeFinding:
    """Return that key frames are far apart, and the consequences."""
    return ProbeFinding(
        "rare_key_frames",
        f"Key frames come {distance_s:.0f} s apart or more: a segment gets that much longer, a picture "
        "takes that long to appear, and after a break that much is missing",
        "Set the distance between key frames (GOP, I-frame interval) to 1 or 2 s.",
    )


NOT_BY_TCP: Final = ProbeFinding(
    "not_by_tcp",
    "It does not send by TCP; by another transport a lost packet is a broken picture, without a word",
    "Allow RTSP over TCP in its settings, if it can.",
)


B_FRAMES: Final = ProbeFinding(
    "b_frames",
    "It sends B-frames: it is recorded and played, but WebRTC cannot carry it, so there is no such preview",
    "Set its profile to Baseline, or switch B-frames off, if the preview matters.",
)

SILENT_SOUND: Final = ProbeFinding(
    "silent_sound",
    "It offers sound and sends none: the picture is recorded alone, and the sound as well once it comes",
    "Is its microphone switched off?",
)

NO_SOUND_IN_PREVIEW: Final = ProbeFinding(
    "no_sound_in_preview", "AAC is not part of WebRTC: recordings have sound, that preview has none"
)


def browsers(codec: str, profile: str | None) -> ProbeFinding | None:
    """Return which browsers cannot play a recording; None where all can."""
    if codec == "h264" and not (profile or "").startswith(("High 10", "High 4:", "CAVLC 4:4:4")):
        return None
    if codec == "hevc":
        return ProbeFinding(
            "some_browsers",
            "H.265 plays only where browser and machine have a decoder for it",
            "Set the camera to H.264 to play it everywhere.",
        )
    return ProbeFinding(
        "no_browser",
        "No browser plays this picture; a downloaded file plays in VLC",
        "Set it to H.264.",
    )
