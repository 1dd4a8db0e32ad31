"""``streamwarden grant``, ``user`` and ``audit``: grants, blocked users, the audit trail.

Every running API receives what is revoked here by NOTIFY, and ends the sessions.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import (
    add_command,
    add_group,
    add_paging,
    add_range,
    camera_id,
    moment,
)
from streamwarden.cli.camera_commands import existing_camera
from streamwarden.cli.environment import OPERATOR, open_database, settings_of, write_audit_event
from streamwarden.cli.output import print_json, print_line, print_page, print_rows
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import InvalidInput
from streamwarden.model import AuditEvent, BlockedUser, Grant

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from streamwarden.cli.arguments import Commands
    from streamwarden.model import Camera, Denial
    from streamwarden.storage.pool import Database

_ACTIONS = ("view", "recordings", "control", "publish")
_WEEK = timedelta(days=7)
_GRANT_COLUMNS = ("user", "action", "from", "until")
_BLOCKED_COLUMNS = ("user", "blocked_by", "blocked_at", "note")
_AUDIT_COLUMNS = ("at", "who", "action", "outcome", "camera_id", "subject", "address", "detail")

_GRANT_EXAMPLES = """\
example:
  streamwarden grant add --camera ID --user bob --action view --action recordings \\
      --from 2026-01-31T08:00 --until 2026-01-31T09:00
"""
_BLOCK_NOTES = """\
The user's calls are refused, their tokens are no longer accepted, and the streams that they watch or
publish are disconnected. Lifting the block does not make the old tokens valid again.
"""


def add_access_commands(commands: Commands) -> None:
    """Add ``grant``, ``user`` and ``audit``."""
    _add_grant_commands(commands)
    _add_user_commands(commands)
    audit = add_group(commands, "audit", "read the audit trail")
    listing = add_command(audit, "list", audit_list, "list events, newest first")
    listing.add_argument(
        "--camera", type=camera_id, metavar="ID", help="only events of this camera"
    )
    listing.add_argument("--user", metavar="ID", help="only events by this user, or about them")
    add_range(listing, default="a week before --to")
    add_paging(listing)


# Grants


def _add_grant_commands(commands: Commands) -> None:
    grant = add_group(commands, "grant", "give other users access to a camera")
    add = add_command(grant, "add", grant_add, "grant actions", _GRANT_EXAMPLES)
    _add_camera_and_user(add)
    add.add_argument(
        "--action", action="append", choices=_ACTIONS, required=True, help="repeatable"
    )
    add.add_argument(
        "--from",
        dest="from_",
        type=moment,
        metavar="TIME",
        help="of recordings only those that began then or later; RFC 3339 (default: no limit)",
    )
    add.add_argument(
        "--until", type=moment, metavar="TIME", help="likewise, those that ended then or earlier"
    )
    listing = add_command(grant, "list", grant_list, "list a camera's grants")
    listing.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    remove = add_command(grant, "remove", grant_remove, "withdraw grants, with immediate effect")
    _add_camera_and_user(remove)
    remove.add_argument(
        "--action", action="append", choices=_ACTIONS, default=[], help="repeatable (default: all)"
    )


def _add_camera_and_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    parser.add_argument("--user", required=True, metavar="ID", help="the user's id (sub)")


def grant_add(arguments: argparse.Namespace) -> int:
    """Grant actions, and print the grants of the camera.

    A new time window of an action replaces the old one; other grants of the user stay.
    """
    from_, until, actions = arguments.from_, arguments.until, sorted(set(arguments.action))
    if (from_ or until) and "recordings" not in actions:
        raise InvalidInput("--from and --until need --action recordings")
    grants = [
        Grant(user_sub=arguments.user, action=action, from_=from_, until=until)
        if action == "recordings"
        else Grant(user_sub=arguments.user, action=action)
        for action in actions
    ]
    with open_database(settings_of(arguments)) as database:
        camera = existing_camera(database, arguments.camera)
        _check_user(arguments.user)
        if arguments.user == camera.owner:
            raise InvalidInput("the owner needs no grant", field="user")
        for grant in grants:
            _change_grants(database, camera, arguments.user, give=[grant])
        write_audit_event(
            database, "grant", camera_id=camera.id, subject=arguments.user, actions=actions
        )
    return grant_list(arguments)


def grant_list(arguments: argparse.Namespace) -> int:
    """Print a camera's grants."""
    from streamwarden.storage.cameras import GrantRepository

    with open_database(settings_of(arguments)) as database:
        camera = existing_camera(database, arguments.camera)
        rows = [_grant_row(grant) for grant in GrantRepository(database).of_camera(camera.id)]
    print_rows(rows, _GRANT_COLUMNS, as_json=arguments.json)
    return 0


def grant_remove(arguments: argparse.Namespace) -> int:
    """Withdraw a user's grants, all of them where no action is named, and print which."""
    from streamwarden.storage.cameras import GrantRepository

    user, actions = arguments.user, arguments.action
    with open_database(settings_of(arguments)) as database:
        camera = existing_camera(database, arguments.camera)
        held = [grant.action for grant in GrantRepository(database).of_user(camera.id, user)]
        withdrawn = [action for action in held if not actions or action in actions]
        _change_grants(database, camera, user, withdraw=withdrawn)
        write_audit_event(
            database, "withdraw_grant", camera_id=camera.id, subject=user, withdrawn=withdrawn
        )
    if arguments.json:
        print_json({"user": user, "withdrawn": withdrawn})
    else:
        print_line(f"withdrawn from {user}: {', '.join(withdrawn) or 'nothing'}")
    return 0


def _change_grants(
    database: Database,
    camera: Camera,
    user: str,
    *,
    give: Sequence[Grant] = (),
    withdraw: Sequence[str] = (),
) -> None:
    """Change a user's grants, and revoke the tokens for what they lose by it."""
    from streamwarden.auth import revocation
    from streamwarden.auth.permissions import lost_actions
    from streamwarden.storage.cameras import GrantRepository
    from streamwarden.storage.denials import DenialRepository

    grants = GrantRepository(database)

    def denials(held: Sequence[Grant]) -> list[Denial]:
        after = {grant.action: grant for grant in held if grant.action not in withdraw}
        after |= {grant.action: grant for grant in give}
        return revocation.grants_withdrawn(
            camera.id,
            camera.path,
            sub=user,
            actions=lost_actions(held, after.values()),
            at=Clock().now(),
        )

    first = denials(grants.of_user(camera.id, user))
    held = grants.replace(camera.id, user, give, withdrawing=withdraw, denials=first)
    # Once more after the change: the race in docs/design/0009-revocation.md.
    DenialRepository(database).put(denials(held))


def _check_user(user: str) -> None:
    from streamwarden.auth.jwts import MAX_SUBJECT_CHARS, is_subject

    if not is_subject(user):
        raise InvalidInput(
            f"user must be 1 to {MAX_SUBJECT_CHARS} printable characters", field="user"
        )


def _grant_row(grant: Grant) -> dict[str, object]:
    return {
        "user": grant.user_sub,
        "action": grant.action,
        "from": grant.from_ and rfc3339(grant.from_),
        "until": grant.until and rfc3339(grant.until),
    }


# Blocked users


def _add_user_commands(commands: Commands) -> None:
    user = add_group(commands, "user", "block users")
    block = add_command(
        user, "block", user_block, "block a user, with immediate effect", _BLOCK_NOTES
    )
    block.add_argument("user", metavar="ID", help="the user's id (sub)")
    block.add_argument("--note", default="", metavar="TEXT", help="the reason, for user list")
    unblock = add_command(user, "unblock", user_unblock, "lift a block")
    unblock.add_argument("user", metavar="ID")
    add_command(user, "list", user_list, "list blocked users")


def user_block(arguments: argparse.Namespace) -> int:
    """Block a user."""
    from streamwarden.auth.revocation import user_blocked
    from streamwarden.storage.denials import DenialRepository

    user, clock = arguments.user, Clock()
    with open_database(settings_of(arguments)) as database:
        _check_user(user)
        denials, at = DenialRepository(database), clock.now()
        block = BlockedUser(user_sub=user, blocked_by=OPERATOR, blocked_at=at, note=arguments.note)
        is_new = denials.block(block, user_blocked(user, at))
        # Once more after the change: the race in docs/design/0009-revocation.md.
        denials.put(user_blocked(user, clock.now()))
        write_audit_event(database, "block_user", subject=user, note=arguments.note)
    result = "blocked" if is_new else "was blocked already"
    return _print_user(arguments, blocked=True, result=result)


def user_unblock(arguments: argparse.Namespace) -> int:
    """Lift a block."""
    from streamwarden.storage.denials import DenialRepository

    with open_database(settings_of(arguments)) as database:
        lifted = DenialRepository(database).unblock(arguments.user)
        write_audit_event(database, "unblock_user", subject=arguments.user)
    result = "unblocked" if lifted else "was not blocked"
    return _print_user(arguments, blocked=False, result=result)


def user_list(arguments: argparse.Namespace) -> int:
    """Print the blocked users."""
    from streamwarden.storage.denials import DenialRepository

    with open_database(settings_of(arguments)) as database:
        rows = [
            {
                "user": row.user_sub,
                "blocked_by": row.blocked_by,
                "blocked_at": rfc3339(row.blocked_at),
                "note": row.note,
            }
            for row in DenialRepository(database).blocked()
        ]
    print_rows(rows, _BLOCKED_COLUMNS, as_json=arguments.json)
    return 0


def _print_user(arguments: argparse.Namespace, *, blocked: bool, result: str) -> int:
    if arguments.json:
        print_json({"user": arguments.user, "blocked": blocked})
    else:
        print_line(f"{arguments.user} {result}")
    return 0


# The audit trail


def audit_list(arguments: argparse.Namespace) -> int:
    """Print a page of the audit trail, newest first."""
    from streamwarden.storage.audit import AuditRepository

    with open_database(settings_of(arguments)) as database:
        to = arguments.to or Clock().now() + timedelta(seconds=1)
        from_ = arguments.from_ or to - _WEEK
        if from_ >= to:
            raise InvalidInput("--from must be before --to", field="from")
        page = AuditRepository(database).page(
            from_=from_,
            to=to,
            camera_id=arguments.camera,
            user=arguments.user,
            limit=arguments.limit,
            cursor=arguments.cursor,
        )
    rows = [_audit_row(event) for event in page.items]
    print_page(rows, _AUDIT_COLUMNS, page.next_cursor, as_json=arguments.json)
    return 0


def _audit_row(event: AuditEvent) -> dict[str, object]:
    return {
        "at": rfc3339(event.at),
        "who": event.who,
        "action": event.action,
        "outcome": event.outcome,
        "camera_id": event.camera_id and str(event.camera_id),
        "subject": event.subject,
        "address": event.address,
        "request_id": event.request_id,
        "detail": json.loads(event.detail),
    }
