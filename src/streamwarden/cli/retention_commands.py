"""``streamwarden retention``: what deletion waits for, and its confirmation."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, add_group
from streamwarden.cli.environment import (
    become_owner_of,
    open_database,
    settings_of,
    write_audit_event,
)
from streamwarden.cli.output import print_json, print_note, print_table
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import ConfigError

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.recordings.deletion_rules import DeletionRules, DeletionRulesFile, Wait
    from streamwarden.storage.pool import Database
    from streamwarden.storage.recording_index import Total

_COLUMNS = ("reason", "waits_for", "goes_on_in_s", "segments", "size", "from", "to")

_STATUS_NOTES = """\
reasons
  clock                       the wall clock is ahead of the time that has passed for certain
  age                         RETENTION_DAYS was shortened
  total_quota, camera_quota   a quota is new or smaller
  share                       most of the recordings would be deleted at once

Each waits RETENTION_GRACE (a day), counted while the machine runs, or until it is confirmed. What was due
before goes on being deleted, and so does what the free-space reserve needs. The table shows how much would
be deleted in addition, and from which range of time.

With --dry-run the settings that the command is given count, as if the server had been started with them: it
shows what a changed RETENTION_DAYS, CAMERA_QUOTA or TOTAL_QUOTA would delete before the server knows it.
Nothing is changed.

example:
  STREAMWARDEN_TOTAL_QUOTA='500 GiB' streamwarden retention status --dry-run
"""
_CONFIRM_NOTES = """\
Prints what waits and confirms all of it; run "retention status" before. The server, which may be down,
takes the confirmation at its next sweep (5 s). It needs RECORD_ROOT and the rights of the server's user.

example:
  streamwarden retention status
  streamwarden retention confirm
"""


def add_retention_commands(commands: Commands) -> None:
    """Add ``retention`` with its commands."""
    group = add_group(commands, "retention", "what deletion waits for, and its confirmation")
    status = add_command(group, "status", retention_status, "print what waits", _STATUS_NOTES)
    status.add_argument(
        "--dry-run",
        action="store_true",
        help="what would wait if the server had been started with these settings",
    )
    add_command(
        group, "confirm", retention_confirm, "let what waits be deleted now", _CONFIRM_NOTES
    )


def retention_status(arguments: argparse.Namespace) -> int:
    """Print what deletion waits for, and how much it would delete."""
    settings = settings_of(arguments)
    _, rules = _rules(settings)
    if arguments.dry_run:
        rules = _with_limits(rules, settings)
    with open_database(settings) as database:
        _print(arguments, _rows(database, settings, rules))
    return 0


def retention_confirm(arguments: argparse.Namespace) -> int:
    """Print what waits, and confirm it."""
    settings = settings_of(arguments)
    file, rules = _rules(settings)
    waits = rules.waits()
    with open_database(settings) as database:
        rows = _rows(database, settings, rules)
        if waits:
            try:
                file.confirm(waits)
            except OSError as error:
                raise ConfigError(f"the confirmation cannot be written: {error}") from error
            write_audit_event(database, "retention.confirm", waits=rows)
    _print(arguments, rows)
    return 0


def _rules(settings: Settings) -> tuple[DeletionRulesFile, DeletionRules]:
    from streamwarden.config.loading import variable
    from streamwarden.paths import STATE
    from streamwarden.recordings.deletion_rules import DeletionRulesFile

    if settings.record_root is None:
        raise ConfigError(f"{variable('record_root')}: is not set; the folder of the recordings")
    if settings.record_root.is_dir():
        become_owner_of(settings.record_root)
    file = DeletionRulesFile(settings.record_root.resolve() / STATE)
    try:
        rules = file.read()
    except OSError as error:
        raise ConfigError(f"the state of retention cannot be read: {error}") from error
    if rules is None:
        raise ConfigError("no server has written the state of retention there yet")
    return file, rules


def _with_limits(rules: DeletionRules, settings: Settings) -> DeletionRules:
    from streamwarden.age_clock import read_clocks
    from streamwarden.recordings.deletion_rules import Rules

    limits = Rules(
        keep_for=timedelta(days=settings.retention_days),
        total_bytes=settings.total_quota,
        camera_bytes=settings.camera_quota,
    )
    # What has no time to wait would be deleted at the start, and is to be seen here all the same.
    grace = timedelta(seconds=max(settings.retention_grace, 1.0))
    return rules.moved_on(limits, read_clocks(Clock()), grace)


def _rows(database: Database, settings: Settings, rules: DeletionRules) -> list[dict[str, object]]:
    from streamwarden.recordings.deletion_rules import size_in_words

    grace_s = settings.retention_grace
    rows: list[dict[str, object]] = []
    for wait in rules.waits():
        preview = _preview(database, rules, wait)
        rows.append(
            {
                "reason": wait.reason.value,
                "value": wait.value,
                "waits_for": _in_words(wait),
                "goes_on_in_s": round(max(0.0, grace_s - wait.waited_s)),
                "segments": preview.segments,
                "size_bytes": preview.size_bytes,
                "size": size_in_words(preview.size_bytes),
                "from": preview.started_at and rfc3339(preview.started_at),
                "to": preview.ended_at and rfc3339(preview.ended_at),
            }
        )
    return rows


def _preview(database: Database, rules: DeletionRules, wait: Wait) -> Total:
    from streamwarden.age_clock import read_clocks
    from streamwarden.recordings.deletion_rules import WaitReason
    from streamwarden.storage.recording_index import SegmentRepository, Total

    segments = SegmentRepository(database)
    if wait.reason in {WaitReason.TOTAL_QUOTA, WaitReason.CAMERA_QUOTA}:
        each_camera = wait.reason is WaitReason.CAMERA_QUOTA
        return segments.over_quota(int(wait.value), each_camera=each_camera)
    clock, keep_for = rules.clock, rules.rules.keep_for
    if wait.reason is WaitReason.CLOCK:
        clock = clock.confirmed(read_clocks(Clock()))
    elif wait.reason is WaitReason.AGE:
        keep_for = timedelta(seconds=wait.value)
    expired = [
        segments.count(ended_from=each.from_, ended_before=each.to)
        for each in clock.older_than(keep_for)
    ]
    due = [segments.count(ended_from=each.from_, ended_before=each.to) for each in rules.expired()]
    return Total(
        segments=max(
            0, sum(each.segments for each in expired) - sum(each.segments for each in due)
        ),
        size_bytes=max(
            0, sum(each.size_bytes for each in expired) - sum(each.size_bytes for each in due)
        ),
        started_at=min((each.started_at for each in expired if each.started_at), default=None),
        ended_at=max((each.ended_at for each in expired if each.ended_at), default=None),
    )


def _in_words(wait: Wait) -> str:
    from streamwarden.recordings.deletion_rules import WaitReason, size_in_words

    match wait.reason:
        case WaitReason.CLOCK:
            return f"the clock is {timedelta(seconds=round(wait.value))} ahead"
        case WaitReason.AGE:
            return f"recordings are kept {wait.value / 86_400:g} days"
        case WaitReason.SHARE:
            return f"{wait.value:.0f} segments are too old at once"
        case _:
            return f"a quota of {size_in_words(wait.value)}"


def _print(arguments: argparse.Namespace, rows: list[dict[str, object]]) -> None:
    if arguments.json:
        print_json({"waits": rows})
        return
    if not rows:
        print_note("nothing waits")
        return
    print_table(rows, _COLUMNS)
