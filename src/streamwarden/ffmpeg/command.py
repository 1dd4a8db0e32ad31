"""FFmpeg's program, its command line for one run, and the confinement of every FFmpeg process.

``prlimit`` and ``setpriv`` of util-linux set the limits and become FFmpeg by exec. A ``preexec_fn`` would
run Python between fork and exec in a process with threads. Both together add about 2 ms to a start of
200 ms. The reasons for each option are in ``docs/design/0003-a-run.md``.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import imageio_ffmpeg  # type: ignore[import-untyped]  # has no types

from streamwarden.errors import ConfigError
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.paths import live_pattern


def find_ffmpeg(setting: Path | None) -> str:
    """Return the absolute path of FFmpeg: the setting, else the one on PATH, else imageio-ffmpeg's.

    Raises:
        ConfigError: the setting is not an executable program, or there is no FFmpeg.
    """
    if setting is not None:
        found = shutil.which(str(setting))
        if found is None:
            raise ConfigError(
                f"STREAMWARDEN_FFMPEG: {setting} is not a program that can be executed"
            )
        # abspath, not resolve: a program may behave by the name under which it was called.
        return os.path.abspath(found)  # noqa: PTH100 - Path.resolve would follow the link
    if (found := shutil.which("ffmpeg")) is not None:
        return os.path.abspath(found)  # noqa: PTH100 - likewise
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ConfigError("no FFmpeg was found; install it, or set STREAMWARDEN_FFMPEG") from error


def require_setpriv() -> None:
    """Raise ConfigError unless ``setpriv``, ``prlimit`` and ``env`` are installed.

    Without ``setpriv`` FFmpeg could outlive this process, without ``prlimit`` it would have no limits;
    ``env`` changes to its folder.
    """
    for name, package in (
        ("setpriv", "util-linux"),
        ("prlimit", "util-linux"),
        ("env", "coreutils"),
    ):
        if shutil.which(name, path="/usr/bin:/bin") is None:
            raise ConfigError(f"{name} was not found in /usr/bin; install {package}")


OPEN_FILES: Final = 256


ADDRESS_SPACE_BYTES: Final = 4 * 1024**3
"""A recorder maps 0.3 GB, a snapshot of an 8K camera about 1 GB; more is a fault."""


LIMITS: Final = (
    *("prlimit", "--core=0:0", f"--nofile={OPEN_FILES}:{OPEN_FILES}"),
    *(f"--as={ADDRESS_SPACE_BYTES}:{ADDRESS_SPACE_BYTES}", "--"),
)
"""No core dump: it would contain the URL with its token."""


DIE_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--")


@dataclass(frozen=True, slots=True)
class FfmpegAccount:
    """An account of its own for FFmpeg; it owns the files that FFmpeg writes until they are stored."""

    uid: int
    gid: int

    def argv(self, argv: list[str]) -> list[str]:
        """Return ``argv``, which begins with `DIE_WITH_PARENT`, extended to run as this account."""
        at = argv.index("--")
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return [*argv[:at], *ids, *argv[at:]]


def ffmpeg_account(name: str | None) -> FfmpegAccount | None:
    """Return the account ``name``; None if the setting is None.

    Raises:
        ConfigError: there is no such account, it is root, or this process may not change to it.
    """
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError("STREAMWARDEN_FFMPEG_USER: there is no such account") from None
    if os.geteuid() != 0:
        raise ConfigError(
            "STREAMWARDEN_FFMPEG_USER: only root can start FFmpeg under another account; unset it, or "
            "start streamwarden as root"
        )
    if found.pw_uid == 0:
        raise ConfigError("STREAMWARDEN_FFMPEG_USER: must be an account other than root")
    return FfmpegAccount(found.pw_uid, found.pw_gid)


ANSWER_TIMEOUT_S: Final = 15.0
"""FFmpeg's own ``-timeout``: connecting is bounded by it, reading by twice as much. At 5 s it gave up on
cameras that send a picture every ten seconds."""


SILENT_WAIT_S: Final = 660.0
"""The same for a run that is ``patient``. MediaMTX sends a reader nothing before the next key frame, which
may be ten minutes away, and ends the connection where the camera is gone."""


PROTOCOLS: Final = "rtsp,rtsps,rtp,tcp,tls"
"""The protocols that FFmpeg may use to read a camera."""


_INTERLEAVE: Final = "500000"
"""Microseconds that one track waits for the other. With FFmpeg's default of 10 s, a camera whose audio
stops would look stalled."""


_FRAGMENTS: Final = (
    "movflags=+frag_keyframe+empty_moov+default_base_moof"
    f":frag_duration=1000000:flush_packets=1:write_prft=wallclock:max_interleave_delta={_INTERLEAVE}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """Everything that one run needs; ``audio`` is a `SoundWay`.

    ``tracks`` is what the stream held shortly before, None where that is not known. A segment ends at the
    first key frame after ``segment_seconds``. ``folder`` is FFmpeg's working folder, ``probe_s`` how long
    it analyses the stream before it begins. ``wall_clock``: pictures are dated by when they arrive, for
    a camera whose time stamps stand still. ``patient``: the run before it was connected and got nothing.
    """

    run: int
    url: str = field(repr=False)
    """Holds a read token, so it stays out of the repr."""
    segment_seconds: int
    folder: Path
    audio: str
    probe_s: float
    tracks: StreamTracks | None = None
    wall_clock: bool = False
    patient: bool = False


def recording_argv(ffmpeg: str, order: RunOrder) -> list[str]:
    """Return the arguments that record ``order.url`` into segments in the working folder."""
    timeout_s = SILENT_WAIT_S if order.patient else ANSWER_TIMEOUT_S
    return [
        *DIE_WITH_PARENT,
        ffmpeg,
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"),
        *("-protocol_whitelist", PROTOCOLS),
        *("-analyzeduration", str(int(order.probe_s * 1_000_000))),
        # No pictures are counted to guess a rate that a copy does not need: at 1/s that took 14 s.
        *("-fpsprobesize", "0"),
        *("-rtsp_transport", "tcp", "-timeout", str(int(timeout_s * 1_000_000))),
        *(("-use_wallclock_as_timestamps", "1") if order.wall_clock else ()),
        *("-i", order.url),
        *segment_output(
            audio=order.audio,
            segment_seconds=order.segment_seconds,
            pattern=live_pattern(order.run),
        ),
        *_listening(order.audio),
    ]


def segment_output(*, audio: str, segment_seconds: int, pattern: str) -> list[str]:
    """Return the output arguments: tracks, codecs and segment files."""
    return [
        *_tracks(audio),
        *("-max_interleave_delta", _INTERLEAVE),
        *("-f", "segment", "-segment_time", str(segment_seconds), "-reset_timestamps", "1"),
        *("-segment_list", "pipe:1", "-segment_list_type", "csv"),
        *("-segment_format", "mp4", "-segment_format_options", _FRAGMENTS),
        pattern,
    ]


HVC1: Final = ("-tag:v", "hvc1")
"""The sample entry of H.265 that Apple's players take; FFmpeg's own choice is ``hev1``.

Not for a recording: with it FFmpeg 9 drops the parameter sets before the key frames, and a picture whose
size has changed could not be decoded any more. Stored files are given it (``mp4.formats``).
"""


def _tracks(audio: str) -> list[str]:
    """Return the tracks and their codecs; audio is optional (``?``) and never prevents the video."""
    video = ["-map", "0:v:0", "-c:v", "copy"]
    match audio:
        case SoundWay.COPY:
            return [*video, "-map", "0:a:0?", "-c:a", "copy"]
        case SoundWay.AAC:
            return [*video, "-map", "0:a:0?", "-c:a", "aac", "-b:a", "64k"]
        case SoundWay.LISTEN | SoundWay.NONE:
            return video
        case _:
            raise ValueError(f"audio must be a way of recording sound, not {audio!r}")


_LISTENED: Final = {SoundWay.LISTEN: "mod(n\\,10)", SoundWay.COPY: "gte(n\\,10)"}
"""The packets of sound that are *not* listed, by FFmpeg's ``noise`` filter: a run that listens lists every
tenth for as long as it lives, one that copies the sound its first ten."""


def _listening(audio: str) -> list[str]:
    """Return a second output: a line for a packet of sound on the pipe of the segment list.

    It is written as the packets arrive; no muxer holds them back for the picture.
    """
    dropped = next((drop for way, drop in _LISTENED.items() if way == audio), None)
    if dropped is None:
        return []
    return [
        *("-map", "0:a:0", "-c:a", "copy", "-bsf:a", f"noise=drop={dropped}"),
        *("-flush_packets", "1", "-f", "framecrc", "pipe:1"),
    ]


ENVIRONMENT: Final = {"TZ": "UTC", "AV_LOG_FORCE_NOCOLOR": "1", "PATH": "/usr/bin:/bin"}
"""FFmpeg's whole environment; it inherits none of ours. PATH is only for ``prlimit`` and ``setpriv``."""
