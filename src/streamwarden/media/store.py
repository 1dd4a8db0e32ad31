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
from typing import BinaryIO, Final
from uuid import UUID

from blake3 import blake3

from streamwarden.clock import to_milliseconds
from streamwarden.media.beneath import open_plain, require_plain
from streamwarden.media.fmp4 import NotFragmentedMp4, Summary, summarise
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
        source = self.live / live_name(run, number)
        require_plain(self._root, self.live)
        if source.is_symlink():
            source.unlink()  # FFmpeg makes none: what it points at is none of ours
            return None
        before = None if source.exists() else self._stored_before(run, number, ended_at)
        if before is not None:
            started_at, source = (
                before.started_at,
                self._folder / stored_name(before.started_at, run, number),
            )
        summary = _summary_or_none(source)
        if number == 0 and before is None and summary is not None:
            # The list counts the audio's lead as well: the first frame was taken later than that.
            started_at = max(started_at, to_milliseconds(ended_at - _playing_time(summary)))
        target = self._folder / stored_name(started_at, run, number)
        if _is_empty(source, summary):
            source.unlink()
            return None
        if summary is not None:
            _cut(source, summary)
        size, digest = _sync_and_digest(source, ours=self._writer is not None)
        if source != target:
            self._move(source, target)
        # Also when repeated: the first time may have failed between the rename and this.
        sync_folder(target.parent)
        sync_folder(self.live)
        return StoredFile(
            path=str(target.relative_to(self._root)),
            started_at=started_at,
            ended_at=ended_at,
            # A file that FFmpeg calls whole stays findable even if its structure cannot be read.
            media_ms=summary.media_ms if summary else 0,
            size_bytes=size,
            digest=digest,
            init_bytes=summary.init_bytes if summary else 0,
        )

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
            started_at = before.started_at
            return self.publish(run=run, number=number, started_at=started_at, ended_at=ended_at)
        summary = _summary_or_none(source)
        if summary is None or summary.media_ms == 0:
            source.unlink()
            return None
        if started_at is None:
            started_at = to_milliseconds(ended_at - _playing_time(summary))
        return self.publish(run=run, number=number, started_at=started_at, ended_at=ended_at)

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
    except (NotFragmentedMp4, FileNotFoundError):
        return None


def _is_empty(path: Path, summary: Summary | None) -> bool:
    """Whether there is surely nothing to play; what cannot be read stays, to be found."""
    if summary is None:
        return path.stat().st_size == 0
    # A source that goes at once may have left sound before its first picture.
    return summary.media_ms == 0


def _cut(path: Path, summary: Summary) -> None:
    """Cut a file that is not complete at its last whole fragment."""
    if not summary.complete and path.stat().st_size > summary.whole_bytes:
        fd = open_plain(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, summary.whole_bytes)
        finally:
            os.close(fd)


def _playing_time(summary: Summary) -> timedelta:
    """Return how long before a file's end its first frame was taken."""
    # Time stamps that jump make a file of any length: none may lead before all dates.
    return timedelta(milliseconds=min(summary.media_ms - summary.lead_ms, _DAY_MS))


def _sync_and_digest(path: Path, *, ours: bool) -> tuple[int, bytes]:
    """Force a file to disk; return its size and its BLAKE3 digest. ``ours``: make the server own it."""
    with os.fdopen(open_plain(path), "rb") as file:
        if ours:
            os.fchown(file.fileno(), os.geteuid(), os.getegid())
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, _digest(file)


def file_digest(path: Path) -> bytes:
    """Return a file's BLAKE3 digest; raises OSError (ELOOP) for a symbolic link."""
    with os.fdopen(open_plain(path), "rb") as file:
        return _digest(file)


def _digest(file: BinaryIO) -> bytes:
    hasher = blake3()
    # One buffer, used again: a new one for each read costs as much as the digest itself. Few reads:
    # after each, several of these threads contend for the interpreter.
    buffer = bytearray(1 << 20)
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
