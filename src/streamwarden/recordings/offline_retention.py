"""Deletion of the oldest recordings while Postgres is unavailable, and of their rows when it is back.

Space must be freed even without the index. A file's name holds its start time. A deleted file with a row
would look like a loss, so each name is on disk in the deletion log, synced, before its file is unlinked.
When Postgres is back the rows are marked like any others. Repeating a step does no harm.
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
"""Younger files may not be in the journal yet, and count as being recorded."""

Mark = Callable[[Collection[UUID]], object]


@dataclass(frozen=True, slots=True)
class ExpiredFile:
    """A stored file to delete; ``path`` is absolute."""

    path: Path
    started_at: datetime
    size_bytes: int


class OfflineRetention:
    """Deletes files without the index, and marks their rows later. Blocking; one thread at a time.

    ``waiting_since`` returns when the oldest row in the journal was appended, None for none.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        state: Path,
        waiting_since: Callable[[], datetime | None],
        clock: Clock,
        reckoned: Callable[[], datetime] | None = None,
    ) -> None:
        self._root = record_root
        self._log_path = state / DELETION_LOG
        self._waiting_since = waiting_since
        self._clock = clock
        self._reckoned = reckoned
        self._stuck: set[Path] = set()

    def delete(self, need_bytes: int, need_files: int = 0) -> list[ExpiredFile]:
        """Delete the oldest files, a batch at most; return them.

        As many as free ``need_bytes``, and at least ``need_files``, for their inodes.

        Raises:
            OSError: the deletion log cannot be written; nothing was deleted.
        """
        chosen = list(self._oldest(need_bytes, need_files))
        if chosen:
            self._log(chosen)
        gone = [each for each in chosen if self._unlink(each.path)]
        tidy_folders({each.path.parent for each in gone})
        return gone

    def settle(self, mark: Mark) -> None:
        """Mark the rows of deleted files with ``mark``, once all of them are in the index.

        Raises:
            Unavailable: Postgres is unavailable; the log stays.
        """
        try:
            logged_at = datetime.fromtimestamp(self._log_path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return
        waiting_since = self._waiting_since()
        if waiting_since is not None and waiting_since <= logged_at:
            return  # rows in the journal would be entered later, for files that are gone
        with self._log_path.open() as lines:
            ids = _rows_of(lines)
            while batch := list(islice(ids, _MARKED_AT_ONCE)):
                mark(batch)
        self._log_path.unlink()
        sync_folder(self._log_path.parent)

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # Pass over it: it is in the log, so its row is marked, and retention tries the file again.
            log.error("segment_stuck", file=path.name, error=error.strerror)  # noqa: TRY400 - the error is in the event
            self._stuck.add(path)
            return False
        return True

    def _oldest(self, need_bytes: int, need_files: int) -> Iterator[ExpiredFile]:
        now = self._clock.now()
        # A clock that is behind must not make all files look as if they were being recorded.
        before = (now if self._reckoned is None else max(now, self._reckoned())) - _YOUNGEST
        cameras = [each.path for each in camera_folders(self._root)]
        files = (each for each in stored_by_day(cameras) if each[0] not in self._stuck)
        for path, started_at in islice(files, _BATCH):
            if (need_bytes <= 0 and need_files <= 0) or started_at >= before:
                return
            with suppress(FileNotFoundError):
                size = path.stat(follow_symlinks=False).st_size
                need_bytes -= size
                need_files -= 1
                yield ExpiredFile(path, started_at, size)

    def _log(self, chosen: Collection[ExpiredFile]) -> None:
        # An empty line first, so that a torn last line does not damage the next.
        lines = "\n" + "".join(f"{each.path.relative_to(self._root)}\n" for each in chosen)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        new = not self._log_path.exists()
        with os.fdopen(os.open(self._log_path, flags, 0o640), "w") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self._log_path.parent)


class LoggedDeletions:
    """The rows of the files in the deletion log, for ``recordings verify``.

    The log is read again when it has changed. Raises OSError where it cannot be read.
    """

    def __init__(self, state: Path) -> None:
        self._log_path = state / DELETION_LOG
        self._read: tuple[int, int, int] | None = None
        self._rows: frozenset[UUID] = frozenset()

    def __contains__(self, row_id: object) -> bool:
        """Return whether this row's file is in the log and the row not yet marked."""
        try:
            with self._log_path.open() as lines:
                found = os.fstat(lines.fileno())
                state = (found.st_ino, found.st_size, found.st_mtime_ns)
                if state != self._read:
                    self._rows = frozenset(_rows_of(lines))
                    self._read = state
        except FileNotFoundError:
            return False
        return row_id in self._rows


def tidy_folders(folders: Iterable[Path]) -> None:
    """Sync the folders that files were deleted from, and remove the empty ones."""
    for folder in sorted(folders):
        if folder.is_dir():
            sync_folder(folder)
            _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    # rmdir refuses a folder that is not empty, also if a file has come this moment.
    try:
        folder.rmdir()
    except OSError:
        return
    sync_folder(folder.parent)


def _rows_of(lines: Iterable[str]) -> Iterator[UUID]:
    return (found for line in lines if (found := _row_of(line)) is not None)


def _row_of(line: str) -> UUID | None:
    """Return the id of the row of a logged file; None for a line that a crash has torn."""
    parts = line.removesuffix("\n").split("/")
    stored = parse_stored(*parts[2:]) if line.endswith("\n") and len(parts) == 4 else None  # noqa: PLR2004 - owner, camera, day, name
    try:
        return None if stored is None else segment_id(UUID(parts[1]), stored.run, stored.number)
    except ValueError:
        return None
