"""A segment's way to its final place: synced, renamed, its folder synced; torn tails cut first.

Only after that may a row speak of it: a row means that the file is whole and on disk
(``docs/design/0004-stored.md``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import to_milliseconds
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FileSummary, summarise, summarise_boxes, summarise_finished
from streamwarden.paths import (
    LIVE,
    StoredName,
    SymlinkRefused,
    camera_folder,
    live_name,
    parse_live,
    parse_stored,
    refuse_symlinks,
    stored_name,
)
from streamwarden.recordings.durable import Look, make_folder, sync_file, sync_folder

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A whole file in its final place. ``path`` is relative to the record root."""

    path: str
    started_at: datetime
    ended_at: datetime
    media_ms: int
    size_bytes: int
    digest: bytes
    init_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A file in ``.live`` that no living run writes; ``ended_at`` is its last flush."""

    run: int
    number: int
    ended_at: datetime


class CameraStore:
    """One camera's folders. Blocking; one owner of the record root at a time is assumed.

    ``writer`` is the user id that FFmpeg runs under, where that is not the server's own.
    """

    def __init__(
        self, record_root: Path, owner: str, camera_id: UUID, *, writer: int | None = None
    ) -> None:
        self._root = record_root
        self._writer = writer
        self._folder = camera_folder(record_root, owner, camera_id)
        self._below_root = self._folder.relative_to(record_root)
        self.live = self._folder / LIVE

    def prepare(self) -> None:
        """Make the camera's folders.

        Raises:
            OSError: they cannot be made, or a symbolic link stands in their place.
        """
        refuse_symlinks(self._root, self.live)
        make_folder(self.live)
        if self._writer is not None:
            os.chown(self.live, self._writer, -1)

    def publish(
        self, *, run: int, number: int, started_at: datetime, ended_at: datetime
    ) -> StoredFile | None:
        """Put a segment that FFmpeg has listed into its final place. Harmless when repeated.

        FFmpeg also lists what it could not write to its end, on a full disk: a torn end is cut, and
        None returned where nothing is left.

        Raises:
            OSError: the disk refuses; the file is where it was. FileNotFoundError: it is nowhere.
        """
        # A run's first segment is dated by its media.
        look = summarise_boxes if number == 0 else summarise_finished
        return self._publish(look, run, number, started_at, ended_at)

    def salvage(
        self, *, run: int, number: int, started_at: datetime | None, ended_at: datetime
    ) -> StoredFile | None:
        """Cut a torn file at its last whole fragment and publish it; None when it holds none.

        ``started_at`` None means: its media's length before ``ended_at``. Harmless when repeated.
        """
        source = self.live / live_name(run, number)
        if not source.exists():
            before = self._stored_before(run, number, ended_at)
            if before is None:
                return None
            return self._publish(summarise_boxes, run, number, before.started_at, ended_at)
        summary = _summary_or_none(source)
        if summary is None or summary.media_ms == 0:
            source.unlink()
            return None
        if started_at is None:
            started_at = to_milliseconds(ended_at - _playing_time(summary))
        return self._publish(summarise_boxes, run, number, started_at, ended_at)

    def _publish(
        self, look: Look, run: int, number: int, started_at: datetime, ended_at: datetime
    ) -> StoredFile | None:
        refuse_symlinks(self._root, self.live)
        source = self.live / live_name(run, number)
        before = None
        if not os.path.lexists(source):
            before = self._stored_before(run, number, ended_at)
        if before is not None:
            started_at = before.started_at
            source = self._folder / stored_name(started_at, run, number)
        found = sync_file(source, look, ours=self._writer is not None)
        if found is None:
            source.unlink()
            return None
        summary = found.summary
        if number == 0 and before is None and summary is not None:
            # The list counts the audio's lead as well: the first frame was taken later than that.
            started_at = max(started_at, to_milliseconds(ended_at - _playing_time(summary)))
        name = stored_name(started_at, run, number)
        target = self._folder / name
        if before is None:
            self._move(source, target)
        # Also when repeated: the first time may have failed between the rename and this.
        sync_folder(target.parent)
        sync_folder(self.live)
        return StoredFile(
            path=f"{self._below_root}/{name}",
            started_at=started_at,
            ended_at=ended_at,
            # A file that FFmpeg calls whole stays findable even if its structure cannot be read.
            media_ms=summary.media_ms if summary else 0,
            size_bytes=found.size_bytes,
            digest=found.digest,
            init_bytes=summary.init_bytes if summary else 0,
        )

    def _stored_before(self, run: int, number: int, ended_at: datetime) -> StoredName | None:
        """Return what an earlier call has stored: its asker may have failed before the answer."""
        for day in (ended_at, ended_at - timedelta(days=1)):
            for name in _stored_names(self._folder / f"{day.astimezone(UTC):%Y-%m-%d}"):
                if (name.run, name.number) == (run, number):
                    return name
        return None

    def began(self, leftover: Leftover) -> datetime | None:
        """Return when a leftover's media begin, None where it holds none."""
        summary = _summary_or_none(self.live / live_name(leftover.run, leftover.number))
        if summary is None:
            return None
        return leftover.ended_at - _playing_time(summary)

    def newest_run(self) -> int:
        """Return the highest run number among the camera's files, 0 where there are none."""
        runs = [parsed[0] for entry in os.scandir(self.live) if (parsed := parse_live(entry.name))]
        for day in os.scandir(self._folder):
            if day.is_dir(follow_symlinks=False) and day.name != LIVE:
                runs += [name.run for name in _stored_names(Path(day.path))]
        return max(runs, default=0)

    def newest(self) -> StoredName | None:
        """Return the newest stored segment, None where there is none."""
        try:
            days = sorted(day.name for day in self._folder.iterdir() if day.name != LIVE)
        except FileNotFoundError:
            return None
        for day in reversed(days):
            if names := _stored_names(self._folder / day):
                return max(names, key=lambda name: name.started_at)
        return None

    def end_by_media(self, name: StoredName) -> datetime:
        """Return where a stored segment ends by its media."""
        return name.started_at + self._length(name)

    def set_aside(self, run: int, number: int) -> None:
        """Keep a file that cannot go to its place under a name that nothing here looks for."""
        source = self.live / live_name(run, number)
        source.rename(source.with_suffix(".mp4.aside"))

    def leftovers(self, live_runs: Collection[int]) -> Iterator[Leftover]:
        """Yield what runs that are gone have left in ``.live``, oldest first."""
        found = []
        for entry in os.scandir(self.live):
            parsed = parse_live(entry.name)
            if parsed is None or parsed[0] in live_runs or not entry.is_file(follow_symlinks=False):
                continue
            modified = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
            found.append((parsed, to_milliseconds(modified)))
        for (run, number), ended_at in sorted(found):
            yield Leftover(run=run, number=number, ended_at=ended_at)

    def _length(self, name: StoredName) -> timedelta:
        path = self._folder / stored_name(name.started_at, name.run, name.number)
        summary = _summary_or_none(path)
        return timedelta() if summary is None else _playing_time(summary)

    def _move(self, source: Path, target: Path) -> None:
        refuse_symlinks(self._root, target.parent)
        make_folder(target.parent)
        if target.exists():
            # Run and number are unique for a camera: somebody else has been here. Overwrite nothing.
            raise FileExistsError(f"{target.name} is already there")
        try:
            source.rename(target)
        except FileNotFoundError:
            # Retention may have removed the day's folder, empty until now, between the two lines.
            make_folder(target.parent)
            source.rename(target)


def _stored_names(day: Path) -> list[StoredName]:
    """Return what the names of a day's segments say; nothing where there is no such day."""
    try:
        names = [parse_stored(day.name, entry.name) for entry in os.scandir(day)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in names if name is not None]


def _summary_or_none(path: Path) -> FileSummary | None:
    try:
        return summarise(path)
    except (NotFragmentedMp4, FileNotFoundError, SymlinkRefused):
        return None


def _playing_time(summary: FileSummary) -> timedelta:
    """Return how long before a file's end its first frame was taken."""
    # Time stamps that jump make a file of any length: none may lead before all dates.
    return timedelta(milliseconds=min(summary.media_ms - summary.lead_ms, _DAY_MS))
