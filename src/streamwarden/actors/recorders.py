"""The factory of recorders, and what remains to do for cameras that have none.

Called in the stream manager's thread, except ``read_desired``, which blocks.
"""

from __future__ import annotations

import random
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import DesiredState, RecorderState, StartRequest
from streamwarden.actors.parked import ParkedCamera, close_ledger
from streamwarden.actors.recorder import RecorderActor
from streamwarden.actors.spawning import Backoff, ReadTokens, Spawning
from streamwarden.actors.status import RecorderStatus, StatusRegistry
from streamwarden.actors.wanted_streams import WantedStream
from streamwarden.clock import Clock
from streamwarden.errors import in_full
from streamwarden.ffmpeg.watcher import RunWatcher
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CameraFiles, CameraFileStore
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.streams import SettingsRepository, StreamRepository
from streamwarden.supervision import ActorRef, Link
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor, WorkerPool

log = structlog.get_logger(__name__)

SEGMENT_SECONDS: Final = 30
"""The segment length where no setting gives one."""


class Recorders:
    """Starts recorders with what they work with, and parks, releases and forgets cameras."""

    def __init__(
        self,
        *,
        files: CameraFileStore,
        watcher: RunWatcher,
        tokens: ReadTokens,
        registry: StatusRegistry,
        database: Database,
        disk: WorkerPool,
        callers: WorkerPool,
        timers: Timers,
        clock: Clock,
        metrics: RecordingMetrics,
        meter: GapMeter,
        paths: PathWatch,
        node: str,
        backoff: Backoff,
    ) -> None:
        self._all_files = files
        self._watcher = watcher
        self._tokens = tokens
        self._registry = registry
        self._database = database
        self._disk = disk
        self._callers = callers
        self._timers = timers
        self._clock = clock
        self._metrics = metrics
        self._meter = meter
        self._paths = paths
        self._node = node
        self._backoff = backoff
        self._orders: dict[UUID, SerialExecutor] = {}

    def start(
        self, link: Link, stream: WantedStream, request: StartRequest, *, restarts: int
    ) -> ActorRef:
        """Start an incarnation of a camera's recorder."""
        camera_id = stream.camera_id
        files = self._all_files.camera(camera_id, stream.owner)
        status = self._status(camera_id, request.request_id)
        # The caller of StartStream reads the status before the recorder's own thread has begun.
        status.enter(RecorderState.STARTING, segment_seconds=stream.segment_seconds)
        spawning = Spawning(
            camera_id=camera_id,
            files=files,
            tokens=self._tokens,
            clock=self._clock,
            backoff=self._backoff,
            chance=random.random,
        )
        return RecorderActor.start(
            link=link,
            stream=stream,
            request=request,
            restarts=restarts,
            files=files,
            watcher=self._watcher,
            spawning=spawning,
            status=status,
            disk=self._in_order(camera_id),
            callers=self._callers,
            timers=self._timers,
            clock=self._clock,
            metrics=self._metrics,
            meter=self._meter,
            paths=self._paths,
        )

    def park(self, camera_id: UUID, owner: str) -> None:
        """Stop the runs of a camera whose recorder is parked, and keep what they have recorded."""
        status = self._status(camera_id)
        status.error(Cause.ACTOR_PARKED, "its actor failed too often; the log says why")
        status.enter(RecorderState.PARKED, next_retry_at=None)
        self._paths.forget(camera_id)
        files = self._files(camera_id, owner)
        if files is None:
            return
        parked = ParkedCamera(
            camera_id=camera_id,
            files=files,
            disk=self._in_order(camera_id),
            meter=self._meter,
            clock=self._clock,
        )
        self._watcher.adopt(camera_id, parked)
        self._watcher.stop_camera(camera_id)

    def release(self, camera_id: UUID, owner: str, at: datetime) -> None:
        """Close the ledger of a camera that is no longer wanted since ``at``."""
        if (files := self._files(camera_id, owner)) is not None:
            self._in_order(camera_id).run(
                lambda: close_ledger(camera_id=camera_id, files=files, meter=self._meter, at=at),
                partial(_log_release, camera_id),
            )
        if self._registry.get(camera_id).status is not RecorderState.STOPPED:
            self._status(camera_id).enter(RecorderState.STOPPED, next_retry_at=None)

    def forget(self, camera_id: UUID) -> None:
        """Drop a camera that no longer exists from memory."""
        self._orders.pop(camera_id, None)
        self._registry.remove(camera_id)
        self._all_files.forget(camera_id)
        self._watcher.drop(camera_id)
        self._paths.forget(camera_id)
        self._metrics.forget(str(camera_id))

    def read_desired(self) -> DesiredState:
        """Return the desired state as the database has it. Blocking.

        Raises:
            Unavailable: Postgres is unavailable.
        """
        seconds = SettingsRepository(self._database).get("video_segment_seconds")
        streams = StreamRepository(self._database)
        rows = streams.all()
        for row in rows:
            if row.wanted and row.node != self._node:
                # The row names the machine that records.
                streams.claim(row.camera_id, self._node)
        stopped = {
            status.camera_id
            for status in self._registry.all()
            if status.status is RecorderState.STOPPED
        }
        return DesiredState(
            streams=tuple(rows),
            segment_seconds=seconds if isinstance(seconds, int) else SEGMENT_SECONDS,
            gone=frozenset(stopped - CameraRepository(self._database).existing(stopped)),
        )

    def _files(self, camera_id: UUID, owner: str) -> CameraFiles | None:
        """Return a camera's files; None, and a line in the log, where its owner names no folder.

        Parking and releasing must not raise: the manager looks after all other cameras too.
        """
        try:
            return self._all_files.camera(camera_id, owner)
        except ValueError as error:
            log.error("owner_names_no_folder", camera=str(camera_id), error=str(error))  # noqa: TRY400 - the text says it all
            return None

    def _status(self, camera_id: UUID, request_id: str | None = None) -> RecorderStatus:
        return RecorderStatus(
            camera_id=camera_id,
            registry=self._registry,
            metrics=self._metrics,
            clock=self._clock,
            request_id=request_id,
        )

    def _in_order(self, camera_id: UUID) -> SerialExecutor:
        return self._orders.setdefault(camera_id, SerialExecutor(self._disk))


def _log_release(camera_id: UUID, result: object) -> None:
    if isinstance(result, Exception):
        log.error("ledger_not_closed", camera=str(camera_id), error=in_full(result))
