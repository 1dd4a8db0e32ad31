"""``python -m streamwarden.devkit.odd_camera``: an odd camera as a process.

Once it listens it writes one line of JSON, ``{"url", "pid"}``, to standard output. SIGTERM and SIGINT end
it with code 0. Each option is a field of ``Oddities``, explained there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from streamwarden import logs
from streamwarden.auth.rtsp_urls import redact
from streamwarden.devkit.odd_camera.elementary_streams import STREAMS, StreamLibrary
from streamwarden.devkit.odd_camera.odd_camera import OddCamera
from streamwarden.devkit.odd_camera.oddities import (
    Oddities,
    parse_dropout,
    parse_reports,
    parse_stamps,
)
from streamwarden.devkit.odd_camera.sounds import SOUNDS
from streamwarden.errors import StreamwardenError
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.mediamtx.rtsp_client import Login

_CACHE = Path(tempfile.gettempdir()) / f"streamwarden-odd-camera-{os.getuid()}"


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    logs.configure("text", "warning", sys.stderr, redact=redact)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        arguments.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        library = StreamLibrary(str(find_ffmpeg(arguments.ffmpeg)), arguments.folder)
        camera = OddCamera(
            library, *arguments.streams, oddities=_oddities(arguments), port=arguments.port
        )
        with camera:
            ready = {"url": camera.url, "pid": os.getpid()}
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            signal.sigwait(signals)
    except (StreamwardenError, OSError) as error:
        sys.stderr.write(f"odd_camera: {error}\n")
        return 1
    return 0


def _oddities(arguments: argparse.Namespace) -> Oddities:
    names = {field.name for field in fields(Oddities)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if arguments.silent:
        given["sound_after_s"] = None
    if arguments.user is not None:
        given["login"] = Login(arguments.user, arguments.password)
    return Oddities(**given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamwarden.devkit.odd_camera",
        argument_default=argparse.SUPPRESS,
        description="An RTSP camera on loopback that misbehaves by option.",
    )
    add = parser.add_argument
    add("streams", nargs="*", default=["small"], help=f"one or more of: {', '.join(STREAMS)}")
    add("--port", type=int, default=0, help="0 picks a free one")
    add("--ffmpeg", default=None, help="encodes the streams (default: the one on PATH)")
    add("--folder", type=Path, default=_CACHE, help="where encoded streams are kept")
    _add_pictures(parser)
    _add_sound(parser)
    _add_rtsp(parser)
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--fps", type=float, help="pictures in a second (default: 10)")
    add("--swap", dest="swap_every_s", type=float, metavar="S", help="the next stream every S s")
    add("--mid", dest="joins_mid_gop", action="store_true", help="viewers join between key frames")
    add("--burst", dest="burst_s", type=float, metavar="S", help="S s of old pictures at the start")
    add("--ts", dest="stamps", type=parse_stamps, metavar="KIND",
        help="normal, zero, fast:F, jump:S@T, every:S@T, wrap, seimark")  # fmt: skip
    add("--rtcp", dest="reports", type=parse_reports, metavar="KIND",
        help="none, good, step:S@T, 1970")  # fmt: skip
    add("--dropout", type=parse_dropout, metavar="S@T", help="of every T s the last S are lost")
    add("--sprop", metavar="STREAM", help="own, none, or the stream whose parameter sets are shown")
    add("--no-in-band", dest="in_band", action="store_false",
        help="parameter sets are in the session description only")  # fmt: skip


def _add_sound(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--sound", choices=sorted(SOUNDS), help="the sound track (default: none)")
    add("--silent", action="store_true", default=False, help="sound is announced and never comes")
    add("--sound-after", dest="sound_after_s", type=float, metavar="S", help="it begins after S s")
    add("--sound-stops", dest="sound_stops_s", type=float, metavar="S", help="it ends after S s")
    add("--sound-rate", type=float, help="its clock against the picture's (default: 1)")
    add("--metadata", action="store_true", help="an ONVIF metadata track")
    add("--back-channel", action="store_true", help="a track for sound to the camera")


def _add_rtsp(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--user", default=None, help="asks for user and password")
    add("--password", default="", help="may be empty")
    add("--scheme", dest="schemes", action="append", choices=("Digest", "Basic"))
    add("--transport", dest="transports", action="append", choices=("tcp", "udp"),
        help="what it serves (default: both)")  # fmt: skip
    add("--transport-status", type=int, help="its answer to the other one (default: 461)")
    add("--describe-status", type=int, help="its answer to every DESCRIBE")
    add("--options-status", type=int, help="its answer to OPTIONS (default: 200)")
    add("--viewers", type=int, help="at most so many; others get 453")
    add("--reboot", dest="reboot_every_s", type=float, metavar="S", help="closes after S s")
    add("--hang", dest="hang_after_s", type=float, metavar="S", help="sends nothing after S s")
    add("--bare-line-feeds", action="store_true", help="answers without carriage returns")


if __name__ == "__main__":
    sys.exit(main())
