"""Exports: a range of a camera's recordings as one MP4, made by few FFmpegs and kept for a day.

They lie under the record root in streamwarden's own folder, so no recording is ever mistaken for one;
they are forgotten with the process, and what it has left is removed at the next start.


What an export is: its order, what it covers, and why one is refused.

Making an export: which pieces of which files FFmpeg is to join, and the proof of what came of it.

Where exports lie: under the record root, in streamwarden's own folder, named after their ids.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol
from uuid import UUID, uuid4

import structlog

from streamwarden.app.resources import free_bytes
from streamwarden.clock import Clock
from streamwarden.errors import (
    ExportNotFound,
    ExportNotReady,
    ExportsBusy,
    NoSpace,
    NothingRecorded,
    ProofNotAvailable,
    RangeTooLong,
)
from streamwarden.ffmpeg.jobs import (
    Job,
    JobEnd,
    JobOrder,
    JobRunner,
    Piece,
    Why,
    concat_list,
    joining_argv,
    piece_of,
    progress_ms,
)
from streamwarden.http.streaming.ports import OpenFile
from streamwarden.http.wire import OwnedExport, Stretch
from streamwarden.model import Segment
from streamwarden.paths import STATE
from streamwarden.timers import Timers

KEPT_FOR: Final = timedelta(days=1)


SEAM: Final = timedelta(seconds=1)


State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Export:
    """One order and how far it is; changed under its keeper's lock alone."""

    id: UUID
    camera_id: UUID
    user_id: str
    from_: datetime
    to: datetime
    created_at: datetime
    segments: Sequence[Segment]
    state: State = "queued"
    progress_ms: int = 0
    total_ms: int = 1
    size_bytes: int | None = None
    error: str | None = None
    job: Job | None = None
    said: bytes = b""
    proven: bool = False
    unproven: str = "nothing is signed here: no SEAL_KEY_FILE is set"
    covers: list[Stretch] = field(default_factory=list)

    @property
    def unfinished(self) -> bool:
        """Whether it is still to be made."""
        return self.state in {"queued", "running"}

    @property
    def needs_bytes(self) -> int:
        """Return how much of the disk it will still take, at most."""
        return sum(segment.size_bytes for segment in self.segments) if self.unfinished else 0


def without_overlap(segments: Sequence[Segment]) -> list[Segment]:
    """Leave out what another segment covers: runs overlap where one took over from another."""
    kept: list[Segment] = []
    for segment in segments:
        if kept and segment.run != kept[-1].run and segment.ended_at <= kept[-1].ended_at:
            continue
        kept.append(segment)
    return kept


def stretches(segments: Sequence[Segment], from_: datetime, to: datetime) -> list[Stretch]:
    """Return when there is something between ``from_`` and ``to``, without the seams."""
    found: list[tuple[datetime, datetime]] = []
    for segment in segments:
        started, ended = max(segment.started_at, from_), min(segment.ended_at, to)
        if found and started - found[-1][1] < SEAM:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((started, ended))
    return [Stretch(**{"from": started, "to": ended}) for started, ended in found]


def shown(export: Export) -> OwnedExport:
    """Return an export as HTTP shows it."""
    done = export.state == "done"
    return OwnedExport(
        id=export.id,
        state=export.state,
        progress=1.0 if done else round(min(0.99, export.progress_ms / export.total_ms), 3),
        **{"from": export.from_, "bytes": export.size_bytes},
        to=export.to,
        error=export.error,
        proven=export.proven and done,
        created_at=export.created_at,
        expires_at=export.created_at + KEPT_FOR,
        covers=export.covers,
        user_id=export.user_id,
    )


FILE: Final = ".mp4"


PROOF: Final = ".proof"


LIST: Final = ".txt"


PART: Final = ".part"
"""FFmpeg reads the list and writes the part; neither outlives the making."""


class ExportFiles:
    """The files of every export. Any thread."""

    def __init__(self, record_root: Path) -> None:
        self.folder = record_root / STATE / "exports"

    def clear(self) -> None:
        """Remove what a former process has left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, export: Export, suffix: str) -> Path:
        """Return one of an export's files."""
        return self.folder / f"{export.id}{suffix}"

    def remove(self, export: Export, *suffixes: str) -> None:
        """Remove those of an export's files that are there."""
        for suffix in suffixes:
            self.path(export, suffix).unlink(missing_ok=True)

    def open(self, export: Export) -> OpenFile:
        """Open what was exported; raise ExportNotFound."""
        try:
            stream = self.path(export, FILE).open("rb")
        except OSError as error:
            raise ExportNotFound("the export's file is gone") from error
        return OpenFile(
            stream=stream,
            size_bytes=os.fstat(stream.fileno()).st_size,
            modified_at=export.created_at.replace(microsecond=0),
            etag=str(export.id),
        )

    def proof(self, export: Export) -> bytes:
        """Return an export's proof; raise ExportNotFound."""
        try:
            return self.path(export, PROOF).read_bytes()
        except OSError as error:
            raise ExportNotFound("the export's proof is gone") from error

    def disk_bytes(self) -> tuple[int, int]:
        """Return the size of the disk, and how much of it is free."""
        state = os.statvfs(self.folder)
        return state.f_blocks * state.f_frsize, free_bytes(self.folder)


class Prover(Protocol):
    """Signs what was exported."""

    def prove(
        self,
        *,
        export_id: UUID,
        camera_id: UUID,
        from_: datetime,
        to: datetime,
        segments: Sequence[Segment],
        file: Path,
    ) -> bytes:
        """Return the proof of a file; raises StreamwardenError, OSError."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What FFmpeg is to do in the folder of exports, and how much will come of it."""

    argv: Sequence[str]
    total_ms: int


class ExportMaker:
    """Reads and writes files, which takes its time. Any thread."""

    def __init__(
        self,
        *,
        ffmpeg: Callable[[], str],
        record_root: Path,
        files: ExportFiles,
        prover: Prover | None,
    ) -> None:
        self._ffmpeg = ffmpeg
        self._record_root = record_root
        self._files = files
        self._prover = prover

    def prepare(self, export: Export) -> Joining | None:
        """Write down what is to be joined; None if nothing of the range is left."""
        pieces = self._pieces(export)
        if not pieces:
            return None
        words, part = self._files.path(export, LIST), self._files.path(export, PART)
        words.write_text(concat_list(pieces), encoding="utf-8")
        argv = joining_argv(self._ffmpeg(), words.name, part.name)
        return Joining(argv, total_ms=max(1, sum(piece.media_ms for piece in pieces)))

    def keep(self, export: Export) -> None:
        """Give what FFmpeg has written its name; raise OSError."""
        self._files.path(export, PART).rename(self._files.path(export, FILE))

    def prove(self, export: Export) -> bool:
        """Sign what was exported; return False where nothing is signed. Raises what ``Prover`` does."""
        if self._prover is None:
            return False
        proof = self._prover.prove(
            export_id=export.id,
            camera_id=export.camera_id,
            from_=export.from_,
            to=export.to,
            segments=export.segments,
            file=self._files.path(export, FILE),
        )
        self._files.path(export, PROOF).write_bytes(proof)
        return True

    def _pieces(self, export: Export) -> list[Piece]:
        found = (self._piece(export, segment) for segment in export.segments)
        return [piece for piece in found if piece is not None]

    def _piece(self, export: Export, segment: Segment) -> Piece | None:
        path = (self._record_root / segment.path).resolve()
        if not path.is_relative_to(self._record_root.resolve()):
            return None
        millisecond = timedelta(milliseconds=1)
        ends = next((one for one in export.segments if one.started_at > segment.started_at), None)
        until = min(export.to, ends.started_at) if ends is not None else export.to
        before = max(0, (export.from_ - segment.started_at) // millisecond)
        # What is next to a neighbour of the same run is taken whole: its length is the media's own.
        cut = until < segment.ended_at - SEAM
        after = (until - segment.started_at) // millisecond if cut else segment.media_ms
        return piece_of(path, from_ms=before, to_ms=after)


log = structlog.get_logger(__name__)


MAX_SEGMENTS: Final = 10_000


_AT_ONCE: Final = 2


_QUEUED: Final = 16


_KEPT: Final = 200


_TIMEOUT_S: Final = 3_600.0


_TIDY_EVERY_S: Final = 300.0


_BUFFER_CHARS: Final = 4_096


class Index(Protocol):
    """The table of segments."""

    def in_range(
        self, camera_id: UUID, from_: datetime, to: datetime, *, limit: int | None = None
    ) -> list[Segment]:
        """Return the segments that overlap the range, in time order."""


class Exports:
    """All exports of this process, with their proofs where there is a ``prover``. Any thread."""

    def __init__(
        self,
        *,
        jobs: JobRunner,
        ffmpeg: Callable[[], str],
        segments: Index,
        record_root: Path,
        reserve_bytes: Callable[[int], int],
        clock: Clock,
        prover: Prover | None = None,
    ) -> None:
        self._jobs = jobs
        self._segments = segments
        self._files = ExportFiles(record_root)
        self._maker = ExportMaker(
            ffmpeg=ffmpeg, record_root=record_root, files=self._files, prover=prover
        )
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._exports: dict[UUID, Export] = {}
        self._queue: deque[Export] = deque()
        self._running = 0
        self._lock = threading.RLock()
        self._timers: Timers | None = None

    def start(self) -> None:
        """Remove what a former process has left, and begin to tidy up."""
        self._files.clear()
        self._timers = Timers()
        self._timers.after(_TIDY_EVERY_S, self._tidy_again)

    def stop(self) -> None:
        """Tidy up no more; the jobs end with their runner."""
        if self._timers is not None:
            self._timers.close()

    def add(self, camera_id: UUID, user_id: str, from_: datetime, to: datetime) -> OwnedExport:
        """Order an export.

        Raises:
            NothingRecorded: there is nothing to export.
            RangeTooLong: it would be more than one may hold.
            ExportsBusy, NoSpace: not now.
        """
        found = self._segments.in_range(camera_id, from_, to, limit=MAX_SEGMENTS + 1)
        if len(found) > MAX_SEGMENTS:
            raise RangeTooLong(f"more than {MAX_SEGMENTS} segments; ask for less", field="to")
        chosen = without_overlap(found)
        if not chosen:
            raise NothingRecorded("nothing was recorded then")
        export = Export(
            id=uuid4(),
            camera_id=camera_id,
            user_id=user_id,
            from_=from_,
            to=to,
            created_at=self._clock.now(),
            segments=chosen,
            covers=stretches(chosen, from_, to),
        )
        with self._lock:
            self._tidy()
            self._refuse_if_full(export)
            self._exports[export.id] = export
            self._queue.append(export)
            self._pump()
            return shown(export)

    def of_camera(self, camera_id: UUID) -> list[OwnedExport]:
        """Return a camera's exports, newest first."""
        with self._lock:
            self._tidy()
            found = [one for one in self._exports.values() if one.camera_id == camera_id]
            return [shown(one) for one in reversed(found)]

    def get(self, camera_id: UUID, export_id: UUID) -> OwnedExport:
        """Return an export; raise ExportNotFound."""
        with self._lock:
            self._tidy()
            return shown(self._known(camera_id, export_id))

    def cancel(self, camera_id: UUID, export_id: UUID) -> OwnedExport:
        """End an export that is not done, delete the file of one that is, and forget it later."""
        with self._lock:
            export = self._known(camera_id, export_id)
            if export.job is not None and export.state == "running":
                self._jobs.cancel(export.job)
            if export in self._queue:
                self._queue.remove(export)
            export.state = "cancelled"
            self._files.remove(export, FILE, PROOF)
            export.size_bytes = None
            return shown(export)

    def open(self, camera_id: UUID, export_id: UUID) -> OpenFile:
        """Open an export's file; raise ExportNotFound, ExportNotReady."""
        with self._lock:
            export = self._known(camera_id, export_id)
            if export.state != "done":
                raise ExportNotReady("the export has no file")
            return self._files.open(export)

    def proof(self, camera_id: UUID, export_id: UUID) -> bytes:
        """Return an export's proof; raise ExportNotFound, ExportNotReady, ProofNotAvailable."""
        with self._lock:
            export = self._known(camera_id, export_id)
            if export.state != "done":
                raise ExportNotReady("the export is not done")
            if not export.proven:
                raise ProofNotAvailable(export.unproven)
            return self._files.proof(export)

    # Under the lock

    def _known(self, camera_id: UUID, export_id: UUID) -> Export:
        export = self._exports.get(export_id)
        if export is None or export.camera_id != camera_id:
            raise ExportNotFound("this camera has no such export")
        return export

    def _refuse_if_full(self, export: Export) -> None:
        if len(self._queue) >= _QUEUED or len(self._exports) >= _KEPT:
            raise ExportsBusy("too many exports are waiting", retry_after_s=60)
        disk_bytes, free_bytes = self._files.disk_bytes()
        planned = sum(one.needs_bytes for one in self._exports.values()) + export.needs_bytes
        if free_bytes - planned < self._reserve_bytes(disk_bytes):
            raise NoSpace("the disk has no room for this export", retry_after_s=600)

    def _pump(self) -> None:
        while self._queue and self._running < _AT_ONCE:
            export = self._queue.popleft()
            export.state = "running"
            self._running += 1
            # Not here: reading the files' structure takes its time.
            threading.Thread(
                target=self._begin, args=(export,), name="export-prepare", daemon=True
            ).start()

    # A thread for a moment

    def _begin(self, export: Export) -> None:
        try:
            joining = self._maker.prepare(export)
        except Exception as error:  # edge of a thread: the export says that it has failed
            log.exception("export_not_prepared", export=str(export.id))
            self._finish(export, "failed", f"it could not be prepared: {type(error).__name__}")
            return
        if joining is None:
            self._finish(export, "failed", "nothing of the range is left")
            return
        with self._lock:
            export.total_ms = joining.total_ms
            if export.state != "running":
                self._finish(export, export.state, None)
                return
            export.job = self._jobs.run(
                JobOrder(
                    argv=joining.argv,
                    folder=self._files.folder,
                    timeout_s=_TIMEOUT_S,
                    on_end=partial(self._ended, export),
                    on_output=partial(self._progressed, export),
                )
            )

    # The thread of all jobs

    def _progressed(self, export: Export, chunk: bytes) -> None:
        export.said = (export.said + chunk)[-_BUFFER_CHARS:]
        whole, _, _ = export.said.rpartition(b"\n")
        if (so_far := progress_ms(whole)) is not None:
            export.progress_ms = so_far

    def _ended(self, export: Export, end: JobEnd) -> None:
        if end.good:
            try:
                self._maker.keep(export)
            except OSError as error:
                self._finish(export, "failed", error.strerror or type(error).__name__)
                return
            # Not here: a proof reads every file once more.
            threading.Thread(
                target=self._prove, args=(export,), name="export-prove", daemon=True
            ).start()
        elif end.why is Why.CANCELLED:
            self._finish(export, "cancelled", None)
        else:
            log.warning("export_failed", why=end.why, exit_code=end.exit_code, said=end.said)
            words = "it took too long" if end.why is Why.TIMED_OUT else "FFmpeg could not join it"
            self._finish(export, "failed", words)

    def _prove(self, export: Export) -> None:
        """Sign an export in a thread for a moment; without a proof it is done all the same."""
        try:
            export.proven = self._maker.prove(export)
        except Exception as error:  # edge of a thread: whoever asks for the proof is told
            export.unproven = "it could not be proven that its sources are what was stored"
            log.exception("export_not_proven", export=str(export.id), error=str(error))
        self._finish(export, "done", None)

    def _finish(self, export: Export, state: State, error: str | None) -> None:
        with self._lock:
            self._running -= 1
            self._files.remove(export, LIST, PART)
            if export.state == "cancelled":
                self._files.remove(export, FILE, PROOF)
            else:
                export.state, export.error = state, error
            if export.state == "done":
                export.size_bytes = self._files.path(export, FILE).stat().st_size
            log.info("export_ended", export=str(export.id), state=export.state)
            export.job = None
            self._pump()

    # Tidying up

    def _tidy_again(self) -> None:
        with self._lock:
            self._tidy()
        if self._timers is not None:
            self._timers.after(_TIDY_EVERY_S, self._tidy_again)

    def _tidy(self) -> None:
        horizon = self._clock.now() - KEPT_FOR
        for export in list(self._exports.values()):
            if not export.unfinished and export.created_at < horizon:
                self._files.remove(export, FILE, PROOF)
                del self._exports[export.id]
