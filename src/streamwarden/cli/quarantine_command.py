"""``streamwarden recordings adopt-quarantine``: bring home what was recorded while the root was away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamwarden.cli.arguments import add_command
from streamwarden.cli.environment import (
    become_owner_of,
    configure_logs,
    open_database,
    settings_of,
    write_audit_event,
)
from streamwarden.cli.output import print_json, print_line, print_note, print_table
from streamwarden.cli.record_root_command import known_root, root_folder
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from uuid import UUID

    from streamwarden.cli.arguments import Commands
    from streamwarden.recordings.quarantine_files import Moved, QuarantinedCamera
    from streamwarden.recordings.reconcile import Repair
    from streamwarden.storage.pool import Database

_COLUMNS = ("camera_id", "owner", "segments", "bytes", "from", "last_begins", "unfinished")

_NOTES = """\
While the record root is missing or another one, the streaming role records into QUARANTINE_FOLDER, if that
is set. This moves what it holds into the record root, enters it in the index, and takes its time out of the
gaps. A server may record into the record root meanwhile, and must not record into the quarantine. It may be
run again after a failure. A gap that is still open stays; run `recordings reconcile` once it has ended.

examples:
  streamwarden recordings adopt-quarantine /var/lib/streamwarden/quarantine --dry-run
  streamwarden recordings adopt-quarantine /var/lib/streamwarden/quarantine
"""


def add_adopt_quarantine_command(recordings: Commands) -> None:
    """Add ``recordings adopt-quarantine``."""
    parser = add_command(
        recordings,
        "adopt-quarantine",
        adopt_quarantine,
        "move what was recorded into a quarantine folder into the record root and the index",
        _NOTES,
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="the quarantine (default: the setting QUARANTINE_FOLDER)",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what it holds, change nothing")


def adopt_quarantine(arguments: argparse.Namespace) -> int:
    """Move a quarantine's segments into the record root; 1 if something is left to be done."""
    from streamwarden.recordings.quarantine_files import finish_leftovers, move_all, quarantined
    from streamwarden.recordings.record_root import RecordRoot

    settings = settings_of(arguments)
    configure_logs(settings)
    root = root_folder(settings)
    folder = _folder(arguments.folder or settings.quarantine_folder, root)
    become_owner_of(root)
    with open_database(settings) as database:
        require_root = known_root(root, database)
        held = list(quarantined(folder))
        if arguments.dry_run or not held:
            _print_held(arguments, held)
            return 0
        quarantine, clock = RecordRoot(folder), Clock()
        quarantine.take()
        try:
            finish_leftovers(folder, database, clock)
            moved = list(move_all(folder, root))
        except OSError as error:
            where = error.filename or folder
            raise ConfigError(f"{where}: {error.strerror}; run it again afterwards") from error
        finally:
            quarantine.release()
        repairs = _reconcile(root, database, [one.camera_id for one in held], require_root)
        write_audit_event(
            database,
            "quarantine_adopted",
            path=str(folder),
            segments=sum(one.segments for one in moved),
        )
    return _print_done(arguments, moved, repairs)


def _folder(folder: Path | None, root: Path) -> Path:
    if folder is None:
        raise ConfigError(
            "adopt-quarantine: name the folder, or set STREAMWARDEN_QUARANTINE_FOLDER"
        )
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    folder = folder.resolve()
    if folder.is_relative_to(root) or root.is_relative_to(folder):
        raise ConfigError(f"{folder} and the record root {root} contain each other")
    return folder


def _reconcile(
    root: Path, database: Database, cameras: list[UUID], require_root: Callable[[], None]
) -> list[Repair]:
    from streamwarden.recordings import reconcile
    from streamwarden.recordings.verify import VerifyOptions

    now = Clock().now()
    options = VerifyOptions(to=now, now=now, digests=False)
    return list(reconcile.reconcile(root, database, cameras, options, require_root=require_root))


def _print_held(arguments: argparse.Namespace, held: list[QuarantinedCamera]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "camera_id": str(one.camera_id),
            "owner": one.owner,
            "segments": one.segments,
            "bytes": one.size_bytes,
            "from": rfc3339(one.from_) if one.from_ else None,
            "last_begins": rfc3339(one.to) if one.to else None,
            "unfinished": one.unfinished,
        }
        for one in held
    ]
    if arguments.json:
        print_json({"cameras": rows, "adopted": False})
        return
    if rows:
        print_table(rows, _COLUMNS)
        print_note("nothing was changed")
    else:
        print_line("nothing is in this quarantine")


def _print_done(arguments: argparse.Namespace, moved: list[Moved], repairs: list[Repair]) -> int:
    left = [repair for repair in repairs if not repair.how]
    in_the_way = [path for one in moved for path in one.in_the_way]
    indexed = sum(repair.how.startswith("indexed") for repair in repairs)
    segments = sum(one.segments for one in moved)
    if arguments.json:
        print_json(
            {
                "adopted": True,
                "moved": segments,
                "indexed": indexed,
                "in_the_way": in_the_way,
                "left": [repair.finding.as_json() for repair in left],
            }
        )
    else:
        print_line(f"segments moved: {segments}, entered in the index: {indexed}")
        for path in in_the_way:
            print_note(f"{path}: the record root has another file of this name; left where it is")
        for repair in left:
            finding = repair.finding
            print_note(f"{finding.kind} of {finding.camera_id}: {finding.detail}; not mended")
    return 1 if left or in_the_way else 0
