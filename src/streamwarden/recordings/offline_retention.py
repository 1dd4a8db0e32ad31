"""Deleting while Postgres is away: files first, written down, and their rows when it is back.

At the reserve a recorder must go on, whether or not there is an index to ask what is oldest: a file's
name says when it began. The other order of steps would leave rows that speak of no file and that
nobody can tell from a loss; so each name is on disk, synced, before its file is unlinked, and the row
is marked afterwards like any other that is deleted. Harmless when repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.paths import parse_stored, segment_id
from streamwarden.recordings.durable import sync_folder
from streamwarden.recordings.record_root import camera_folders, stored_by_day

log = structlog.get_logger(__name__)


DELETION_LOG: Final = "deletions"


_BATCH: Final = 200


_MARKED_AT_ONCE: Final = 1_000


_YOUNGEST: Final = timedelta(minutes=10)
"""What began later may still be on its way into the journal, and counts as being recorded."""


Mark = Callable[[Collection[UUID]], object]


@dataclass(frozen=True, slots=True)
class ExpiredFile:
    """A stored file that is to go; ``path`` is absolute."""

    path: Path
    started_at: datetime
    size_bytes: int


class OfflineRetention:
    """Deletes without the index, and tells it later. Blocking; one thread at a time.

    ``waiting_since`` says when the oldest row that the index still waits for was written down.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        state: Path,
        waiting_since: Callable[[], datetime | None],
        clock: Clock,
    ) -> None:
        self._root = record_root
        self._book = state / DELETION_LOG
        self._waiting_since = waiting_since
        self._clock = clock
        self._stuck: set[Path] = set()

    def delete(self, need_bytes: int) -> list[ExpiredFile]:
        """Delete the oldest files, a batch at most, until ``need_bytes`` are freed; return them.

        Raises:
            OSError: the disk refuses to have it written down; nothing was deleted.
        """
        chosen = list(self._oldest(need_bytes))
        if chosen:
            self._note(chosen)
        gone = [each for each in chosen if self._unlink(each.path)]
        tidy_folders({each.path.parent for each in gone})
        return gone

    def settle(self, mark: Mark) -> None:
        """Have the rows marked whose files were deleted, once all of them are in the index.

        Raises:
            Unavailable: Postgres is away; nothing is forgotten.
        """
        try:
            noted_at = datetime.fromtimestamp(self._book.stat().st_mtime, UTC)
        except FileNotFoundError:
            return
        waiting_since = self._waiting_since()
        if waiting_since is not None and waiting_since <= noted_at:
            return  # a row that is yet to come would stand there without its file
        with self._book.open() as book:
            ids = _rows_of(book)
            while batch := list(islice(ids, _MARKED_AT_ONCE)):
                mark(batch)
        self._book.unlink()
        sync_folder(self._book.parent)

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # It must not keep the others; it is written down, and goes with its row if it ever can.
            log.error("segment_stuck", file=path.name, error=error.strerror)  # noqa: TRY400 - why is said
            self._stuck.add(path)
            return False
        return True

    def _oldest(self, need_bytes: int) -> Iterator[ExpiredFile]:
        before = self._clock.now() - _YOUNGEST
        cameras = [each.path for each in camera_folders(self._root)]
        files = (each for each in stored_by_day(cameras) if each[0] not in self._stuck)
        for path, started_at in islice(files, _BATCH):
            if need_bytes <= 0 or started_at >= before:
                return
            with suppress(FileNotFoundError):
                size = path.stat(follow_symlinks=False).st_size
                need_bytes -= size
                yield ExpiredFile(path, started_at, size)

    def _note(self, chosen: Collection[ExpiredFile]) -> None:
        # An empty line first: what a crash has torn must not swallow what comes after it.
        lines = "\n" + "".join(f"{each.path.relative_to(self._root)}\n" for each in chosen)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        new = not self._book.exists()
        with os.fdopen(os.open(self._book, flags, 0o640), "w") as book:
            book.write(lines)
            book.flush()
            os.fsync(book.fileno())
        if new:
            sync_folder(self._book.parent)


class LoggedDeletions:
    """The rows whose files are written down to go, and may be gone; read again when that has changed.

    For whoever looks at files and rows meanwhile. Raises OSError where it may not be read.
    """

    def __init__(self, state: Path) -> None:
        self._book = state / DELETION_LOG
        self._read: tuple[int, int, int] | None = None
        self._rows: frozenset[UUID] = frozenset()

    def __contains__(self, row_id: object) -> bool:
        """Whether a deletion of this row's file is written down and the row not yet marked."""
        try:
            with self._book.open() as book:
                found = os.fstat(book.fileno())
                state = (found.st_ino, found.st_size, found.st_mtime_ns)
                if state != self._read:
                    self._rows = frozenset(_rows_of(book))
                    self._read = state
        except FileNotFoundError:
            return False
        return row_id in self._rows


def tidy_folders(folders: Iterable[Path]) -> None:
    """Sync the folders that files were deleted from, and remove those in which nothing is left."""
    for folder in sorted(folders):
        if folder.is_dir():
            sync_folder(folder)
            _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    # The system refuses while anything is in it, also what has come this moment.
    try:
        folder.rmdir()
    except OSError:
        return
    sync_folder(folder.parent)


def _rows_of(book: Iterable[str]) -> Iterator[UUID]:
    return (found for line in book if (found := _row_of(line)) is not None)


def _row_of(line: str) -> UUID | None:
    """Return the id of a noted file's row; None for a line that a crash has torn."""
    parts = line.removesuffix("\n").split("/")
    stored = parse_stored(*parts[2:]) if line.endswith("\n") and len(parts) == 4 else None  # noqa: PLR2004 - owner, camera, day, name
    try:
        return None if stored is None else segment_id(UUID(parts[1]), stored.run, stored.number)
    except ValueError:
        return None
