"""``streamwarden recordings list``, ``verify`` and ``reconcile``."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from streamwarden.cli.arguments import (
    add_camera_choice,
    add_command,
    add_group,
    add_paging,
    add_range,
    camera_id,
)
from streamwarden.cli.environment import become_owner_of, open_database, settings_of
from streamwarden.cli.evidence_commands import SIGNED_NOTES, add_signed_options, verify_signed
from streamwarden.cli.output import print_json, print_note, print_page, print_table
from streamwarden.cli.quarantine_command import add_adopt_quarantine_command
from streamwarden.cli.record_root_command import add_adopt_root_command, known_root
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import ConfigError, InvalidInput, NotFound
from streamwarden.model import Gap, Segment
from streamwarden.paths import STATE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from uuid import UUID

    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.recordings.verify import VerifyOptions
    from streamwarden.storage.pool import Database

_DAY = timedelta(days=1)
_COLUMNS = ("kind", "started_at", "ended_at", "media_seconds", "bytes", "run", "cause")
_DAY_COLUMNS = (
    "camera_id",
    "day",
    "wanted_seconds",
    "recorded_seconds",
    "gap_seconds",
    "unaccounted_seconds",
    "bound_seconds",
    "date_error_seconds",
)
_FINDING_COLUMNS = ("kind", "camera_id", "started_at", "ended_at", "path", "detail")

_LIST_EXAMPLES = """\
example:
  streamwarden recordings list --camera ID --from 2026-01-31T08:00 --to 2026-01-31T09:00
"""
_VERIFY_NOTES = """\
A finding has one of these kinds:
  file_missing, row_missing          a row without its file, a file without its row
  file_cut_short, file_grown, bytes_changed, file_unreadable
  second_missing, second_twice       a wanted second in no segment and no gap, or in one of each
  gap_left_open                      an open gap, although no recording is wanted
  gap_in_future                      a gap of a time that has not come yet
  segment_in_future                  segments of a time that has not come yet: the clock was ahead. They
                                     are kept; set the clock right, and look for them at that time
  recorded_twice                     two runs over the same time for more than 30 s and a segment. Unless
                                     the clock was set back: is another server recording this camera?
  pictures_missing                   a time without pictures inside a file, and in no gap
  dates_wrong                        a file whose pictures do not fit between the dates of its row
For each camera and day the sum follows: wanted seconds are seconds with pictures and seconds of gaps,
to within the bound, which comes from the error of the dates where recorded stretches begin and end.
--quick leaves the contents of the files out, and so the last two kinds.
It changes nothing, and may run while a server records.
"""
_RECONCILE_NOTES = """\
Files without a row are indexed. Rows without a file are reported as lost and become a gap; seconds
in no segment and no gap become a gap. Files that were changed, and what a wrong clock or a second
server has left (segment_in_future, recorded_twice), are reported and not touched.
"""


def add_recording_commands(commands: Commands) -> Commands:
    """Add ``recordings`` with its commands; return the group."""
    recordings = add_group(commands, "recordings", "list, check and seal recordings")
    listing = add_command(
        recordings,
        "list",
        recordings_list,
        "list segments and gaps in time order",
        _LIST_EXAMPLES,
    )
    listing.add_argument("--camera", type=camera_id, required=True, metavar="ID")
    add_range(listing, default="a day before --to")
    add_paging(listing)
    verify = add_command(
        recordings,
        "verify",
        recordings_verify,
        "compare files, index and wanted time; exit 1 if they differ",
        _VERIFY_NOTES + SIGNED_NOTES,
    )
    _add_check_options(verify)
    add_signed_options(verify)
    reconcile = add_command(
        recordings,
        "reconcile",
        recordings_reconcile,
        "repair what verify finds; exit 1 if something cannot be repaired",
        _RECONCILE_NOTES,
    )
    _add_check_options(reconcile)
    add_adopt_root_command(recordings)
    add_adopt_quarantine_command(recordings)
    return recordings


def _add_check_options(check: argparse.ArgumentParser) -> None:
    add_camera_choice(check)
    add_range(check, default="everything")
    check.add_argument(
        "--quick", action="store_true", help="compare sizes only, not the digests of the files"
    )
    check.add_argument("--decode", action="store_true", help="also decode every file with FFmpeg")


def recordings_list(arguments: argparse.Namespace) -> int:
    """Print a page of segments and gaps; the camera may be removed: its recordings outlive it."""
    from streamwarden.storage.recording_index import RecordingsRepository, SegmentRepository
    from streamwarden.storage.streams import PeriodRepository

    to = arguments.to or Clock().now()
    from_ = arguments.from_ or to - _DAY
    settings = settings_of(arguments)
    if from_ >= to:
        raise InvalidInput("--from must be before --to", field="from")
    with open_database(settings) as database:
        page = RecordingsRepository(database).list(
            arguments.camera, from_, to, limit=arguments.limit, cursor=arguments.cursor
        )
        if not page.items:
            recorded = SegmentRepository(database).camera_ids()
            wanted = PeriodRepository(database).camera_ids()
            _check_known(database, arguments.camera, [*recorded, *wanted])
    rows = [_row(item) for item in page.items]
    print_page(rows, _COLUMNS, page.next_cursor, as_json=arguments.json)
    return 0


def recordings_verify(arguments: argparse.Namespace) -> int:
    """Print the differences between files, index and wanted time; 1 if there are any."""
    from streamwarden.recordings import reconcile

    if arguments.signed:
        return verify_signed(arguments)
    for_signed = (arguments.public_key, arguments.head, arguments.record_root)
    if any((*for_signed, arguments.export, arguments.proof)):
        raise InvalidInput(
            "--public-key, --head, --record-root, --export and --proof need --signed"
        )
    settings = settings_of(arguments)
    cameras, scope = _scope(settings, arguments)
    with _checked(settings, cameras) as (root, database, _):
        reading = reconcile.verifier(root, database)
        findings = [
            finding.as_json()
            for camera in cameras or reading.cameras()
            for finding in reading.verify(camera, scope)
        ]
    days = [day.as_json() for day in reading.days]
    _print_findings(arguments, findings, _FINDING_COLUMNS, days=days)
    return 1 if findings else 0


def recordings_reconcile(arguments: argparse.Namespace) -> int:
    """Repair the recordings and print each finding with its repair; 1 if one has none."""
    from streamwarden.recordings import reconcile

    settings = settings_of(arguments)
    cameras, scope = _scope(settings, arguments)
    with _checked(settings, cameras) as (root, database, require_root):
        mended = list(
            reconcile.reconcile(root, database, cameras, scope, require_root=require_root)
        )
    rows = [{**one.finding.as_json(), "mended": one.how or None} for one in mended]
    _print_findings(arguments, rows, (*_FINDING_COLUMNS, "mended"))
    return 0 if all(one.how for one in mended) else 1


def _scope(
    settings: Settings, arguments: argparse.Namespace
) -> tuple[tuple[UUID, ...], VerifyOptions]:
    """Return the cameras and the scope of a check; no camera and no time mean all of them."""
    from streamwarden.ffmpeg.command import find_ffmpeg
    from streamwarden.ffmpeg.jobs import decode
    from streamwarden.ffmpeg.sandbox import open_sandbox
    from streamwarden.recordings.verify import BEGINNING, VerifyOptions

    now = Clock().now()
    if arguments.from_ is not None and arguments.from_ >= (arguments.to or now):
        raise InvalidInput("--from must be before --to", field="from")
    sandbox = open_sandbox(settings.ffmpeg_sandbox, settings.ffmpeg_reads)
    play = partial(decode, find_ffmpeg(settings.ffmpeg), sandbox=sandbox)
    scope = VerifyOptions(
        from_=arguments.from_ or BEGINNING,
        to=min(arguments.to, now) if arguments.to else now,
        now=now,
        digests=not arguments.quick,
        decode=play if arguments.decode else None,
    )
    return (arguments.camera,) if arguments.camera else (), scope


@contextmanager
def _checked(
    settings: Settings, cameras: Collection[UUID]
) -> Iterator[tuple[Path, Database, Callable[[], None]]]:
    """Open record root and database, which must belong together; also yield that check."""
    from streamwarden.recordings.reconcile import verifier

    root = _record_root(settings)
    become_owner_of(root)
    with open_database(settings) as database:
        require_root = known_root(root, database)
        for camera in cameras:
            _check_known(database, camera, verifier(root, database).cameras())
        yield root, database, require_root


def _check_known(database: Database, camera_id: UUID, recorded: Collection[UUID]) -> None:
    """Raise NotFound for a camera that is neither in the database nor among ``recorded``.

    A removed camera leaves recordings behind; a mistyped id must not look like a good result.
    """
    from streamwarden.storage.cameras import CameraRepository

    if camera_id not in recorded and CameraRepository(database).get(camera_id) is None:
        raise NotFound(f"there is no camera {camera_id}, and nothing is recorded under this id")


def _record_root(settings: Settings) -> Path:
    from streamwarden.config.loading import variable

    name, root = variable("record_root"), settings.record_root
    if root is None:
        raise ConfigError(f"{name} is not set")
    if not root.is_dir():
        raise ConfigError(f"{name}: {root} is not a folder")
    if not (root / STATE).is_dir():
        # Else an empty mount point would look like the loss of every file.
        raise ConfigError(f"{name}: no server has recorded into {root}; is its disk mounted?")
    return root.resolve()


def _print_findings(
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    days: Sequence[Mapping[str, object]] | None = None,
) -> None:
    if arguments.json:
        print_json({"findings": rows} if days is None else {"findings": rows, "days": days})
        return
    if rows:
        print_table(rows, columns)
    else:
        print_note("nothing is wrong")
    if days:
        print_table(days, _DAY_COLUMNS)


def _row(item: Segment | Gap) -> dict[str, Any]:
    times = {
        "started_at": rfc3339(item.started_at),
        "ended_at": None if item.ended_at is None else rfc3339(item.ended_at),
    }
    if isinstance(item, Gap):
        return {"kind": "gap", **times, "cause": item.cause}
    return {
        "kind": "segment",
        "id": str(item.id),
        **times,
        "media_seconds": item.media_ms / 1000,
        "missing_seconds": sum(each.length.total_seconds() for each in item.missing),
        "date_error_seconds": None if item.error_ms is None else item.error_ms / 1000,
        "bytes": item.size_bytes,
        "run": item.run,
        "salvaged": item.salvaged,
        "path": item.path,
    }
