"""Causes of a run's end, from what FFmpeg did: pure functions.

The order of the checks is fixed: did we stop it; did it write media; then its stderr; then its exit code.
FFmpeg 5.1 exits with 1 for every failure, 9.x mostly with 256 - errno, so stderr comes first. The texts
and codes were measured with both (``docs/design/0003-a-run.md``).
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
    """The reason for which the watcher killed a run."""

    STALLED = auto()
    NEVER_STARTED = auto()
    NO_KEY_FRAME = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """The facts about a run whose process has ended.

    ``exit_code`` is negative for a signal, as in ``subprocess``. ``stderr`` is its bounded tail.
    ``disk_hung`` when the file was not seen to grow since the disk has stopped to answer.
    ``waited_s`` is the run's age; ``answer_wait_s`` is FFmpeg's own timeout for an answer.
    """

    exit_code: int
    stderr: str
    wrote_media: bool
    asked_to_stop: bool
    killed: Killed | None
    waited_s: float
    answer_wait_s: float
    disk_hung: bool = False


# In order of precedence: a full disk causes lines of other patterns as well.
_TEXTS: Final = (
    (r"^env: cannot change directory", Cause.NOT_WRITABLE),
    (
        r"^(setpriv|prlimit|env|sandbox): |error while loading shared libraries",
        Cause.FFMPEG_MISSING,
    ),
    (r"No space left on device|Disk quota exceeded", Cause.DISK_FULL),
    (r"Read-only file system", Cause.RECORD_ROOT_READ_ONLY),
    (r"Permission denied", Cause.NOT_WRITABLE),
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
    256 - errno.EROFS: Cause.RECORD_ROOT_READ_ONLY,
    256 - errno.EACCES: Cause.NOT_WRITABLE,
    256 - errno.ENOENT: Cause.NOT_WRITABLE,
    256 - errno.ECONNREFUSED: Cause.CONNECTION_REFUSED,
    256 - errno.ETIMEDOUT: Cause.TIMEOUT,
}


_KILLED: Final = {
    Killed.STALLED: Cause.STALLED,
    Killed.NEVER_STARTED: Cause.TIMEOUT,
    Killed.NO_KEY_FRAME: Cause.NO_KEY_FRAME,
}


def classify(end: RunEnd) -> Cause | None:
    """Return the cause of a lost run, None for one that was asked to stop."""
    if end.asked_to_stop:
        return None
    if end.disk_hung:
        return Cause.RECORD_ROOT_HANGS
    if end.killed is not None:
        return _KILLED[end.killed]
    if end.exit_code < 0:
        return Cause.FFMPEG_CRASHED
    return _from_text(end) or _from_code(end)


def _from_text(end: RunEnd) -> Cause | None:
    for pattern, cause in _TEXTS:
        if re.search(pattern, end.stderr):
            if cause is Cause.STARTING and end.waited_s >= end.answer_wait_s:
                # The stream was described and played, and nothing of it came for so long.
                return Cause.NO_KEY_FRAME
            return cause
    if "Connection timed out" in end.stderr:
        return Cause.STALLED if end.wrote_media else Cause.TIMEOUT
    if "Invalid data found when processing input" in end.stderr and not end.wrote_media:
        return Cause.TIMEOUT if end.waited_s >= end.answer_wait_s else Cause.SERVER_ERROR
    return None


def _from_code(end: RunEnd) -> Cause:
    # Exit code 0 without a stop request is a loss: FFmpeg exits so on a FIN or RST in mid-stream.
    if end.exit_code == 0:
        return Cause.SOURCE_OFFLINE
    return _CODES.get(end.exit_code, Cause.FFMPEG_CRASHED)


def message(cause: Cause, end: RunEnd) -> str:
    """Return one line for users and operators.

    FFmpeg's stderr contains the URL with its token. Only a status code or a codec name is quoted from it.
    """
    text = _MESSAGES.get(cause)
    return text(end) if text is not None else cause.value.replace("_", " ")


def _crashed(end: RunEnd) -> str:
    if end.exit_code < 0:
        return f"FFmpeg was ended by {_signal_name(-end.exit_code)}"
    return f"FFmpeg ended with code {end.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_LAUNCH: Final = re.compile(
    r"^(?:setpriv|prlimit|env|sandbox): .*$|^.*error while loading shared libraries.*$",
    re.MULTILINE,
)


def launch_failure(stderr: str) -> str | None:
    """Return the line in which setpriv, prlimit, env or the loader says why FFmpeg was not started.

    Such a line names a program, an option of ours or a library, and never FFmpeg's own arguments.
    """
    found = _LAUNCH.search(stderr)
    return found[0][:200] if found is not None else None


def _missing(end: RunEnd) -> str:
    said = launch_failure(end.stderr)
    return f"FFmpeg cannot be started: {said}" if said is not None else "FFmpeg cannot be started"


def _offline(end: RunEnd) -> str:
    if end.wrote_media:
        return "the stream ended: the camera no longer publishes, or its connection broke"
    if "404 Not Found" in end.stderr:
        return "no publisher at the camera's path (404)"
    return "the media server ended the session before any media came"


def _server_error(end: RunEnd) -> str:
    code = re.search(r"Server returned (\d{3})|([45]XX) (?:Server|Client) Error", end.stderr)
    if code is None:
        return "the answer from the media server's address is not RTSP"
    return f"the media server answered with an error ({code[1] or code[2]})"


def _unauthorized(end: RunEnd) -> str:
    code = "403" if "403 Forbidden" in end.stderr else "401"
    return f"the media server refused the read token ({code})"


def _unreachable(end: RunEnd) -> str:
    if "Failed to resolve hostname" in end.stderr:
        return "the media server's name does not resolve"
    return "there is no route to the media server"


def _timeout(end: RunEnd) -> str:
    if end.killed is Killed.NEVER_STARTED:
        return f"no media came within {end.waited_s:.0f} s of the start"
    return f"the media server did not answer within {end.answer_wait_s:.0f} s"


def _stalled(end: RunEnd) -> str:
    if end.killed is Killed.STALLED:
        return "the connection stayed open but no more media arrived: FFmpeg was ended"
    return "the connection stayed open but no more media arrived"


def _unsupported(end: RunEnd) -> str:
    codec = re.search(r"Could not find tag for codec (\w{1,32})", end.stderr)
    if codec is not None:
        return f"MP4 cannot hold what the camera sends ({codec[1]})"
    return "the camera sends no video"


def _disk_full(end: RunEnd) -> str:
    if "Disk quota exceeded" in end.stderr:
        return "the disk quota of the record root is used up"
    return "no space is left under the record root"


def _not_writable(end: RunEnd) -> str:
    if "Permission denied" in end.stderr:
        return "the record root refuses writes: permission denied"
    return "the record root refuses writes, or the camera's folder is gone"


def _no_key_frame(end: RunEnd) -> str:
    if end.killed is not None:
        return NO_KEY_FRAME
    return (
        f"connected, and nothing came for {end.answer_wait_s:.0f} s: the media server may wait for a key"
        " frame, and is waited for"
    )


NO_KEY_FRAME: Final = "the camera sends packets, and no key frame with which a file can begin"
HANGS: Final = "the disk of the record root does not answer"
_MESSAGES: Final[Mapping[Cause, Callable[[RunEnd], str]]] = {
    Cause.STARTING: lambda _: (
        "FFmpeg could not determine the picture size; the next attempt probes longer"
    ),
    Cause.SOURCE_OFFLINE: _offline,
    Cause.SERVER_ERROR: _server_error,
    Cause.UNAUTHORIZED: _unauthorized,
    Cause.CONNECTION_REFUSED: lambda _: "nothing listens at the media server's address",
    Cause.UNREACHABLE: _unreachable,
    Cause.TIMEOUT: _timeout,
    Cause.STALLED: _stalled,
    Cause.FFMPEG_CRASHED: _crashed,
    Cause.FFMPEG_MISSING: _missing,
    Cause.UNSUPPORTED_MEDIA: _unsupported,
    Cause.DISK_FULL: _disk_full,
    Cause.NOT_WRITABLE: _not_writable,
    Cause.RECORD_ROOT_READ_ONLY: lambda _: "the file system of the record root is read-only",
    Cause.RECORD_ROOT_HANGS: lambda _: HANGS,
    Cause.NO_KEY_FRAME: _no_key_frame,
    Cause.INTERNAL: lambda _: "FFmpeg rejected an option: a bug in streamwarden",
}
"""One entry for each cause that ``classify`` returns."""
