"""A real archive over a folder of its own, with files as FFmpeg would have left them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from os import utime
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Gap, Segment
from streamwarden.recordings.camera_files import CameraFiles, CameraFileStore, IndexedEnds
from streamwarden.recordings.live import LiveIndex
from streamwarden.storage.journal import Journal
from tests.fakes.manual_time import ManualClock
from tests.unit.actors.recorder_harness import at
from tests.unit.mp4 import box_writer as boxes

CAMERA: Final = UUID("22222222-2222-2222-2222-222222222222")
SECOND: Final = boxes.fragment(boxes.run([500, 500]))
"""One fragment that plays for a second."""


class StoredSegments(RecordingMetrics):
    """Metrics that remember the stored segments."""

    def __init__(self) -> None:
        self.segments: list[tuple[float, float, int, float]] = []

    def segment_stored(
        self, camera: str, media_s: float, wall_s: float, size_bytes: int, ended_at_ts: float
    ) -> None:
        assert camera == str(CAMERA)
        self.segments.append((media_s, wall_s, size_bytes, ended_at_ts))


class KnownEnds(IndexedEnds):
    """An index in memory: ends by row id."""

    def __init__(self) -> None:
        self.by_id: dict[UUID, datetime] = {}
        self.run: int | None = 0
        """The highest run with a row; None while Postgres is away."""

    def last_run(self, camera_id: UUID, *, journal: bool) -> int | None:
        del journal
        assert camera_id == CAMERA
        return self.run

    def end_of(self, camera_id: UUID, segment_id: UUID) -> datetime | None:
        assert camera_id == CAMERA
        return self.by_id.get(segment_id)


class CameraFilesHarness:
    """A record root, and one server after the other over it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root with a space"
        self.root.mkdir()
        self.clock = ManualClock()
        self.ends = KnownEnds()
        self.indexed = self.ends.by_id
        self._journals: list[Journal] = []
        self._folder = folder
        self.metrics = StoredSegments()
        self.serve()

    def serve(self, *, alive_until: datetime | None = None) -> None:
        """Start a server."""
        self.journal = Journal(self._folder / "journal.jsonl")
        self._journals.append(self.journal)
        self.store = CameraFileStore(
            record_root=self.root,
            journal=self.journal,
            metrics=self.metrics,
            clock=self.clock,
            alive_until=alive_until,
            indexed_ends=self.ends,
            live=LiveIndex(self.clock),
        )

    def files(self, owner: str = "otto") -> CameraFiles:
        return self.store.camera(CAMERA, owner)

    def live(self, owner: str = "otto") -> Path:
        return self.root / owner / str(CAMERA) / ".live"

    def write(
        self,
        run: int,
        number: int,
        *,
        seconds: int = 3,
        torn: bytes = b"",
        flushed_s: float = 100,
        owner: str = "otto",
    ) -> Path:
        """Leave a file in ``.live`` as FFmpeg does: so many whole fragments, and a torn rest."""
        path = self.live(owner) / f"r{run}-{number:06d}.mp4"
        path.write_bytes(boxes.header() + SECOND * seconds + torn)
        moment = at(flushed_s).timestamp()
        utime(path, (moment, moment))
        return path

    def rows(self) -> list[Segment]:
        return [row for row in self._entries() if isinstance(row, Segment)]

    def gaps(self) -> list[Gap]:
        return [row for row in self._entries() if isinstance(row, Gap)]

    def _entries(self) -> Iterable[object]:
        return self.journal.take(1000).entries

    def close(self) -> None:
        for journal in self._journals:
            journal.close()


def whole(run: int, number: int, start_s: float, end_s: float) -> ClosedSegment:
    return ClosedSegment(run=run, number=number, started_at=at(start_s), ended_at=at(end_s))


def torn(run: int, number: int, start_s: float | None, end_s: float) -> ClosedSegment:
    return ClosedSegment(
        run=run,
        number=number,
        started_at=None if start_s is None else at(start_s),
        ended_at=at(end_s),
        torn=True,
    )


def length(row: Segment) -> timedelta:
    return row.ended_at - row.started_at
