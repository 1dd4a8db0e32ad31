"""What is wanted, as the streaming role knows it: its own copy, on disk, beside the recordings.

With it recording resumes while Postgres is away. No URL is kept: its token would be stale.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from streamwarden.clock import rfc3339

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStream:
    """One stream to record; every second from ``since`` on counts."""

    camera_id: UUID
    owner: str
    segment_seconds: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredStream:
    """One row of the database's wishes: wanted or no longer so."""

    camera_id: UUID
    owner: str
    wanted: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Desired:
    """The database's wishes as read at one moment, with the segment length that is set.

    ``gone`` are stopped cameras that no longer exist.
    """

    streams: tuple[DesiredStream, ...]
    segment_seconds: int
    gone: frozenset[UUID] = frozenset()


class WishBook:
    """The wanted streams by camera. Any thread; every change is handed to ``save``.

    Where ``save`` raises OSError, the wish still holds: a full disk must not keep a stream from being
    started or stopped. The next change saves everything, or the same wish put once more.
    """

    def __init__(self, *, load: Callable[[], bytes], save: Callable[[bytes], None]) -> None:
        self._save = save
        self._saved = True
        self._lock = threading.Lock()
        self._wanted = {wish.camera_id: wish for wish in _decode(load())}

    def all(self) -> Mapping[UUID, WantedStream]:
        """Return what is wanted."""
        with self._lock:
            return dict(self._wanted)

    def get(self, camera_id: UUID) -> WantedStream | None:
        """Return the wish for a camera, None where there is none."""
        return self._wanted.get(camera_id)

    def put(self, wish: WantedStream) -> None:
        """Want a stream, in this way from now on."""
        with self._lock:
            if self._saved and self._wanted.get(wish.camera_id) == wish:
                return
            self._wanted[wish.camera_id] = wish
            self._write()

    def remove(self, camera_id: UUID) -> WantedStream | None:
        """Want a stream no longer; return what was wanted, None where it was not."""
        with self._lock:
            wish = self._wanted.pop(camera_id, None)
            if wish is None:
                return None
            self._write()
        return wish

    def _write(self) -> None:
        self._saved = False
        try:
            self._save(_encode(self._wanted.values()))
        except OSError as error:
            log.warning("wishes_not_saved", error=error.strerror)
        else:
            self._saved = True


def _encode(wishes: Iterable[WantedStream]) -> bytes:
    rows = [
        {
            "camera_id": str(wish.camera_id),
            "owner": wish.owner,
            "segment_seconds": wish.segment_seconds,
            "since": rfc3339(wish.since),
        }
        for wish in wishes
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
    except (ValueError, KeyError, TypeError):
        # The database has them too: it is asked as soon as it answers.
        log.exception("wishes_unreadable", bytes=len(content))
        return []
