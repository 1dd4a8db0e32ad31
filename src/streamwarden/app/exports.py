"""Exports: a range of a camera's recordings as one MP4, made by few FFmpegs and kept for a day.

They lie under the record root in streamwarden's own folder, so no recording is ever mistaken for one;
they are forgotten with the process, and what it has left is removed at the next start.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog

from streamwarden.app.export_files import FILE, LIST, PART, PROOF, ExportFiles
from streamwarden.app.export_making import ExportMaker, Prover
from streamwarden.app.export_orders import (
    KEPT_FOR,
    Export,
    ExportNotFound,
    ExportNotReady,
    ExportsBusy,
    NoSpace,
    NothingRecorded,
    ProofNotAvailable,
    RangeTooLong,
    State,
    shown,
    stretches,
    without_overlap,
)
from streamwarden.clock import Clock
from streamwarden.http.exports import OwnedExport
from streamwarden.http.streaming.ports import OpenFile
from streamwarden.media.jobs import JobEnd, JobOrder, JobRunner, Why
from streamwarden.media.joining import progress_ms
from streamwarden.storage.rows import Segment
from streamwarden.timers import Timers

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
