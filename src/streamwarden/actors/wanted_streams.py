"""The streams to record, as the streaming role keeps them: a copy on disk, beside the recordings.

It lets recording resume while Postgres is unavailable. No URL is kept: its token would be stale.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog

from streamwarden.clock import rfc3339
from streamwarden.recordings.durable import replace_file
from streamwarden.workers import SerialExecutor

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStream:
    """One stream to record; every second from ``since`` on counts."""

    camera_id: UUID
    owner: str
    segment_seconds: int
    since: datetime


class WantedStreams:
    """The streams to record, by camera, in memory and in a file. Any thread.

    Where the file cannot be written, a change still holds: a full disk must not keep a stream from being
    started or stopped. The next change writes everything, and so does the same one put once more.
    Before ``open`` the file is neither read nor written, where ``opened`` is False.
    """

    def __init__(self, path: Path, disk: SerialExecutor, *, opened: bool = True) -> None:
        self._path = path
        self._disk = disk
        self._saved = True
        self._opened = opened
        self._lock = threading.Lock()
        self._streams = self._read() if opened else {}

    def open(self) -> None:
        """Read the file of a record root that was found late, and keep what is wanted in it from now on."""
        with self._lock:
            if not self._opened:
                self._streams = {**self._read(), **self._streams}
                self._opened = True
                self._write()

    def _read(self) -> dict[UUID, WantedStream]:
        content = self._path.read_bytes() if self._path.exists() else b""
        return {stream.camera_id: stream for stream in _decode(content)}

    def all(self) -> Mapping[UUID, WantedStream]:
        """Return all streams."""
        with self._lock:
            return dict(self._streams)

    def get(self, camera_id: UUID) -> WantedStream | None:
        """Return the stream of a camera, None where none is wanted."""
        return self._streams.get(camera_id)

    def put(self, stream: WantedStream) -> None:
        """Add a stream, or replace the camera's."""
        with self._lock:
            if self._saved and self._streams.get(stream.camera_id) == stream:
                return
            self._streams[stream.camera_id] = stream
            self._write()

    def remove(self, camera_id: UUID) -> WantedStream | None:
        """Remove a camera's stream and return it; None where none was wanted."""
        with self._lock:
            stream = self._streams.pop(camera_id, None)
            if stream is None:
                return None
            self._write()
        return stream

    def _write(self) -> None:
        self._saved = self._opened
        if not self._opened:
            return
        content = _encode(self._streams.values())
        self._disk.run(partial(replace_file, self._path, content), self._written)

    def _written(self, result: object) -> None:
        if isinstance(result, Exception):
            # The database has the desired state too; this copy is for when it is away.
            self._saved = False
            log.error("wanted_streams_not_saved", error=str(result))


def _encode(streams: Iterable[WantedStream]) -> bytes:
    rows = [
        {
            "camera_id": str(stream.camera_id),
            "owner": stream.owner,
            "segment_seconds": stream.segment_seconds,
            "since": rfc3339(stream.since),
        }
        for stream in streams
    ]
    return json.dumps(rows, indent=1).encode()


def _decode(content: bytes) -> list[WantedStream]:
    if not content:
        return []
    try:
        return [
            WantedStream(
                camera_id=UUID(str(row["camera_id"])),
                owner=str(row["owner"]),
                segment_seconds=int(row["segment_seconds"]),
                since=datetime.fromisoformat(row["since"]),
            )
            for row in json.loads(content)
        ]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # The database has them too, and is read as soon as it answers.
        log.exception("wanted_streams_unreadable", bytes=len(content))
        return []
