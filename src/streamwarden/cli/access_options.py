"""The options of the commands about access: grants, blocks, the audit trail."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import (
    add_command,
    add_paging,
    add_range,
    camera_id,
    group,
    moment_of,
)

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands


_ACTIONS = ("view", "recordings", "control", "publish")


def add_access_tools(commands: Commands) -> None:
    """Add what gives access and takes it away."""
    _add_grant(commands)
    _add_user(commands)
    _add_audit(commands)


def _add_grant(commands: Commands) -> None:
    grant = group(commands, "grant", "let others do something with a camera")
    add = add_command(grant, "add", "access_commands:grant_add", "grant actions", _GRANT_EXAMPLES)
    _whose(add)
    add.add_argument(
        "--action", action="append", choices=_ACTIONS, required=True, help="repeatable"
    )
    add.add_argument(
        "--from",
        dest="from_",
        type=moment_of,
        metavar="TIME",
        help="of recordings only what began then or later; RFC 3339 (default: no limit)",
    )
    add.add_argument(
        "--until", type=moment_of, metavar="TIME", help="likewise, what ended then or earlier"
    )
    listing = add_command(grant, "list", "access_commands:grant_list", "list a camera's grants")
    listing.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    remove = add_command(
        grant, "remove", "access_commands:grant_remove", "take grants back, at once"
    )
    _whose(remove)
    remove.add_argument(
        "--action", action="append", choices=_ACTIONS, default=[], help="repeatable (default: all)"
    )


def _whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    parser.add_argument("--user", required=True, metavar="ID", help="the user's id (sub)")


def _add_user(commands: Commands) -> None:
    user = group(commands, "user", "block users")
    block = add_command(
        user,
        "block",
        "access_commands:user_block",
        "let nothing of a user's count, at once",
        _BLOCK_NOTES,
    )
    block.add_argument("user", metavar="ID", help="the user's id (sub)")
    block.add_argument("--note", default="", metavar="TEXT", help="why, for those who read it")
    unblock = add_command(user, "unblock", "access_commands:user_unblock", "lift a block")
    unblock.add_argument("user", metavar="ID")
    add_command(user, "list", "access_commands:user_list", "list who is blocked")


def _add_audit(commands: Commands) -> None:
    audit = group(commands, "audit", "read who did what")
    listing = add_command(audit, "list", "access_commands:audit_list", "list events, newest first")
    listing.add_argument("--camera", type=camera_id, metavar="ID", help="only of this one")
    listing.add_argument("--user", metavar="ID", help="only by this user, or done to them")
    add_range(listing, default="a week before --to")
    add_paging(listing)


_GRANT_EXAMPLES = """\
example:
  streamwarden grant add --camera ID --user bob --action view --action recordings \\
      --from 2026-01-31T08:00 --until 2026-01-31T09:00
"""


_BLOCK_NOTES = """\
Calls of theirs are refused, their tokens count for nothing, and what they watch or publish is
disconnected. Lifting the block does not make the old tokens good again.
"""
