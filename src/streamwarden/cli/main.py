"""The command ``streamwarden``: see ``--help``.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from streamwarden import __version__
from streamwarden.cli.access_options import add_access_tools
from streamwarden.cli.arguments import common_options
from streamwarden.cli.evidence_options import add_evidence_tools
from streamwarden.cli.operate_options import add_operators_tools
from streamwarden.cli.probe_options import add_probe
from streamwarden.cli.program_options import add_completion, add_programs
from streamwarden.errors import InvalidInput, StreamwardenError

_FAILED, _USAGE = 1, 2


_EPILOG = """\
examples:
  streamwarden demo                              try it: everything on embedded defaults
  streamwarden check-config                      what the settings are, and where from
  streamwarden serve --role all                  the product; needs DATABASE_URL and secrets
  streamwarden camera add --owner alice --name "Front door"
  streamwarden token user --sub alice --ttl 3600
  streamwarden COMMAND --help                    what a command takes, with examples

exit codes:
  0  done
  1  failed, or a check has found something; the reason is on standard error
  2  wrong usage

environment:
  DATABASE_URL           Postgres, as postgresql://user:password@host/name
  STREAMWARDEN_*         every setting: check-config lists them with their values and sources; each
                         wins over the same name, in lower case, in the file of --config
  STREAMWARDEN_MEDIAMTX  the MediaMTX program that the demo runs

files, below the record root (STREAMWARDEN_RECORD_ROOT):
  OWNER/CAMERA/YYYY-MM-DD/HHMMSS.mmmZ-rRUN-NUMBER.mp4
                         a recorded segment, playable by itself; its name is UTC
  OWNER/CAMERA/.live/    what is being written, and since when something is missing
  .seals/CAMERA/         what was signed of it, day by day, for recordings verify --signed
  .streamwarden/         the lock, what is wanted, and the journal of rows that wait for Postgres

Standard output holds what a command was asked for (JSON with --json), standard error everything else.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage exits with 2 on its own."""
    arguments = build_parser().parse_args(argv)
    try:
        code = _command(arguments.command)(arguments)
        sys.stdout.flush()
    except InvalidInput as error:
        return _complain(error, _USAGE)
    except StreamwardenError as error:
        return _complain(error, _FAILED)
    except KeyboardInterrupt:
        return _FAILED
    except BrokenPipeError:
        # Whoever read our output has enough (``| head``). Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command names the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog="streamwarden",
        description="Records RTSP cameras, whatever breaks, and says so when a second is lost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options(top=True)],
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_programs(commands)
    cameras, recordings = add_operators_tools(commands)
    add_probe(cameras)
    add_evidence_tools(commands, recordings)
    add_access_tools(commands)
    add_completion(commands, build_parser)
    return parser


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Load ``module:function`` of this package: ``--help`` should not wait for what it never runs."""
    module, function = name.split(":")
    command: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(f"streamwarden.cli.{module}"), function
    )
    return command


def _complain(error: StreamwardenError, code: int) -> int:
    sys.stderr.write(f"streamwarden: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
