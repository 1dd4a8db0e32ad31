"""How a command is added, and what the values of its options may be."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name


_MOST_ITEMS = 1000


_RAW = argparse.RawDescriptionHelpFormatter


def common_options(*, top: bool = False) -> argparse.ArgumentParser:
    """Return the options that may stand before and after the command's name."""
    unset = None if top else argparse.SUPPRESS
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", default=unset, help="settings in TOML"
    )
    common.add_argument(
        "--json",
        action="store_true",
        default=False if top else argparse.SUPPRESS,
        help="print JSON, for scripts",
    )
    return common


def add_command(
    commands: Commands, name: str, command: str, about: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command that is carried out by ``command``, ``module:function`` of ``commands``."""
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=examples,
        formatter_class=_RAW,
        parents=[common_options()],
    )
    parser.set_defaults(command=command)
    return parser


def group(commands: Commands, name: str, about: str) -> Commands:
    """Add a command that has commands of its own."""
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_camera_choice(parser: argparse.ArgumentParser) -> None:
    """Add the one camera that a command may be limited to."""
    parser.add_argument(
        "--camera", type=camera_id, metavar="ID", help="only this one (default: all)"
    )


def add_range(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add from when to when; ``default`` says what the beginning is if it is not given."""
    parser.add_argument(
        "--from",
        dest="from_",
        type=moment_of,
        metavar="TIME",
        help=f"RFC 3339; without a zone it is UTC (default: {default})",
    )
    parser.add_argument("--to", type=moment_of, metavar="TIME", help="likewise (default: now)")


def add_paging(parser: argparse.ArgumentParser) -> None:
    """Add how much of a list, and which part of it."""
    parser.add_argument("--limit", type=between(1, _MOST_ITEMS), default=100, metavar="N")
    parser.add_argument("--cursor", metavar="TEXT", help="next_cursor of the page before")


class between:  # noqa: N801 - used like a function; argparse shows its name in no message
    """A whole number from ``least`` to ``most``."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        """Return the number; raises what argparse turns into wrong usage."""
        if text.isascii() and text.isdigit() and self._least <= int(text[:12]) <= self._most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number, {self._least} to {self._most}")


def camera_id(text: str) -> UUID:
    """Return a camera's id; raises what argparse turns into wrong usage."""
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a camera's id, a UUID") from None


def moment_of(text: str) -> datetime:
    """Return a time, in UTC where it has no zone; raises likewise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time like 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
