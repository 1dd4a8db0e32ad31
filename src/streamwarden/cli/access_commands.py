"""The operators' commands about access: grants, blocks, the audit trail."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import AbstractContextManager

from streamwarden.cli import environment
from streamwarden.cli.access_tools import AccessTools
from streamwarden.cli.output import print_json, print_line, print_page, print_rows
from streamwarden.clock import rfc3339
from streamwarden.errors import InvalidInput
from streamwarden.model import AuditEvent, Grant

_GRANT_COLUMNS = ("user", "action", "from", "until")


_BLOCKED_COLUMNS = ("user", "blocked_by", "blocked_at", "note")


_AUDIT_COLUMNS = ("at", "who", "action", "outcome", "camera_id", "subject", "address", "detail")


def grant_add(arguments: argparse.Namespace) -> int:
    """Grant actions, and print what the camera's grants are then."""
    grants = [
        Grant(user_sub=arguments.user, action=action, from_=arguments.from_, until=arguments.until)
        if action == "recordings"
        else Grant(user_sub=arguments.user, action=action)
        for action in sorted(set(arguments.action))
    ]
    if (arguments.from_ or arguments.until) and "recordings" not in arguments.action:
        raise InvalidInput("--from and --until need --action recordings")
    with _tools(arguments) as access:
        access.add_grants(arguments.camera, grants)
    return grant_list(arguments)


def grant_list(arguments: argparse.Namespace) -> int:
    """Print a camera's grants."""
    with _tools(arguments) as access:
        rows = [_grant_row(grant) for grant in access.grants(arguments.camera)]
    print_rows(rows, _GRANT_COLUMNS, as_json=arguments.json)
    return 0


def grant_remove(arguments: argparse.Namespace) -> int:
    """Take grants back."""
    with _tools(arguments) as access:
        gone = access.remove_grants(arguments.camera, arguments.user, arguments.action)
    if arguments.json:
        print_json({"user": arguments.user, "withdrawn": gone})
    else:
        print_line(f"withdrawn from {arguments.user}: {', '.join(gone) or 'nothing'}")
    return 0


def user_block(arguments: argparse.Namespace) -> int:
    """Block a user."""
    with _tools(arguments) as access:
        new = access.block(arguments.user, note=arguments.note)
    return _print_user(arguments, blocked=True, said="blocked" if new else "was blocked already")


def user_unblock(arguments: argparse.Namespace) -> int:
    """Lift a block."""
    with _tools(arguments) as access:
        lifted = access.unblock(arguments.user)
    return _print_user(arguments, blocked=False, said="unblocked" if lifted else "was not blocked")


def user_list(arguments: argparse.Namespace) -> int:
    """Print who is blocked."""
    with _tools(arguments) as access:
        rows = [
            {
                "user": row.user_sub,
                "blocked_by": row.blocked_by,
                "blocked_at": rfc3339(row.blocked_at),
                "note": row.note,
            }
            for row in access.blocked()
        ]
    print_rows(rows, _BLOCKED_COLUMNS, as_json=arguments.json)
    return 0


def audit_list(arguments: argparse.Namespace) -> int:
    """Print a page of the audit trail, newest first."""
    with _tools(arguments) as access:
        page = access.audit(
            camera_id=arguments.camera,
            user=arguments.user,
            from_=arguments.from_,
            to=arguments.to,
            limit=arguments.limit,
            cursor=arguments.cursor,
        )
    rows = [_audit_row(event) for event in page.items]
    print_page(rows, _AUDIT_COLUMNS, page.next_cursor, as_json=arguments.json)
    return 0


def _tools(arguments: argparse.Namespace) -> AbstractContextManager[AccessTools]:
    return environment.access_tools(environment.load_settings(arguments.config, os.environ))


def _print_user(arguments: argparse.Namespace, *, blocked: bool, said: str) -> int:
    if arguments.json:
        print_json({"user": arguments.user, "blocked": blocked})
    else:
        print_line(f"{arguments.user} {said}")
    return 0


def _grant_row(grant: Grant) -> dict[str, object]:
    return {
        "user": grant.user_sub,
        "action": grant.action,
        "from": grant.from_ and rfc3339(grant.from_),
        "until": grant.until and rfc3339(grant.until),
    }


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
