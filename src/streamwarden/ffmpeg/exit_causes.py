"""From what FFmpeg did to a cause: one pure function.

The order is fixed: did we ask it to stop; had it written media; then its stderr; then its exit code.
FFmpeg 5.1 exits with 1 for every failure, 9.x mostly with 256 - errno, so the text comes first.
Source of the texts and codes: measured with both (``docs/design/0003-a-run.md``).
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from streamwarden.model import Cause


class Killed(Enum):
    """Why we killed a run that did not end by itself."""

    STALLED = auto()
    NEVER_STARTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What is known of a run once its process has ended.

    ``exit_code`` is negative for a signal, as in ``subprocess``. ``stderr`` is its bounded tail.
    ``waited_s`` is how long it lived; ``answer_wait_s`` how long FFmpeg waits for an answer.
    """

    exit_code: int
    stderr: str
    wrote_media: bool
    asked_to_stop: bool
    killed: Killed | None
    waited_s: float
    answer_wait_s: float


# Read from top to bottom: a disk that is full also makes other lines appear.
_TEXTS: Final = (
    (r"^(setpriv|prlimit): |error while loading shared libraries", Cause.FFMPEG_MISSING),
    (r"No space left on device|Disk quota exceeded", Cause.DISK_FULL),
    (r"Read-only file system|Permission denied", Cause.NOT_WRITABLE),
    (r"Failed to open segment", Cause.NOT_WRITABLE),
    (r"401 Unauthorized|403 Forbidden", Cause.UNAUTHORIZED),
    (r"404 Not Found", Cause.SOURCE_OFFLINE),
    (r"[45]XX (?:Server|Client) Error|Server returned (?:400|5\d\d)", Cause.SERVER_ERROR),
    (r"Connection refused", Cause.CONNECTION_REFUSED),
    (r"Failed to resolve hostname|No route to host|Network is unreachable", Cause.UNREACHABLE),
    (r"Could not find tag for codec|matches no streams", Cause.UNSUPPORTED_MEDIA),
    (r"dimensions not set", Cause.STARTING),
    (r"Unrecognized option|Option not found|Error parsing options", Cause.INTERNAL),
)


_CODES: Final = {
    256 - errno.ENOSPC: Cause.DISK_FULL,
    256 - errno.EDQUOT: Cause.DISK_FULL,
    256 - errno.EROFS: Cause.NOT_WRITABLE,
    256 - errno.EACCES: Cause.NOT_WRITABLE,
    256 - errno.ENOENT: Cause.NOT_WRITABLE,
    256 - errno.ECONNREFUSED: Cause.CONNECTION_REFUSED,
    256 - errno.ETIMEDOUT: Cause.TIMEOUT,
}


def classify(end: RunEnd) -> Cause | None:
    """Return why the run was lost, or None when it ended because we asked."""
    if end.asked_to_stop:
        return None
    if end.killed is not None:
        return Cause.STALLED if end.killed is Killed.STALLED else Cause.TIMEOUT
    if end.exit_code < 0:
        return Cause.FFMPEG_CRASHED
    return _from_text(end) or _from_code(end)


def _from_text(end: RunEnd) -> Cause | None:
    for pattern, cause in _TEXTS:
        if re.search(pattern, end.stderr):
            return cause
    if "Connection timed out" in end.stderr:
        return Cause.STALLED if end.wrote_media else Cause.TIMEOUT
    if "Invalid data found when processing input" in end.stderr and not end.wrote_media:
        return Cause.TIMEOUT if end.waited_s >= end.answer_wait_s else Cause.SERVER_ERROR
    return None


def _from_code(end: RunEnd) -> Cause:
    # Code 0 without our asking is a loss: FIN and RST in mid-stream end FFmpeg like that.
    if end.exit_code == 0:
        return Cause.SOURCE_OFFLINE
    return _CODES.get(end.exit_code, Cause.FFMPEG_CRASHED)


def message(cause: Cause, end: RunEnd) -> str:
    """Return one line for people: what happened, in our words alone.

    FFmpeg's own words hold the URL, and with it the token. From them only a status or a codec's name is
    taken.
    """
    in_words = _IN_WORDS.get(cause)
    return in_words(end) if in_words is not None else cause.value.replace("_", " ")


def _crashed(end: RunEnd) -> str:
    if end.exit_code < 0:
        return f"FFmpeg was ended by {_signal_name(-end.exit_code)}"
    return f"FFmpeg ended with code {end.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _offline(end: RunEnd) -> str:
    if end.wrote_media:
        return "the stream ended: the camera no longer publishes, or its connection broke"
    if "404 Not Found" in end.stderr:
        return "nobody publishes at the camera's path (404)"
    return "the media server ended the session before any media came"


def _server_error(end: RunEnd) -> str:
    code = re.search(r"Server returned (\d{3})|([45]XX) (?:Server|Client) Error", end.stderr)
    if code is None:
        return "what answered at the media server's address does not speak RTSP"
    return f"the media server answered with an error ({code[1] or code[2]})"


def _unauthorized(end: RunEnd) -> str:
    code = "403" if "403 Forbidden" in end.stderr else "401"
    return f"the media server refused the read token ({code})"


def _unreachable(end: RunEnd) -> str:
    if "Failed to resolve hostname" in end.stderr:
        return "the media server's name does not resolve"
    return "no route leads to the media server"


def _timeout(end: RunEnd) -> str:
    if end.killed is Killed.NEVER_STARTED:
        return f"no media came within {end.waited_s:.0f} s of the start"
    return f"the media server did not answer within {end.answer_wait_s:.0f} s"


def _stalled(end: RunEnd) -> str:
    if end.killed is Killed.STALLED:
        return "the connection stood and no media came any more: FFmpeg was ended"
    return "the connection stood and no media came any more"


def _unsupported(end: RunEnd) -> str:
    codec = re.search(r"Could not find tag for codec (\w{1,32})", end.stderr)
    if codec is not None:
        return f"MP4 cannot hold what the camera sends ({codec[1]})"
    return "the camera sends no picture"


def _disk_full(end: RunEnd) -> str:
    if "Disk quota exceeded" in end.stderr:
        return "the disk quota of the record root is used up"
    return "no space is left under the record root"


def _not_writable(end: RunEnd) -> str:
    for said in ("Read-only file system", "Permission denied"):
        if said in end.stderr:
            return f"the record root refuses writes: {said.lower()}"
    return "the record root refuses writes, or the camera's folder is gone"


_IN_WORDS: Final[Mapping[Cause, Callable[[RunEnd], str]]] = {
    Cause.STARTING: lambda _: "FFmpeg could not tell the picture's size: the next try looks longer",
    Cause.SOURCE_OFFLINE: _offline,
    Cause.SERVER_ERROR: _server_error,
    Cause.UNAUTHORIZED: _unauthorized,
    Cause.CONNECTION_REFUSED: lambda _: "nothing listens at the media server's address",
    Cause.UNREACHABLE: _unreachable,
    Cause.TIMEOUT: _timeout,
    Cause.STALLED: _stalled,
    Cause.FFMPEG_CRASHED: _crashed,
    Cause.FFMPEG_MISSING: lambda _: "FFmpeg, setpriv or a library of theirs cannot be started",
    Cause.UNSUPPORTED_MEDIA: _unsupported,
    Cause.DISK_FULL: _disk_full,
    Cause.NOT_WRITABLE: _not_writable,
    Cause.INTERNAL: lambda _: (
        "FFmpeg does not know an option it was given: a defect of streamwarden"
    ),
}
"""What ``classify`` can say."""
