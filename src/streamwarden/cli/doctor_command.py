"""``streamwarden doctor``: looks at everything that an installation needs, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command
from streamwarden.cli.environment import settings_of
from streamwarden.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    import argparse

    from streamwarden.cli.arguments import Commands

_NOTES = """\
It looks at the settings of each role, the database, the record root, the clock, FFmpeg (started as a
recorder starts it), the media server and its hook, keys and their ages, ports and certificates. It changes
nothing, needs no running role and takes seconds. Run it as the role's user, with the role's settings.

  ok     as it should be
  note   not wrong, but worth a look
  wrong  to be mended: the exit code is 1

examples:
  sudo streamwarden doctor                  an installation of deploy/install
  streamwarden --config streaming.toml doctor --role streaming
"""


def add_doctor_command(commands: Commands) -> None:
    """Add ``doctor``."""
    parser = add_command(
        commands, "doctor", doctor, "look at everything, say what is wrong", _NOTES
    )
    parser.add_argument(
        "--role",
        choices=("all", "api", "streaming", "webui"),
        default="all",
        help="the role whose needs are looked at (default: all)",
    )


def doctor(arguments: argparse.Namespace) -> int:
    """Print each finding as it is found; 1 if anything is wrong."""
    from streamwarden.app.doctor import DoctorVerdict, examine
    from streamwarden.app.roles import ROLES

    settings = settings_of(arguments)
    roles = frozenset(ROLES) if arguments.role == "all" else frozenset({arguments.role})
    found = []
    for finding in examine(settings, roles):
        found.append(finding)
        if not arguments.json:
            first, *more = finding.detail.splitlines() or [""]
            print_line(f"{finding.verdict:<6} {finding.check:<13} {plain(first)}")
            for line in more:
                print_line(f"{'':<20} {plain(line.strip())}")
    wrong = sum(finding.verdict is DoctorVerdict.WRONG for finding in found)
    if arguments.json:
        print_json(
            {
                "ok": not wrong,
                "findings": [
                    {"check": it.check, "verdict": it.verdict, "detail": it.detail} for it in found
                ],
            }
        )
    else:
        print_line(f"{wrong} wrong, {sum(it.verdict is DoctorVerdict.NOTE for it in found)} notes")
    return 1 if wrong else 0
