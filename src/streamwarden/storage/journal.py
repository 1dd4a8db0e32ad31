"""A write-ahead queue of index rows, on disk until Postgres has them.

Inserts are idempotent, so a journal that is replayed after a crash does no harm. It is not synced: a
segment's row can be rebuilt from its file.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints
from uuid import UUID

import structlog

from streamwarden.clock import rfc3339
from streamwarden.model import Gap, Segment

log = structlog.get_logger(__name__)

Entry = Segment | Gap

_KEPT_IN_MEMORY: Final = 10_000
"""Entries that could not be written to disk are kept in memory, at most this many."""
_LINE_BYTES: Final = 1024
_MIN_READ_BYTES: Final = 65536
_COMPACT_BYTES: Final = 1 << 20
"""Compact the file when this much of it precedes the first waiting row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The first rows of the journal; the other fields count what ``done`` drops."""

    entries: tuple[Entry, ...]
    lines: int
    size_bytes: int
    refused: int


class Journal:
    """A queue of rows in a file. Thread-safe; every call is short.

    Until ``open`` is called, where ``opened`` is False, it is in memory.
    """

    def __init__(self, path: Path, *, opened: bool = True) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd = _open(path) if opened else os.memfd_create("journal", os.MFD_CLOEXEC)
        self._head = 0
        self._waiting, self._tail = _scan(self._fd)
        # A torn last line would run into the next one.
        os.ftruncate(self._fd, self._tail)
        self._refused: list[Entry] = []
        self._refused_at: datetime | None = None
        self._since: datetime | None = self._oldest()
        self._told: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        """The number of rows that are not yet in Postgres."""
        return self._waiting + len(self._refused)

    def waiting_since(self) -> datetime | None:
        """Return when the oldest waiting row was appended, None where none waits.

        It is remembered: whoever shows it waits neither for the disk nor for one who does.
        """
        return self._since or self._refused_at

    def tell(self, call: Callable[[], None]) -> None:
        """Call ``call`` after every append from now on."""
        self._told = call

    def append(self, entries: Sequence[Entry], at: datetime) -> None:
        """Append rows; while the disk is full they wait in memory.

        Raises:
            OSError: the disk is full and so is the memory limit.
        """
        data = b"".join([encode(entry, at) for entry in entries])
        with self._lock:
            if self._write(data, entries):
                self._since = self._since or at
            else:
                self._refused_at = self._refused_at or at
        self._told()

    def take(self, limit: int) -> Batch:
        """Return the first rows without dropping them."""
        with self._lock:
            lines = self._lines(limit)
            refused = self._refused[: limit - len(lines)]
            entries = (decode(line) for line in lines)
            return Batch(
                entries=(*(entry for entry in entries if entry is not None), *refused),
                lines=len(lines),
                size_bytes=sum(len(line) for line in lines),
                refused=len(refused),
            )

    def done(self, batch: Batch) -> None:
        """Drop a batch that Postgres now has."""
        with self._lock:
            self._head += batch.size_bytes
            self._waiting -= batch.lines
            del self._refused[: batch.refused]
            if not self._refused:
                self._refused_at = None
            if self._head == self._tail:
                self._waiting = 0
                self._cut(0)
            elif self._head >= max(_COMPACT_BYTES, self._tail - self._head):
                self._move_to_front()
            self._since = self._oldest()

    def open(self) -> None:
        """Open the file at its path, if it is not open already; rows that wait are taken along.

        For a record root that is found late, or is back on another device. A row may be in the file
        already: inserting it twice does no harm.

        Raises:
            OSError: the file cannot be opened; everything is as it was.
        """
        fd = _open(self._path)
        with self._lock:
            if os.path.sameopenfile(self._fd, fd):
                os.close(fd)
                return
            old, self._fd = self._fd, fd
            try:
                carried = os.pread(old, self._tail - self._head, self._head)
            except OSError:
                carried = b""  # the device is gone; what had been written through is in the file
            self._head = 0
            self._waiting, self._tail = _scan(fd)
            os.ftruncate(fd, self._tail)
            if carried:
                _write_whole(fd, carried, self._tail)
                self._tail += len(carried)
                self._waiting += carried.count(b"\n")
            self._since = self._oldest()
            os.close(old)
        self._told()

    def close(self) -> None:
        """Close the file; its waiting rows are read again at the next start."""
        os.close(self._fd)

    def _write(self, data: bytes, entries: Sequence[Entry]) -> bool:
        """Write to the file, or keep the entries in memory; return whether the file has them."""
        try:
            _write_whole(self._fd, data, self._tail)
        except OSError:
            with suppress(OSError):  # on a file system that has become read-only
                os.ftruncate(self._fd, self._tail)
            if len(self._refused) + len(entries) > _KEPT_IN_MEMORY:
                raise
            self._refused.extend(entries)
            return False
        self._tail += len(data)
        self._waiting += len(entries)
        return True

    def _move_to_front(self) -> None:
        """Free the space of dropped rows; a crash before the truncation leaves some rows twice."""
        _write_whole(self._fd, os.pread(self._fd, self._tail - self._head, self._head), 0)
        self._cut(self._tail - self._head)

    def _cut(self, size: int) -> None:
        # Where that is refused, rows are read and inserted once more after a restart.
        with suppress(OSError):
            os.ftruncate(self._fd, size)
        self._head, self._tail = 0, size

    def _oldest(self) -> datetime | None:
        lines = self._lines(1)
        return _appended_at(lines[0]) if lines else None

    def _lines(self, limit: int) -> list[bytes]:
        waiting = self._tail - self._head
        wanted = min(waiting, max(_MIN_READ_BYTES, limit * _LINE_BYTES))
        read = os.pread(self._fd, wanted, self._head)
        while b"\n" not in read and wanted < waiting:
            # No row is that long. It has to be taken whole to be dropped.
            wanted = min(waiting, 4 * wanted)
            read = os.pread(self._fd, wanted, self._head)
        # Not splitlines, for which other bytes end a line too: `_scan` counts line feeds.
        return [line + b"\n" for line in read.split(b"\n")[:-1][:limit]]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _write_whole(fd: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(fd, data, position)
        data, position = data[written:], position + written


def _scan(fd: int) -> tuple[int, int]:
    """Return the number of whole lines in a file, and the offset where the last one ends."""
    count = position = end = 0
    while chunk := os.pread(fd, 1 << 20, position):
        count += chunk.count(b"\n")
        if b"\n" in chunk:
            end = position + chunk.rindex(b"\n") + 1
        position += len(chunk)
    return count, end


def read_pending(path: Path) -> list[Entry]:
    """Return the rows of a journal without changing it; a running server may own it."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    rows = map(decode, lines)
    return [row for row in rows if row is not None]


_NOT_KEPT: Final = frozenset({"standing"})
"""Fields of a segment that only its recorder reads."""


def encode(entry: Entry, at: datetime) -> bytes:
    """Return a row, appended at ``at``, as one line of JSON."""
    kind = "segment" if isinstance(entry, Segment) else "gap"
    fields = {name: getattr(entry, name) for name in entry.__slots__ if name not in _NOT_KEPT}
    line = {"kind": kind, "appended_at": at, **fields}
    return json.dumps(line, default=_plain).encode() + b"\n"


def _appended_at(line: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(json.loads(line)["appended_at"])
    except (ValueError, KeyError, TypeError):
        # A torn line, or one of a version without this field. It is dropped with its batch.
        return None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


_TYPES: Final = {
    row: {name: get_args(hint) or (hint,) for name, hint in get_type_hints(row).items()}
    for row in (Segment, Gap)
}
_MOST: Final = 2**63 - 1


def _checked(row: Entry) -> Entry:
    """Return ``row``; raise TypeError or ValueError unless its fields are what Postgres takes.

    A row that it refuses would hold up every row behind it.
    """
    for name, types in _TYPES[type(row)].items():
        value = getattr(row, name)
        fits = type(value) in types
        match value:
            case datetime():
                fits = fits and value.tzinfo is not None
            case int():
                fits = fits and 0 <= value <= _MOST
            case str():
                fits = fits and b"\0" not in value.encode()
        if not fits:
            raise TypeError(f"{name} cannot be {type(value).__name__}")
    return row


def decode(line: bytes) -> Entry | None:
    """Return the row of one line; log a warning and return None for a torn line."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = fields.pop("kind")
        fields.pop("appended_at", None)
        for name in ("id", "camera_id"):
            fields[name] = UUID(fields[name])
        for name in ("started_at", "ended_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        if kind != "gap":
            fields["digest"] = bytes.fromhex(fields["digest"]) if fields["digest"] else None
        return _checked(Gap(**fields) if kind == "gap" else Segment(**fields))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        log.warning("journal_line_unreadable", bytes=len(line))
        return None
