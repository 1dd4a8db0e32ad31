"""The indexer's journal: rows on their way to Postgres, in a file that survives us.

A row is appended by whoever has finished a file or changed a gap, and dropped once Postgres has it.
Inserting is idempotent, so a journal that is read again after a crash does no harm. Not synced: a
segment's row can be rebuilt from its file.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from streamwarden.clock import rfc3339
from streamwarden.storage.rows import Gap, Segment

log = structlog.get_logger(__name__)

Entry = Segment | Gap

_KEPT_IN_MEMORY: Final = 10_000
"""Entries that the disk refused are kept in memory, this many at most."""
_LINE_BYTES: Final = 1024
_MIN_READ_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Batch:
    """The first rows of the journal; ``size_bytes`` and ``refused`` say what ``done`` drops."""

    entries: tuple[Entry, ...]
    lines: int
    size_bytes: int
    refused: int


class Journal:
    """A queue of rows in a file. Any thread; every call is short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._head = 0
        self._waiting, self._tail = _scan(self._fd)
        # A line that a crash has torn would run into the next one.
        os.ftruncate(self._fd, self._tail)
        self._refused: list[Entry] = []
        self._since: datetime | None = None
        self._told: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        """How many rows are not yet in Postgres."""
        return self._waiting + len(self._refused)

    def waiting_since(self) -> datetime | None:
        """Return when the oldest row of this life was appended, None when none waits."""
        return self._since if self.waiting else None

    def tell(self, call: Callable[[], None]) -> None:
        """Call this after every append from now on."""
        self._told = call

    def append(self, entries: Sequence[Entry], at: datetime) -> None:
        """Add rows at the end; when the disk is full they wait in memory.

        Raises:
            OSError: the disk refuses and memory holds as much as it may.
        """
        data = b"".join(encode(entry) for entry in entries)
        with self._lock:
            self._since = self._since or at
            self._write(data, entries)
        self._told()

    def take(self, limit: int) -> Batch:
        """Return the first rows, without dropping them."""
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
        """Drop what ``take`` returned: Postgres has it."""
        with self._lock:
            self._head += batch.size_bytes
            self._waiting -= batch.lines
            del self._refused[: batch.refused]
            if self._head == self._tail:
                os.ftruncate(self._fd, 0)
                self._head = self._tail = self._waiting = 0
            if not self.waiting:
                self._since = None

    def close(self) -> None:
        """Close the file; what waits in it is read again at the next start."""
        os.close(self._fd)

    def _write(self, data: bytes, entries: Sequence[Entry]) -> None:
        try:
            _write_whole(self._fd, data, self._tail)
        except OSError:
            os.ftruncate(self._fd, self._tail)
            if len(self._refused) + len(entries) > _KEPT_IN_MEMORY:
                raise
            self._refused.extend(entries)
        else:
            self._tail += len(data)
            self._waiting += len(entries)

    def _lines(self, limit: int) -> list[bytes]:
        wanted = min(self._tail - self._head, max(_MIN_READ_BYTES, limit * _LINE_BYTES))
        lines = os.pread(self._fd, wanted, self._head).splitlines(keepends=True)
        return [line for line in lines[:limit] if line.endswith(b"\n")]


def _write_whole(fd: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(fd, data, position)
        data, position = data[written:], position + written


def _scan(fd: int) -> tuple[int, int]:
    """Return how many whole lines a file has, and where the last of them ends."""
    count = position = end = 0
    while chunk := os.pread(fd, 1 << 20, position):
        count += chunk.count(b"\n")
        if b"\n" in chunk:
            end = position + chunk.rindex(b"\n") + 1
        position += len(chunk)
    return count, end


def read_pending(path: Path) -> list[Entry]:
    """Return the rows in a journal that may belong to a running server; nothing is changed."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    rows = (decode(line) for line in lines if line.endswith(b"\n"))
    return [row for row in rows if row is not None]


def encode(entry: Entry) -> bytes:
    """Return a row as one line of JSON."""
    kind = "segment" if isinstance(entry, Segment) else "gap"
    return json.dumps({"kind": kind, **asdict(entry)}, default=_plain).encode() + b"\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def decode(line: bytes) -> Entry | None:
    """Return the row of one line; None, and a warning, for a line that a crash has torn."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = fields.pop("kind")
        for name in ("id", "camera_id"):
            fields[name] = UUID(fields[name])
        for name in ("started_at", "ended_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        if kind == "gap":
            return Gap(**fields)
        fields["digest"] = bytes.fromhex(fields["digest"]) if fields["digest"] else None
        return Segment(**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("journal_line_unreadable", bytes=len(line))
        return None
