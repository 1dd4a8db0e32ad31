"""The parts that the arguments of all commands are made of: common options, and types of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from streamwarden.cli.output import print_note
from streamwarden.clock import rfc3339

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name
    Run = Callable[[argparse.Namespace], int]

MAX_ITEMS = 1000


def common_options(*, top: bool = False) -> argparse.ArgumentParser:
    """Return the options that may stand before and after the command's name."""
    unset = None if top else argparse.SUPPRESS
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", default=unset, help="settings file, in TOML"
    )
    common.add_argument(
        "--json",
        action="store_true",
        default=False if top else argparse.SUPPRESS,
        help="print JSON, for scripts",
    )
    return common


def add_command(
    commands: Commands, name: str, run: Run, about: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Add a command; ``run`` carries it out and returns its exit code."""
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=notes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options()],
    )
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Commands, name: str, about: str) -> Commands:
    """Add a command that has commands of its own; return those."""
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_camera_choice(parser: argparse.ArgumentParser) -> None:
    """Add the option that limits a command to one camera."""
    parser.add_argument(
        "--camera", type=camera_id, metavar="ID", help="only this camera (default: all)"
    )


def add_range(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add the options of a time range; ``default`` describes its default start."""
    parser.add_argument(
        "--from",
        dest="from_",
        type=moment,
        metavar="TIME",
        help=f"RFC 3339; without a zone it is local time (default: {default})",
    )
    parser.add_argument("--to", type=moment, metavar="TIME", help="likewise (default: now)")


def add_paging(parser: argparse.ArgumentParser) -> None:
    """Add the options of a list that is read page by page."""
    parser.add_argument("--limit", type=whole_number(1, MAX_ITEMS), default=100, metavar="N")
    parser.add_argument("--cursor", metavar="TEXT", help="next_cursor of the previous page")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text[:12]) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number, {least} to {most}")

    return parse


def camera_id(text: str) -> UUID:
    """Return a camera's id; raise ArgumentTypeError if it is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a camera's id, a UUID") from None


def moment(text: str) -> datetime:
    """Return a time in UTC. One without a zone is local; it is printed in both, so that nobody guesses.

    Raises:
        ArgumentTypeError: it is no time, or a local time that does not exist or exists twice.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time like 2026-01-31T12:00:00+08:00") from None
    if given.tzinfo is not None:
        return given.astimezone(UTC)
    first, second = (given.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first != second:
        raise argparse.ArgumentTypeError(
            f"{text} is not one time here, as clocks are changed then: give its zone, such as +01:00"
        )
    local = first.astimezone()
    print_note(f"{text} is local time: {local:%Y-%m-%d %H:%M:%S%z} is {rfc3339(first)}")
    return first
