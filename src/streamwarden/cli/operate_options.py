"""The options of what operators do with cameras, tokens and recordings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import (
    add_camera_choice,
    add_command,
    add_paging,
    add_range,
    between,
    camera_id,
    group,
)

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands


_HOUR_S, _DAY_S = 3600, 86400


def add_operators_tools(commands: Commands) -> tuple[Commands, Commands]:
    """Add what works on the database and the secrets; return what is done with cameras, recordings."""
    _add_token(commands)
    return _add_camera(commands), _add_recordings(commands)


def _add_token(commands: Commands) -> None:
    token = group(commands, "token", "sign a token")
    user = add_command(
        token, "user", "camera_commands:token_user", "sign a user's token for the API"
    )
    user.add_argument("--sub", required=True, metavar="ID", help="the user's id")
    user.add_argument("--role", action="append", default=[], help="such as admin; repeatable")
    _ttl(user, _HOUR_S)
    for use, about, ttl_s in (
        ("read", "sign a token to watch a camera over RTSP", _HOUR_S),
        ("publish", "sign a token for a camera to publish with", _DAY_S),
    ):
        stream = add_command(token, use, f"camera_commands:token_{use}", about)
        where = stream.add_mutually_exclusive_group(required=True)
        where.add_argument(
            "--camera", type=camera_id, metavar="ID", help="the camera (asks Postgres)"
        )
        where.add_argument("--path", metavar="P", help="the path on the media server")
        stream.add_argument(
            "--sub", default="operator", metavar="ID", help="in whose name (default: operator)"
        )
        _ttl(stream, ttl_s)


def _add_camera(commands: Commands) -> Commands:
    camera = group(commands, "camera", "look after cameras")
    add = add_command(camera, "add", "camera_commands:camera_add", "add a camera", _CAMERA_EXAMPLES)
    _camera_fields(add, required=True)
    add.add_argument(
        "--id",
        type=camera_id,
        metavar="ID",
        help="the id of a camera that was lost with the database: its folder's name in the record "
        "root (default: a new one)",
    )
    add_command(camera, "list", "camera_commands:camera_list", "list every camera")
    change = add_command(camera, "set", "camera_commands:camera_set", "change a camera")
    change.add_argument("id", type=camera_id, metavar="ID")
    _camera_fields(change, required=False)
    remove = add_command(
        camera, "remove", "camera_commands:camera_remove", "remove a camera, not its recordings"
    )
    remove.add_argument("id", type=camera_id, metavar="ID")
    return camera


def _camera_fields(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--owner", required=required, metavar="ID", help="the user it belongs to")
    parser.add_argument("--name", required=required, metavar="TEXT", help="what people call it")
    parser.add_argument("--path", metavar="P", help="where it publishes (default: its id)")
    parser.add_argument(
        "--status",
        choices=("active", "inactive"),
        default="active" if required else None,
        help="inactive: not to be recorded",
    )
    _source_fields(parser, may_remove=not required)


def _source_fields(parser: argparse.ArgumentParser, *, may_remove: bool) -> None:
    source = parser.add_argument_group(
        "a camera that is pulled", "Most cameras serve RTSP; the media server fetches their stream."
    )
    source.add_argument(
        "--source-url", metavar="URL", help="where it serves its stream: rtsp:// or rtsps://"
    )
    source.add_argument("--source-username", metavar="U", help="what it is shown")
    source.add_argument(
        "--source-password-file",
        metavar="FILE",
        help="a file that holds its password; - reads standard input",
    )
    if may_remove:
        source.add_argument(
            "--no-source", action="store_true", help="it is pulled no longer: it pushes"
        )
        source.add_argument(
            "--no-source-credentials", action="store_true", help="it is shown nothing"
        )


def _add_recordings(commands: Commands) -> Commands:
    recordings = group(commands, "recordings", "look into what was recorded")
    listing = add_command(
        recordings,
        "list",
        "camera_commands:recordings_list",
        "list segments and gaps in time order",
        _RECORDINGS_EXAMPLES,
    )
    listing.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    add_range(listing, default="a day before --to")
    add_paging(listing)
    verify = add_command(
        recordings,
        "verify",
        "recording_commands:verify",
        "compare disk, index and wishes; exit 1 if anything is wrong",
        _VERIFY_NOTES,
    )
    reconcile = add_command(
        recordings,
        "reconcile",
        "recording_commands:reconcile",
        "mend what verify finds; exit 1 if something cannot be mended",
        _RECONCILE_NOTES,
    )
    for check in (verify, reconcile):
        _check_options(check)
    return recordings


def _check_options(check: argparse.ArgumentParser) -> None:
    add_camera_choice(check)
    add_range(check, default="everything")
    check.add_argument(
        "--quick", action="store_true", help="sizes only: do not read every file for its digest"
    )
    check.add_argument("--decode", action="store_true", help="also play every file with FFmpeg")


def _ttl(parser: argparse.ArgumentParser, default_s: int) -> None:
    parser.add_argument(
        "--ttl",
        type=between(1, 366 * _DAY_S),
        default=default_s,
        metavar="S",
        help=f"how long it lives, in seconds (default: {default_s})",
    )


_VERIFY_NOTES = """\
It names the place of everything that is wrong:
  file_missing, row_missing          a row without its file, a file without its row
  file_cut_short, file_grown, bytes_changed, file_unreadable
  second_missing, second_twice       a wanted second that is nowhere, or recorded and in a gap
  gap_left_open                      an open gap, though nothing is wanted
It may run beside a server that records, and changes nothing.
"""


_RECONCILE_NOTES = """\
Files without a row are indexed; rows without a file are reported as lost and become a gap; seconds
that are nowhere become a gap. Files that were changed are reported and left as they are.
"""


_CAMERA_EXAMPLES = """\
examples:
  streamwarden camera add --owner alice --name "Front door" --path alice/front-door
  streamwarden camera add --owner alice --name Yard --source-url rtsp://192.168.1.20/stream1 \\
      --source-username viewer --source-password-file yard.secret
"""


_RECORDINGS_EXAMPLES = """\
example:
  streamwarden recordings list --camera ID --from 2026-01-31T08:00 --to 2026-01-31T09:00
"""
