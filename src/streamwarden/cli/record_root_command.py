"""``streamwarden recordings adopt-root``: give the database another record root.

Also the check of other commands that the record root and the database belong together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from streamwarden.cli.arguments import add_command
from streamwarden.cli.environment import (
    become_owner_of,
    open_database,
    settings_of,
    write_audit_event,
)
from streamwarden.cli.output import print_json, print_line
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import ConfigError, Conflict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.storage.pool import Database
    from streamwarden.storage.record_roots import PairedRoot, RecordRootRepository

_SAMPLE = 200

_NOTES = """\
The record root and the database know each other by an id, so that a disk that is not mounted is not
recorded beside. Adopt a root when the recordings were moved to another disk, or when the disk is lost and
recording is to begin on a new one. Without --yes it only shows what it would do.

Afterwards `streamwarden recordings reconcile` enters recordings whose files are not in the adopted root as
lost. Until then they stay in the index: the former root can be adopted again.

examples:
  streamwarden recordings adopt-root          what is at RECORD_ROOT, and what the database has
  streamwarden recordings adopt-root --yes
"""


class RootNotAdopted(Conflict):
    """The record root cannot be adopted now; the message says why."""

    code = "root_not_adopted"


def add_adopt_root_command(recordings: Commands) -> None:
    """Add ``recordings adopt-root``."""
    parser = add_command(
        recordings,
        "adopt-root",
        adopt_root,
        "let the record root belong to the database, after a move or the loss of a disk",
        _NOTES,
    )
    parser.add_argument("--yes", action="store_true", help="do it, after having shown it")


def adopt_root(arguments: argparse.Namespace) -> int:
    """Show the record root and the database, and with ``--yes`` pair them."""
    from streamwarden.storage.record_roots import RecordRootRepository

    settings = settings_of(arguments)
    root = root_folder(settings)
    become_owner_of(root)
    with open_database(settings) as database:
        roots = RecordRootRepository(database)
        shown = _shown(root, roots)
        if arguments.yes and not shown["belongs"]:
            _refuse_while_recording(roots)
            shown["adopted"] = _adopt(settings, root, database, roots)
    if arguments.json:
        print_json(shown)
    else:
        for line in _in_words(shown):
            print_line(line)
    return 0


def _shown(root: Path, roots: RecordRootRepository) -> dict[str, Any]:
    from streamwarden.recordings.record_root import RecordRoot
    from streamwarden.recordings.root_identity import facts_of, files_found

    facts = facts_of(root)
    if facts.fault is not None:
        raise ConfigError(facts.fault.text)
    known, segments = roots.known()
    found, count = files_found(root, roots.newest_files(limit=_SAMPLE))
    return {
        "record_root": str(root),
        "root_id": None if facts.id is None else str(facts.id),
        "used": facts.used,
        **RecordRoot(root).file_system(),
        "database_root_id": None if known is None else str(known.id),
        "database_root": None if known is None else known.path,
        "database_root_node": None if known is None else known.node,
        "database_root_adopted_at": None if known is None else rfc3339(known.adopted_at),
        "database_has_segments": segments,
        "newest_segments": count,
        "files_found": found,
        "belongs": known is not None and known.id == facts.id,
        "adopted": None,
    }


def _in_words(shown: dict[str, Any]) -> list[str]:
    used = f"id {shown['root_id']}" if shown["root_id"] else "no id"
    if not shown["used"]:
        used += ", and no server has recorded into it"
    lines = [f"record root   {shown['record_root']}: {used}"]
    if "mounted_at" in shown:
        lines.append(
            f"file system   {shown['file_system']}, {shown['source']} mounted at {shown['mounted_at']}"
        )
    if shown["database_root_id"]:
        lines.append(
            f"database      belongs to id {shown['database_root_id']}, {shown['database_root']} on"
            f" {shown['database_root_node']}, adopted at {shown['database_root_adopted_at']}"
        )
    else:
        lines.append("database      belongs to no record root yet")
    count, found = shown["newest_segments"], shown["files_found"]
    lines.append(f"recordings    {found} of the {count} newest have their file in this record root")
    if shown["adopted"]:
        lines.append(f"adopted       id {shown['adopted']}; a waiting server begins within seconds")
        if found < count:
            lines.append("              next: streamwarden recordings reconcile")
    elif shown["belongs"]:
        lines.append("They belong together: there is nothing to adopt.")
    else:
        if count and not found:
            lines.append("None of the recordings is here: is the right disk mounted?")
        lines.append("Nothing was changed. With --yes this record root belongs to the database.")
    return lines


def _refuse_while_recording(roots: RecordRootRepository) -> None:
    from streamwarden.recordings.root_pairing import LEASE_S

    lease = roots.lease()
    if lease is None:
        return
    if lease.age_s <= LEASE_S:
        raise RootNotAdopted(
            f"a streaming role records into {lease.path} on node {lease.node} (seen"
            f" {max(0.0, lease.age_s):.0f} s ago); stop it first"
        )
    roots.drop_lease(lease.session)


def _adopt(settings: Settings, root: Path, database: Database, roots: RecordRootRepository) -> str:
    from streamwarden.recordings.root_identity import facts_of, write_id
    from streamwarden.storage.record_roots import PairedRoot

    root_id = facts_of(root).id or uuid4()
    try:
        write_id(root, root_id)
    except OSError as error:
        raise ConfigError(f"{root} cannot be written: {error.strerror}") from error
    adopted = PairedRoot(id=root_id, node=settings.node, path=str(root), adopted_at=Clock().now())
    roots.adopt(adopted)
    write_audit_event(
        database, "record_root_adopted", root_id=str(root_id), path=str(root), node=settings.node
    )
    return str(root_id)


def root_folder(settings: Settings) -> Path:
    """Return the folder of the record root; raise ConfigError where there is none."""
    from streamwarden.config.loading import variable

    name, root = variable("record_root"), settings.record_root
    if root is None:
        raise ConfigError(f"{name} is not set")
    if not root.is_dir():
        raise ConfigError(f"{name}: {root} is not a folder; is its disk mounted?")
    return root.resolve()


def known_root(root: Path, database: Database) -> Callable[[], None]:
    """Check that ``root`` belongs to the database; return the check, for between two steps.

    Raises:
        RootNotKnown: it does not; nothing in it is missing or lost because of that.
    """
    from streamwarden.recordings.root_identity import require_paired
    from streamwarden.storage.record_roots import RecordRootRepository

    known: PairedRoot | None = RecordRootRepository(database).known()[0]

    def check() -> None:
        if known is not None:
            require_paired(root, known.id)

    check()
    return check
