"""``streamwarden camera probe``: what a camera sends, what is done with it, and what is wrong."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path
from textwrap import wrap

from streamwarden.cli import environment
from streamwarden.cli.output import plain, print_json, print_line, print_note
from streamwarden.errors import InvalidInput
from streamwarden.probe.advice import ProbeFinding, TrackHandling
from streamwarden.probe.camera_probe import ProbeReport, TrackReport, probe_camera
from streamwarden.probe.rtsp_client import CameraUrl, Login, parse_camera_url

_MOST_PASSWORD_BYTES = 1024


_WIDTH = 90


_FATES = {
    TrackHandling.KEPT: "recorded as it is",
    TrackHandling.MADE_AAC: "recorded as AAC: MP4 cannot hold it as it is",
    TrackHandling.LEFT_OUT: "left out",
    None: "not recorded",
}


_MEGA, _KILO = 1_000_000, 1_000


def camera_probe(arguments: argparse.Namespace) -> int:
    """Look at a camera and print what was found; 1 if something is wrong."""
    url = _url(arguments)
    ffmpeg = environment.ffmpeg_for(environment.load_settings(arguments.config, os.environ))
    found = probe_camera(url, ffmpeg=ffmpeg, seconds=arguments.seconds)
    if arguments.json:
        print_json(found.as_json())
    else:
        for line in lines_of(found):
            print_line(plain(line))
    return 0 if found.good else 1


def lines_of(found: ProbeReport) -> list[str]:
    """Return a report for people, line by line."""
    lines = [found.url, ""]
    for track in found.tracks:
        lines += [f"  {track.kind:<8}{_looks(track)}", f"  {'':<8}{_FATES[track.fate]}"]
    lines += [""] if found.tracks else []
    for finding in found.problems:
        lines += _told("wrong", finding)
    for finding in found.notes:
        lines += _told("note", finding)
    if found.good:
        plays = ", and every browser plays it" if found.browsers == "all" else ""
        lines.append(f"Nothing is wrong: it can be recorded{plays}.")
    return lines


def _told(kind: str, finding: ProbeFinding) -> list[str]:
    said = wrap(f"{finding.says}. [{finding.code}]", _WIDTH) + wrap(finding.do, _WIDTH)
    return [f"  {'' if number else kind:<8}{line}" for number, line in enumerate(said)] + [""]


def _looks(track: TrackReport) -> str:
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
        parts.append(_rate(track.bits_per_second))
    return ", ".join(parts)


def _rate(bits: int) -> str:
    return f"{bits / _MEGA:.1f} Mbit/s" if bits >= _MEGA else f"{bits / _KILO:.0f} kbit/s"


def _url(arguments: argparse.Namespace) -> CameraUrl:
    url = parse_camera_url(arguments.url)
    if url.login is not None:
        print_note("a password in a URL can be read in the list of processes: use --password-file")
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
        data = sys.stdin.buffer.readline(_MOST_PASSWORD_BYTES) if file == "-" else _first_line(file)
        return data.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--password-file: {file} cannot be read") from error


def _first_line(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        return opened.readline(_MOST_PASSWORD_BYTES)
