"""Deletion of the oldest recordings while Postgres is unavailable, and of their rows when it is back.

Space must be freed even without the index. A file's name holds its start time. A deleted file with a row
would look like a loss, so each name is in the deletion log before its file is unlinked. When Postgres is
back the rows are marked like any others. Repeating a step does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.recordings.camera_shares import most_beyond
from streamwarden.recordings.deletion_log import FULL, DeletionLog
from streamwarden.recordings.durable import sync_folder
from streamwarden.recordings.record_root import camera_folders, files_and_bytes, stored_by_day

log = structlog.get_logger(__name__)

_BATCH: Final = 200

_USAGE_AT_MOST_S: Final = 3_600.0

_MARKED_AT_ONCE: Final = 1_000

_YOUNGEST: Final = timedelta(minutes=10)
"""Younger files may not be in the journal yet, and count as being recorded."""

_LONGEST: Final = timedelta(hours=2)
"""More than the longest segment: a file that was copied has the time of its copy."""

Mark = Callable[[Collection[UUID]], object]


@dataclass(frozen=True, slots=True)
class ExpiredFile:
    """A stored file to delete; ``path`` is absolute."""

    path: Path
    started_at: datetime
    size_bytes: int


class OfflineRetention:
    """Deletes files without the index, and marks their rows later. Blocking; one thread at a time.

    ``waiting_since`` returns when the oldest row in the journal was appended, None for none. ``kept_from``
    returns the time from which on all recordings are kept. ``at_floor``: the last call lacked one of them.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        state: Path,
        waiting_since: Callable[[], datetime | None],
        clock: Clock,
        reckoned: Callable[[], datetime] | None = None,
        kept_from: Callable[[], datetime] | None = None,
    ) -> None:
        self._root = record_root
        self._log = DeletionLog(state)
        self._owed: list[str] = []
        """Files that are gone and not in the log yet, because the disk takes no write at all."""
        self._waiting_since = waiting_since
        self._clock = clock
        self._reckoned = reckoned
        self._kept_from = kept_from
        self.at_floor = False
        self._stuck: set[Path] = set()
        self._usage: dict[Path, tuple[int, int]] = {}
        self._usage_until_s = -math.inf

    def delete(self, need_bytes: int, need_files: int = 0) -> list[ExpiredFile]:
        """Delete the oldest files of the camera furthest beyond its share, else of all; return them.

        A batch at most: as many as free ``need_bytes``, and at least ``need_files``, for their inodes.

        Raises:
            OSError: the disk refuses; nothing was deleted.
        """
        chosen = self._oldest(need_bytes, need_files)
        if not chosen:
            return []
        gone = [each for each in self._noted(chosen) if self._unlink(each.path)]
        tidy_folders({each.path.parent for each in gone})
        self._log.prepare()
        return gone

    def prepare(self) -> None:
        """Make room in the deletion log while the disk has some. Raises nothing."""
        self._log.prepare()

    def settle(self, mark: Mark) -> None:
        """Mark the rows of deleted files with ``mark``, once all of them are in the index.

        Raises:
            Unavailable: Postgres is unavailable; the log stays.
        """
        logged_at = self._log.logged_at()
        if logged_at is None:
            return
        waiting_since = self._waiting_since()
        if waiting_since is not None and waiting_since <= logged_at:
            return  # rows in the journal would be entered later, for files that are gone
        ids = self._log.rows()
        while batch := list(islice(ids, _MARKED_AT_ONCE)):
            mark(batch)
        self._log.clear()

    def _noted(self, chosen: Sequence[ExpiredFile]) -> Sequence[ExpiredFile]:
        """Note files in the deletion log; return those that may go now.

        Where not even the log's own room can be written (a file system that writes every change elsewhere),
        one file goes first, and is noted with the space that it leaves.
        """
        names = [*self._owed, *(str(each.path.relative_to(self._root)) for each in chosen)]
        owed = len(self._owed)
        try:
            noted = self._log.add(names)
        except OSError as error:
            if error.errno not in FULL:
                raise
            log.warning("deletion_not_noted", file=chosen[0].path.name, error=error.strerror)
            self._owed = names[: owed + 1]
            return chosen[:1]
        self._owed = names[noted:owed]
        return chosen[: max(0, noted - owed)]

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # Pass over it: it is in the log, so its row is marked, and retention tries the file again.
            log.error("segment_stuck", file=path.name, error=error.strerror)  # noqa: TRY400 - the error is in the event
            self._stuck.add(path)
            return False
        return True

    def _oldest(self, need_bytes: int, need_files: int) -> list[ExpiredFile]:
        now = self._clock.now()
        # A clock that is behind must not make all files look as if they were being recorded.
        before = (now if self._reckoned is None else max(now, self._reckoned())) - _YOUNGEST
        cameras = [each.path for each in camera_folders(self._root)]
        by_bytes = need_bytes > 0
        beyond = most_beyond(self._taken(cameras, by_bytes=by_bytes))
        if beyond is not None:
            few_bytes = min(need_bytes, beyond.excess) if by_bytes else 0
            few_files = 0 if by_bytes else min(need_files, beyond.excess)
            if found := list(self._oldest_of([beyond.camera], before, few_bytes, few_files)):
                return found
        return list(self._oldest_of(cameras, before, need_bytes, need_files))

    def _oldest_of(
        self, cameras: Sequence[Path], before: datetime, need_bytes: int, need_files: int
    ) -> Iterator[ExpiredFile]:
        files = (each for each in stored_by_day(cameras) if each[0] not in self._stuck)
        kept_from = None if self._kept_from is None else self._kept_from()
        self.at_floor = False
        for path, started_at in islice(files, _BATCH):
            if (need_bytes <= 0 and need_files <= 0) or started_at >= before:
                return
            with suppress(FileNotFoundError):
                found = path.stat(follow_symlinks=False)
                if kept_from is not None and _ended_at(started_at, found.st_mtime) >= kept_from:
                    self.at_floor = True
                    return
                need_bytes -= found.st_size
                need_files -= 1
                files_left, bytes_left = self._usage.get(path.parent.parent, (0, 0))
                self._usage[path.parent.parent] = (files_left - 1, bytes_left - found.st_size)
                yield ExpiredFile(path, started_at, found.st_size)

    def _taken(self, cameras: Sequence[Path], *, by_bytes: bool) -> dict[Path, int]:
        """Return the bytes or files of each camera, counted again after a hundred times what that took."""
        began_s = self._clock.monotonic()
        if began_s >= self._usage_until_s:
            self._usage = {camera: files_and_bytes(camera) for camera in cameras}
            now_s = self._clock.monotonic()
            self._usage_until_s = now_s + min(_USAGE_AT_MOST_S, 100 * (now_s - began_s))
        return {
            camera: size if by_bytes else files
            for camera, (files, size) in self._usage.items()
            if files > 0
        }


def _ended_at(started_at: datetime, modified_s: float) -> datetime:
    """Return the end of a stored file: its last write, where that can be."""
    longest = started_at + _LONGEST
    modified = datetime.fromtimestamp(modified_s, UTC)
    return modified if started_at < modified < longest else longest


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
