"""The way of a closed segment to its final place: synced, renamed, its folder synced.

A torn segment is cut at its last whole fragment first. Only afterwards may a row name the file: a row
means that the file is whole and on disk (``docs/design/0004-stored.md``).
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
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.model import Segment
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.formats import FormatAtEnd
from streamwarden.mp4.fragments import FileSummary, summarise
from streamwarden.paths import (
    LIVE,
    StoredName,
    SymlinkRefused,
    camera_folder,
    live_name,
    parse_live,
    parse_stored,
    refuse_symlinks,
    segment_id,
    stored_name,
)
from streamwarden.recordings.durable import make_folder, sync_file, sync_folder
from streamwarden.recordings.segment_dates import CameraDates, stamps_stand_still

MAX_MEDIA_MS: Final = 2**31 - 1
"""The longest media that the index can hold; time stamps that jump may claim more."""
_DAY_MS: Final = 86_400_000
_DISK_CLOCK_S: Final = 0.1
"""A disk's clock this close to the machine's is the machine's: its files' times are a little coarser."""


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment in its final place: its row, and how its file ends, None where that cannot be read."""

    row: Segment
    ends: FormatAtEnd | None


class SegmentStore:
    """One camera's folder under the record root. Blocking; one server owns the record root.

    ``writer`` is the user id that FFmpeg runs under, where that is not the server's own.
    """

    def __init__(
        self, record_root: Path, owner: str, camera_id: UUID, *, writer: int | None = None
    ) -> None:
        self._root = record_root
        self._owner = owner
        self._camera_id = camera_id
        self._writer = writer
        self._folder = camera_folder(record_root, owner, camera_id)
        self._below_root = self._folder.relative_to(record_root)
        self.live = self._folder / LIVE
        self._dates = CameraDates()
        self._disk_ahead_s = 0.0

    def note_disk_clock(self, file: Path, now_s: float) -> None:
        """Compare the disk's clock with the machine's, by a file that was written at ``now_s``.

        A disk in the network dates files by a clock of its own.
        """
        ahead_s = file.stat().st_mtime - now_s
        self._disk_ahead_s = ahead_s if abs(ahead_s) > _DISK_CLOCK_S else 0.0

    def prepare(self) -> None:
        """Make the camera's folders.

        Raises:
            OSError: they cannot be made, or a symbolic link stands in their place.
        """
        refuse_symlinks(self._root, self.live)
        make_folder(self.live)
        if self._writer is not None:
            os.chown(self.live, self._writer, -1)

    def publish(self, segment: ClosedSegment) -> StoredSegment | None:
        """Move a closed segment to its final place and describe it. Harmless when repeated.

        A torn segment is cut at its last whole fragment. FFmpeg also lists a segment that it could not
        write to its end, on a full disk; that is cut as well. None where no fragment is left.

        Raises:
            OSError: the disk refuses, and the file is where it was. FileNotFoundError: a listed segment
                is in neither place.
        """
        refuse_symlinks(self._root, self.live)
        source = self.live / live_name(segment.run, segment.number)
        salvage = segment.torn or segment.started_at is None
        stored = None if os.path.lexists(source) else self._stored_before(segment)
        if stored is not None:
            source = self._folder / stored_name(stored.started_at, segment.run, segment.number)
        elif salvage and not source.exists():
            return None
        # The first segment of a run is dated by its media, without what may be missing between them.
        finished = not salvage and segment.number > 0
        found = sync_file(source, finished=finished, ours=self._writer is not None)
        if found is None or (salvage and stored is None and found.summary is None):
            source.unlink()
            return None
        summary = found.summary
        dates = self._dates.date(segment, summary, found.modified_s - self._disk_ahead_s)
        started_at = dates.started_at if stored is None else stored.started_at
        name = stored_name(started_at, segment.run, segment.number)
        target = self._folder / name
        if stored is None:
            self._move(source, target)
        # Also when repeated: the first time may have failed between the rename and this.
        sync_folder(target.parent)
        sync_folder(self.live)
        row = Segment(
            id=segment_id(self._camera_id, segment.run, segment.number),
            camera_id=self._camera_id,
            owner=self._owner,
            run=segment.run,
            number=segment.number,
            started_at=started_at,
            ended_at=dates.ended_at,
            # A file that FFmpeg calls whole stays findable even if its structure cannot be read.
            media_ms=min(summary.length_ms, MAX_MEDIA_MS) if summary else 0,
            size_bytes=found.size_bytes,
            path=f"{self._below_root}/{name}",
            salvaged=segment.torn,
            digest=found.digest,
            init_bytes=summary.init_bytes if summary else 0,
            holes=dates.holes_text,
            error_ms=dates.error_ms,
            standing=summary is not None and stamps_stand_still(dates, summary.footage),
        )
        return StoredSegment(row, found.ends)

    def _stored_before(self, segment: ClosedSegment) -> StoredName | None:
        """Return the name under which an earlier call has stored the segment, None if none has."""
        for day in (segment.ended_at, segment.ended_at - timedelta(days=1)):
            for name in _stored_names(self._folder / f"{day.astimezone(UTC):%Y-%m-%d}"):
                if (name.run, name.number) == (segment.run, segment.number):
                    return name
        return None

    def media_start(self, leftover: ClosedSegment) -> datetime | None:
        """Return when a leftover's media begin, None where it holds none."""
        summary = _summary_or_none(self.live / live_name(leftover.run, leftover.number))
        return None if summary is None else leftover.ended_at - _playing_time(summary)

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
        path = self._folder / stored_name(name.started_at, name.run, name.number)
        summary = _summary_or_none(path)
        return name.started_at + (timedelta() if summary is None else _playing_time(summary))

    def set_aside(self, run: int, number: int) -> None:
        """Rename a file whose final name is taken, so that nothing tries to store it again."""
        source = self.live / live_name(run, number)
        source.rename(source.with_suffix(".mp4.aside"))

    def leftovers(self, live_runs: Collection[int]) -> Iterator[ClosedSegment]:
        """Yield the files in ``.live`` that no run of ``live_runs`` writes, oldest first.

        Each ends with its last flush.
        """
        found = []
        for entry in os.scandir(self.live):
            parsed = parse_live(entry.name)
            if parsed is None or parsed[0] in live_runs or not entry.is_file(follow_symlinks=False):
                continue
            modified = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
            found.append((parsed, to_milliseconds(modified)))
        for (run, number), ended_at in sorted(found):
            yield ClosedSegment(
                run=run, number=number, started_at=None, ended_at=ended_at, torn=True
            )

    def _move(self, source: Path, target: Path) -> None:
        refuse_symlinks(self._root, target.parent)
        make_folder(target.parent)
        if target.exists():
            # Run and number are unique for a camera: this file is not the store's. Overwrite nothing.
            raise FileExistsError(f"{target.name} is already there")
        try:
            source.rename(target)
        except FileNotFoundError:
            # Retention may have removed the day's folder, empty until now, between the two lines.
            make_folder(target.parent)
            source.rename(target)


def _stored_names(day: Path) -> list[StoredName]:
    """Return the parsed names of a day's segments; an empty list where there is no such day."""
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
    return timedelta(milliseconds=min(summary.length_ms - summary.lead_ms, _DAY_MS))
