"""Recordings as the product makes them: real files, stored and journalled, indexed in Postgres."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry

from streamwarden.actors.indexer import IndexWriter
from streamwarden.clock import Clock
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Camera, Cause, Gap, Segment
from streamwarden.paths import live_name
from streamwarden.recordings import reconcile
from streamwarden.recordings.camera_files import CameraFileStore, IndexedEnds
from streamwarden.recordings.gap_ledger import GapChange, Ledger
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.reconcile import Repair
from streamwarden.recordings.verify import Finding, VerifyOptions
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository, StreamRepository

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
CLIP_S = 2
CLIPS = 3
_FRAGMENTS = "movflags=+frag_keyframe+empty_moov+default_base_moof:frag_duration=1000000"


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def make_clips(folder: Path) -> list[Path]:
    """Make a few segments of two seconds as FFmpeg does when it records."""
    argv = [find_ffmpeg(None), "-v", "error", "-nostdin"]
    argv += ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-t", str(CLIP_S * CLIPS)]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"]
    argv += ["-f", "segment", "-segment_time", str(CLIP_S), "-reset_timestamps", "1"]
    argv += ["-segment_format", "mp4", "-segment_format_options", _FRAGMENTS, "clip-%d.mp4"]
    subprocess.run(argv, cwd=folder, check=True, timeout=30)
    return [folder / f"clip-{number}.mp4" for number in range(CLIPS)]


@dataclass(slots=True)
class Position:
    """The run and number of a camera's next segment."""

    run: int = 1
    number: int = 1


class Recordings:
    """A record root and its index, filled by the test."""

    def __init__(self, root: Path, database: Database, clips: Sequence[Path]) -> None:
        self.root = root
        self.database = database
        self.segments = SegmentRepository(database)
        self.gaps = GapRepository(database)
        self.periods = PeriodRepository(database)
        self.streams = StreamRepository(database)
        self._clips = clips
        state = root / ".streamwarden"
        state.mkdir(parents=True)
        self.journal = Journal(state / reconcile.JOURNAL)
        self.camera_files = CameraFileStore(
            record_root=root,
            journal=self.journal,
            metrics=RecordingMetrics(CollectorRegistry()),
            clock=Clock(),
            alive_until=None,
            indexed_ends=IndexedEnds(journal=self.journal, segments=self.segments, clock=Clock()),
            live=LiveIndex(Clock()),
        )
        self._next: dict[UUID, Position] = {}

    def close(self) -> None:
        self.journal.close()

    # What happened

    def camera(self, *, wanted_s: float | None = 0.0) -> Camera:
        """Return a camera, wanted from so many seconds after noon on."""
        camera_id = uuid4()
        camera = Camera(
            id=camera_id,
            name="Door",
            path=str(camera_id),
            owner="alice@home",
            status="active",
            created_at=NOON,
        )
        if wanted_s is not None:
            self.streams.want(camera, requested_by="alice@home", at=at(wanted_s))
        return camera

    def unwant(self, camera: Camera, seconds: float) -> None:
        self.streams.unwant(camera.id, requested_by="alice@home", at=at(seconds))

    def record(self, camera: Camera, start_s: float, end_s: float, *, indexed: bool = True) -> Path:
        """Store one segment; return its file."""
        place = self._next.setdefault(camera.id, Position())
        files = self.camera_files.camera(camera.id, camera.owner)
        files.open((place.run,))
        clip = self._clips[place.number % len(self._clips)]
        shutil.copyfile(clip, self.live(camera) / live_name(place.run, place.number))
        finished = ClosedSegment(
            run=place.run, number=place.number, started_at=at(start_s), ended_at=at(end_s)
        )
        assert files.publish(finished) is not None
        place.number += 1
        if indexed:
            self.index()
        ending = f"-r{finished.run}-{finished.number}.mp4"
        return next(path for path in self.files(camera) if path.name.endswith(ending))

    def record_all(self, camera: Camera, start_s: float, end_s: float) -> list[Path]:
        """Store segments of two seconds, one after the other."""
        starts = range(int(start_s), int(end_s), CLIP_S)
        return [self.record(camera, start, start + CLIP_S) for start in starts]

    def first_number(self, camera: Camera, number: int) -> None:
        """Let the camera's first segment have this number."""
        self._next[camera.id] = Position(number=number)

    def next_run(self, camera: Camera) -> None:
        place = self._next[camera.id]
        place.run, place.number = place.run + 1, 1

    def miss(
        self,
        camera: Camera,
        start_s: float,
        end_s: float | None,
        *,
        indexed: bool = True,
        cause: Cause = Cause.SOURCE_OFFLINE,
        clock_set: bool = False,
    ) -> UUID:
        """Enter a gap in the ledger."""
        change = GapChange(
            id=uuid4(),
            started_at=at(start_s),
            ended_at=None if end_s is None else at(end_s),
            cause=cause,
            clock_set=clock_set,
        )
        self.note(camera, change)
        if indexed:
            self.index()
        return change.id

    def note(self, camera: Camera, change: GapChange) -> None:
        files = self.camera_files.camera(camera.id, camera.owner)
        files.open((self._next.setdefault(camera.id, Position()).run,))
        files.write_ledger(Ledger(), (change,))

    def index(self) -> None:
        """Take the journal to Postgres, as the indexer does."""
        writer = IndexWriter(journal=self.journal, segments=self.segments, gaps=self.gaps)
        while writer.write_batch():
            pass

    # What is there

    def folder(self, camera: Camera) -> Path:
        return self.root / "alice~40home" / str(camera.id)

    def live(self, camera: Camera) -> Path:
        return self.folder(camera) / ".live"

    def files(self, camera: Camera) -> list[Path]:
        return sorted(path for path in self.folder(camera).glob("2*/*.mp4"))

    def rows(self, camera: Camera) -> list[Segment]:
        return self.segments.in_range(camera.id, at(-86400), at(86400))

    def ledger(self, camera: Camera) -> list[Gap]:
        return self.gaps.in_range(camera.id, at(-86400), at(86400))

    # What is found

    def verify(self, *cameras: Camera, scope: VerifyOptions | None = None) -> list[Finding]:
        ids = [camera.id for camera in cameras]
        scope = scope or VerifyOptions(to=at(3600))
        return list(reconcile.verify(self.root, self.database, ids, scope))

    def reconcile(self, *cameras: Camera, scope: VerifyOptions | None = None) -> list[Repair]:
        ids = [camera.id for camera in cameras]
        scope = scope or VerifyOptions(to=at(3600))
        return list(reconcile.reconcile(self.root, self.database, ids, scope))

    def forget_rows(self, *ids: UUID) -> None:
        """Remove rows of segments, and nothing else."""
        self.segments.mark_deleting(ids)
        assert self.segments.delete(ids) == len(ids)
