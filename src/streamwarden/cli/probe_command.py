"""``streamwarden camera probe``: reports what a camera sends, how it is recorded, and what is wrong."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, whole_number
from streamwarden.cli.environment import settings_of
from streamwarden.cli.output import plain, print_json, print_line, print_note
from streamwarden.errors import InvalidInput
from streamwarden.model import Transport

if TYPE_CHECKING:
    import argparse

    from streamwarden.cli.arguments import Commands
    from streamwarden.mediamtx.rtsp_client import CameraUrl
    from streamwarden.probe.advice import ProbeFinding, TrackHandling
    from streamwarden.probe.camera_probe import ProbeReport, TrackReport

MAX_SECONDS = 300
MAX_PASSWORD_BYTES = 1024
WIDTH = 90
_MEGA, _KILO = 1_000_000, 1_000

_NOTES = """\
It asks the camera for its tracks (DESCRIBE) and for the ways in which it sends them (SETUP), reads its
stream for some seconds with FFmpeg, and records that as the recorder would. For each track it prints
codec, profile, size, frame rate, distance between key frames and bit rate, and whether the track is
recorded as it is, as AAC, or left out.

Each problem is printed with its remedy:
  unresolved, refused, unreachable, timeout, closed, tls     the camera is not reached
  login_missing, login_wrong, login_unknown, forbidden       it needs another user or password
  not_found, not_rtsp, tls_needed, redirect, error           another service or path answers
  transport_refused, not_acceptable                          it sends by another transport
  busy, no_session, server_error                             it cannot send now
  no_picture, no_key_frame, unsupported_media, time_jumps    the stream cannot be recorded well
  source_offline, starting, stalled, broke_off               the stream ends
  certificate                                                rtsps with a certificate that is not trusted
Notes are not problems: a codec that browsers cannot play, B-frames, key frames that are far apart.

examples:
  streamwarden camera probe rtsp://192.0.2.7/stream1 --username viewer
  streamwarden camera probe rtsp://192.0.2.7/stream1 --username viewer --password-file secret.txt --json

It needs no database and no setting. A redirect is reported and not followed. The password does not
appear in the process list: FFmpeg reads it from its standard input.

exit codes:
  0  it can be recorded, and nothing is wrong
  1  something is wrong; see standard output
  2  wrong usage
"""


def add_probe_command(camera: Commands) -> None:
    """Add ``camera probe``."""
    probe = add_command(
        camera,
        "probe",
        camera_probe,
        "report what a camera sends, how it will be recorded, and what is wrong",
        _NOTES,
    )
    probe.add_argument("url", metavar="URL", help="rtsp:// or rtsps://, as in the camera's manual")
    probe.add_argument(
        "--username",
        metavar="NAME",
        help="the user name for the camera, not a user of streamwarden",
    )
    probe.add_argument(
        "--password-file",
        metavar="FILE",
        help="a file whose first line is the password; - reads standard input (default: a prompt)",
    )
    probe.add_argument(
        "--transport",
        choices=tuple(Transport),
        default=Transport.AUTOMATIC,
        help="how it sends the stream (default: automatic: each way is tried, TCP is preferred)",
    )
    probe.add_argument(
        "--seconds",
        type=whole_number(1, MAX_SECONDS),
        default=10,
        metavar="N",
        help="how long to read the stream (default: 10); longer than the distance between two "
        "key frames",
    )


def camera_probe(arguments: argparse.Namespace) -> int:
    """Probe a camera and print the report; 1 if something is wrong."""
    from streamwarden.ffmpeg.command import find_ffmpeg
    from streamwarden.ffmpeg.sandbox import open_sandbox
    from streamwarden.probe.camera_probe import probe_camera

    url = _url(arguments)
    settings = settings_of(arguments)
    ffmpeg = find_ffmpeg(settings.ffmpeg)
    found = probe_camera(
        url,
        ffmpeg=ffmpeg,
        seconds=arguments.seconds,
        transport=Transport(arguments.transport),
        sandbox=open_sandbox(settings.ffmpeg_sandbox, settings.ffmpeg_reads),
    )
    if arguments.json:
        print_json(found.as_json())
    else:
        for line in lines_of(found):
            print_line(plain(line))
    return 0 if found.good else 1


def lines_of(found: ProbeReport) -> list[str]:
    """Return a report for people, line by line."""
    lines = [found.url, ""]
    if found.transports:
        answers = (
            f"{way} {'yes' if trouble is None else f'no [{trouble}]'}"
            for way, trouble in found.transports.items()
        )
        lines += [f"  sent by {', '.join(answers)}", ""]
    for track in found.tracks:
        lines += [f"  {track.kind:<8}{_format(track)}", f"  {'':<8}{_handling(track.handling)}"]
    lines += [""] if found.tracks else []
    for finding in found.problems:
        lines += _paragraph("wrong", finding)
    for finding in found.notes:
        lines += _paragraph("note", finding)
    if found.good:
        plays = ", and every browser plays it" if found.browsers == "all" else ""
        lines.append(f"Nothing is wrong: it can be recorded{plays}.")
    return lines


def _paragraph(kind: str, finding: ProbeFinding) -> list[str]:
    lines = wrap(f"{finding.message}. [{finding.code}]", WIDTH) + wrap(finding.advice, WIDTH)
    return [f"  {'' if number else kind:<8}{line}" for number, line in enumerate(lines)] + [""]


def _handling(fate: TrackHandling | None) -> str:
    from streamwarden.probe.advice import TrackHandling

    match fate:
        case TrackHandling.KEPT:
            return "recorded as it is"
        case TrackHandling.MADE_AAC:
            return "recorded as AAC: no browser plays it as it is"
        case TrackHandling.LEFT_OUT:
            return "left out"
        case None:
            return "not recorded"


def _format(track: TrackReport) -> str:
    parts = [f"{track.codec} {track.profile}" if track.profile else track.codec]
    if track.width and track.height:
        parts.append(f"{track.width}x{track.height}")
    if track.frames_per_second is not None:
        parts.append(f"{track.frames_per_second:g} frames/s")
    if track.key_frame_s is not None:
        parts.append(f"a key frame every {track.key_frame_s:g} s")
    if track.b_frames:
        parts.append("B-frames")
    if track.sample_rate_hz is not None:
        parts.append(f"{track.sample_rate_hz} Hz")
    if track.channels is not None:
        parts.append(track.channels)
    if track.bits_per_second is not None:
        parts.append(_bit_rate(track.bits_per_second))
    return ", ".join(parts)


def _bit_rate(bits: int) -> str:
    return f"{bits / _MEGA:.1f} Mbit/s" if bits >= _MEGA else f"{bits / _KILO:.0f} kbit/s"


def _url(arguments: argparse.Namespace) -> CameraUrl:
    from streamwarden.mediamtx.rtsp_client import CameraUrl, Login, parse_camera_url

    url = parse_camera_url(arguments.url)
    if url.login is not None:
        print_note("a password in a URL is visible in the process list: use --password-file")
    if arguments.username is None:
        if arguments.password_file is not None:
            raise InvalidInput("--password-file needs --username")
        return url
    return CameraUrl(url.clean, Login(arguments.username, _password(arguments.password_file)))


def _password(file: str | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise InvalidInput("--username needs --password-file (- reads it from standard input)")
        return getpass.getpass("Password: ")
    try:
        data = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES) if file == "-" else _first_line(file)
        return data.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--password-file: {file} cannot be read") from error


def _first_line(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        return opened.readline(MAX_PASSWORD_BYTES)
