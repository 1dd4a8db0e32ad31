"""The options of ``camera probe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, between

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands


_MOST_SECONDS = 300


def add_probe(camera: Commands) -> None:
    """Add what looks at a camera that serves RTSP."""
    probe = add_command(
        camera,
        "probe",
        "probe_command:camera_probe",
        "say what a camera sends, what will be done with it, and what is wrong",
        _NOTES,
    )
    probe.add_argument("url", metavar="URL", help="rtsp:// or rtsps://, as in the camera's manual")
    probe.add_argument("--username", metavar="NAME", help="the camera's user, not one of ours")
    probe.add_argument(
        "--password-file",
        metavar="FILE",
        help="its first line is the password; - reads it from standard input (default: ask for it)",
    )
    probe.add_argument(
        "--seconds",
        type=between(1, _MOST_SECONDS),
        default=10,
        metavar="N",
        help="how long to look (default: 10); more than the distance between two key frames",
    )


_NOTES = """\
It asks the camera what it offers (DESCRIBE), looks at it for some seconds with FFmpeg, and makes a
recording of that as the recorder would. Of each track it says codec, profile, size, frame rate, distance
between key frames and bit rate, and whether it is recorded as it is, as AAC, or left out.

What can be wrong, each with what to do about it:
  unresolved, refused, unreachable, timeout, closed, tls     the camera is not reached
  login_missing, login_wrong, login_unknown, forbidden       it is, and wants another user or password
  not_found, not_rtsp, redirect, error                       something else answers there
  no_picture, no_key_frame, unsupported_media, time_jumps    it sends what cannot be recorded well
  source_offline, starting, stalled, broke_off               it stops sending
  certificate                                                rtsps, and nobody vouches for the camera
Notes are no faults: browsers that cannot play it, B-frames, key frames that are far apart.

examples:
  streamwarden camera probe rtsp://192.0.2.7/stream1 --username viewer
  streamwarden camera probe rtsp://192.0.2.7/stream1 --username viewer --password-file secret.txt --json

No database and no setting is needed. A redirect is told and not followed. The password is in no list of
processes: FFmpeg reads it from its standard input.

exit codes:
  0  it can be recorded, and nothing is wrong
  1  something is wrong; it is said on standard output
  2  wrong usage
"""
