"""The command ``streamwarden``: its parser, its exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage. ``--help`` imports no command's dependencies: a command
imports them inside its functions.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from streamwarden import __version__
from streamwarden.cli.access_commands import add_access_commands
from streamwarden.cli.arguments import common_options
from streamwarden.cli.camera_commands import add_camera_commands
from streamwarden.cli.completion import add_completion_command
from streamwarden.cli.demo_command import add_demo_command
from streamwarden.cli.doctor_command import add_doctor_command
from streamwarden.cli.evidence_commands import add_key_commands, add_seal_commands
from streamwarden.cli.probe_command import add_probe_command
from streamwarden.cli.recording_commands import add_recording_commands
from streamwarden.cli.retention_commands import add_retention_commands
from streamwarden.cli.serve_command import add_serve_command
from streamwarden.cli.setup_commands import add_setup_commands
from streamwarden.cli.token_commands import add_sign_in_command, add_token_commands
from streamwarden.errors import InvalidInput, StreamwardenError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED, _USAGE = 1, 2

_EPILOG = """\
examples:
  streamwarden demo                              try it: everything on embedded defaults
  streamwarden check-config                      print the settings, and where each is set
  streamwarden doctor                            look at everything, say what is wrong
  streamwarden serve --role all                  run the product; needs DATABASE_URL and secrets
  streamwarden camera add --owner alice --name "Front door"
  streamwarden camera start ID
  streamwarden sign-in --sub alice               print the page's link
  streamwarden COMMAND --help                    print the options of a command, with examples

exit codes:
  0  done
  1  failed, or a check has found something; the reason is on standard error
  2  wrong usage

environment:
  DATABASE_URL           Postgres, as postgresql://user:password@host/name
  STREAMWARDEN_*         every setting; check-config lists them with their values and sources. A variable
                         takes precedence over the same name, in lower case, in the file of --config
  STREAMWARDEN_MEDIAMTX  the MediaMTX program that the demo runs

files, below the record root (STREAMWARDEN_RECORD_ROOT):
  OWNER/CAMERA/YYYY-MM-DD/HHMMSS.mmmZ-rRUN-NUMBER.mp4
                         a recorded segment, playable by itself; its name is UTC
  OWNER/CAMERA/.live/    the segments that are being written, and the start of an open gap
  .seals/CAMERA/         daily signed statements about the footage, for recordings verify --signed
  .streamwarden/         the lock, the desired streams, and the journal of rows that wait for Postgres

Results go to standard output (JSON with --json), everything else to standard error.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage exits with 2 on its own."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except InvalidInput as error:
        return _print_error(error, _USAGE)
    except StreamwardenError as error:
        return _print_error(error, _FAILED)
    except KeyboardInterrupt:
        return _FAILED
    except BrokenPipeError:
        # The reader of our output has ended (``| head``). Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``run``, the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog="streamwarden",
        description="Records RTSP cameras without interruption, and reports every second that is lost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options(top=True)],
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_serve_command(commands)
    add_demo_command(commands)
    add_setup_commands(commands)
    add_doctor_command(commands)
    add_token_commands(commands)
    add_sign_in_command(commands)
    add_probe_command(add_camera_commands(commands))
    add_seal_commands(add_recording_commands(commands))
    add_retention_commands(commands)
    add_key_commands(commands)
    add_access_commands(commands)
    add_completion_command(commands, build_parser)
    return parser


def _print_error(error: StreamwardenError, code: int) -> int:
    sys.stderr.write(f"streamwarden: {error}\n")
    # Of a database: libpq's own words. They name hosts and users, never a password.
    for line in getattr(error, "reason", "").splitlines():
        sys.stderr.write(f"  {line.strip()}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
