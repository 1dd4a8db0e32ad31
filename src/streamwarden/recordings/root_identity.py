"""The identity of a record root: its marker file, and whether it belongs to a database.

A path is no identity: below an unmounted disk the same path is another folder. So the root holds an id
(``.streamwarden/root-id``) and Postgres the same one. The marker is read through the opened root folder,
never by the path alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.errors import Unavailable
from streamwarden.model import Cause
from streamwarden.paths import STATE, has_no_symlink
from streamwarden.recordings.durable import make_folder, sync_folder
from streamwarden.storage.record_roots import IndexedFile

MARKER: Final = "root-id"

_ID_BYTES: Final = 64

SAMPLE: Final = 50
"""How many of the newest rows' files are looked for in a root without an id."""

_GONE: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENODEV,
        errno.ENXIO,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ELOOP,
    }
)


@dataclass(frozen=True, slots=True)
class RootFault:
    """Why the record root cannot be recorded into: a cause, and one line for people."""

    cause: Cause
    text: str


class RootNotKnown(Unavailable):
    """The record root is not the known one at present: nothing may be stored, deleted or given up."""

    code = "record_root_not_known"

    def __init__(self, fault: RootFault) -> None:
        super().__init__(fault.text)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFacts:
    """What is found at a record root's path. ``used``: a server has recorded into it.

    ``fault`` where its file system does not let it be read.
    """

    exists: bool
    used: bool = False
    id: UUID | None = None
    device: int = 0
    fault: RootFault | None = None


NOTHING: Final = RootFacts(exists=False)


def facts_of(path: Path) -> RootFacts:
    """Look at a record root; nothing is changed. Blocking."""
    try:
        root_fd = open_root(path)
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except OSError as error:
        return RootFacts(exists=True, fault=fault_of(error, path))
    try:
        return RootFacts(
            exists=True,
            used=_has_state(root_fd),
            id=read_id(root_fd),
            device=os.fstat(root_fd).st_dev,
        )
    except OSError as error:
        return RootFacts(exists=True, fault=fault_of(error, path))
    finally:
        os.close(root_fd)


def require_paired(path: Path, root_id: UUID) -> None:
    """Raise RootNotKnown unless the root at the path has this id. Blocking."""
    facts = facts_of(path)
    if facts.id == root_id:
        return
    if facts.fault is not None:
        raise RootNotKnown(facts.fault)
    if facts.id is None:
        text = f"{path} is not the record root of this database ({root_id}); is its disk mounted?"
        raise RootNotKnown(RootFault(Cause.RECORD_ROOT_MISSING, text))
    text = f"{path} is another record root ({facts.id}) than that of this database ({root_id})"
    text += "; see `streamwarden recordings adopt-root`"
    raise RootNotKnown(RootFault(Cause.RECORD_ROOT_CHANGED, text))


def open_root(path: Path) -> int:
    """Return a descriptor of the root's folder."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def read_id(root_fd: int, name: str = MARKER) -> UUID | None:
    """Return the id in a file of the opened root's state folder; None where there is none."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(f"{STATE}/{name}", flags, dir_fd=root_fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return UUID(os.read(fd, _ID_BYTES).decode("ascii").strip())
    except ValueError:
        return None
    finally:
        os.close(fd)


def write_id(root: Path, root_id: UUID, name: str = MARKER) -> None:
    """Write an id into the state folder, durably."""
    state = root / STATE
    make_folder(state)
    staged = state / f"{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(staged, flags, 0o640), "w") as file:
        file.write(f"{root_id}\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(state / name)
    sync_folder(state)


def _has_state(root_fd: int) -> bool:
    try:
        os.stat(STATE, dir_fd=root_fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def fault_of(error: OSError, path: Path) -> RootFault:
    """Return what an error of the root's file system means."""
    text = error.strerror or type(error).__name__
    if error.errno == errno.EROFS:
        return RootFault(Cause.RECORD_ROOT_READ_ONLY, f"the file system of {path} is read-only")
    if error.errno in _GONE:
        return RootFault(Cause.RECORD_ROOT_MISSING, f"{path} is not there: {text}")
    return RootFault(Cause.NOT_WRITABLE, f"{path} cannot be used: {text}")


class RootVerdict(Enum):
    """Whether a record root belongs to the database."""

    OWN = auto()
    """Both have the same id."""
    ADOPT = auto()
    """Neither knows another: they are to get the same id."""
    COMPARE = auto()
    """An installation of an earlier version, perhaps: its files decide."""
    TRUSTED = auto()
    """Postgres does not answer, and a server has recorded here: recording goes on."""
    UNDECIDED = auto()
    """Postgres does not answer, and no server has recorded here."""
    MISSING = auto()
    """Postgres knows recordings, and the root holds no id: its disk is not mounted, or is lost."""
    CHANGED = auto()
    """The root of another installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What the database knows: the id of its record root, and whether it has segments."""

    root_id: UUID | None
    segments: bool


def judge(facts: RootFacts, indexed: Indexed | None) -> RootVerdict:
    """Decide from what is at the path and in the database (None: it does not answer)."""
    if indexed is None:
        return RootVerdict.TRUSTED if facts.used else RootVerdict.UNDECIDED
    if indexed.root_id is not None:
        if facts.id is None:
            return RootVerdict.MISSING
        return RootVerdict.OWN if facts.id == indexed.root_id else RootVerdict.CHANGED
    if not indexed.segments:
        return RootVerdict.ADOPT
    return RootVerdict.COMPARE if facts.exists else RootVerdict.MISSING


def files_found(root: Path, rows: Iterable[IndexedFile]) -> tuple[int, int]:
    """Return how many of the rows have their file in the root, with its size, and the number of rows."""
    found = count = 0
    for row in rows:
        count += 1
        path = root / row.path
        try:
            found += has_no_symlink(root, path) and path.stat().st_size == row.size_bytes
        except OSError:
            continue
    return found, count


def belongs(found: int, count: int) -> bool:
    """Return whether a root with ``found`` of ``count`` rows' files is the index's.

    Some may have been deleted while Postgres was away; a foreign root has none.
    """
    return found * 2 >= count
