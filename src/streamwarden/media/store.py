"""A segment's way to its final place: synced, renamed, its folder synced; torn tails cut first.

Only after that may a row speak of it: a row means that the file is whole and on disk
(``docs/design/0004-stored.md``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Final
from uuid import UUID

from blake3 import blake3

from streamwarden.clock import to_milliseconds
from streamwarden.media.beneath import LinkInTheWay, open_plain, require_plain
from streamwarden.media.fmp4 import (
    NotFragmentedMp4,
    Summary,
    summarise,
    summarise_boxes,
    summarise_finished,
)
from streamwarden.media.names import (
    LIVE,
    StoredName,
    camera_folder,
    live_name,
    parse_live,
    parse_stored,
    stored_name,
)

_FOLDER_MODE: Final = 0o750
_DAY_MS: Final = 86_400_000
_DIGEST_BYTES: Final = 128 * 1024
"""Read at a time: what stays in a core's own cache until it is digested."""


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that is whole and on disk; ``summary`` is None where its structure cannot be read."""

    summary: Summary | None
    size_bytes: int
    digest: bytes


Look = Callable[[int, int], Summary]
"""Reads the structure of an open file of so many bytes; raises NotFragmentedMp4."""


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
        require_plain(self._root, self.live)
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
        require_plain(self._root, self.live)
        source = self.live / live_name(run, number)
        before = None
        if not os.path.lexists(source):
            before = self._stored_before(run, number, ended_at)
        if before is not None:
            started_at = before.started_at
            source = self._folder / stored_name(started_at, run, number)
        found = _prepare(source, look, ours=self._writer is not None)
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
        require_plain(self._root, target.parent)
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


def _summary_or_none(path: Path) -> Summary | None:
    try:
        return summarise(path)
    except (NotFragmentedMp4, FileNotFoundError, LinkInTheWay):
        return None


def _playing_time(summary: Summary) -> timedelta:
    """Return how long before a file's end its first frame was taken."""
    # Time stamps that jump make a file of any length: none may lead before all dates.
    return timedelta(milliseconds=min(summary.media_ms - summary.lead_ms, _DAY_MS))


def _prepare(path: Path, look: Look, *, ours: bool) -> _Prepared | None:
    """Cut what is torn off a file, force it to disk and describe it; None where nothing can be played.

    ``ours``: make the server own it.
    """
    try:
        fd = open_plain(path)
    except LinkInTheWay:
        return None  # FFmpeg makes none: what it leads to is none of ours
    with os.fdopen(fd, "rb", buffering=0) as file:
        size = os.fstat(fd).st_size
        try:
            summary = look(fd, size)
        except NotFragmentedMp4:
            summary = None
        # A source that goes at once may have left sound before its first picture. What cannot be read
        # stays, to be found.
        if size == 0 or (summary is not None and summary.media_ms == 0):
            return None
        if summary is not None and not summary.complete and size > summary.whole_bytes:
            size = summary.whole_bytes
            _cut(path, size)
        if ours:
            os.fchown(fd, os.geteuid(), os.getegid())
        os.fsync(fd)
        return _Prepared(summary, size, _digest(file))


def _cut(path: Path, size: int) -> None:
    fd = open_plain(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def file_digest(path: Path) -> bytes:
    """Return a file's BLAKE3 digest; raises OSError (ELOOP) for a symbolic link."""
    with os.fdopen(open_plain(path), "rb", buffering=0) as file:
        return _digest(file)


def _digest(file: FileIO) -> bytes:
    hasher = blake3()
    # One buffer, used again: a new one for each read costs as much as the digest itself.
    buffer = bytearray(_DIGEST_BYTES)
    view = memoryview(buffer)
    while count := os.readv(file.fileno(), [buffer]):
        hasher.update(view[:count])
    return hasher.digest()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each new one is synced into its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file so that a crash leaves the old one or the new one, never a mixture.

    Not synced: what is kept this way can be rebuilt from the recordings.
    """
    staged = path.with_name(path.name + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(staged, flags, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    staged.replace(path)
