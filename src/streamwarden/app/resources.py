"""The resources of the streaming role: files, threads, journal, watcher; opened in order.

``open_resources`` registers the close of each with an ExitStack, so they close in the reverse order.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.recorders import Recorders
from streamwarden.actors.spawning import Backoff, CannotRead
from streamwarden.actors.status import StatusRegistry
from streamwarden.actors.wanted_streams import WantedStreams
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import Unavailable
from streamwarden.ffmpeg.command import (
    RunOrder,
    ffmpeg_account,
    find_ffmpeg,
    recording_argv,
    require_setpriv,
)
from streamwarden.ffmpeg.watcher import RunWatcher, StallTimeouts, TokenBucket
from streamwarden.http.role_client import ReadTokenClient, ReadTokenRefused
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CameraFileStore, IndexedEnds
from streamwarden.recordings.durable import free_bytes
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.reconcile import JOURNAL
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor, WorkerPool, cores

log = structlog.get_logger(__name__)

SPAWN_EVERY_CORE_S: Final = 0.4
"""A start costs 0.2 s of a core; at half of all cores, running recorders are not starved."""
SPAWN_BURST: Final = 4
_DISK_THREADS: Final = 4
_CALLER_THREADS: Final = 8
_WATCHER_CLOSES_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Everything that the actors of the streaming role work with, opened.

    Four pools keep apart what must wait for different things: a slow API holds up no segment.
    """

    settings: Settings
    metrics: RecordingMetrics
    database: Database
    clock: Clock
    registry: StatusRegistry
    root: RecordRoot
    journal: Journal
    disk: WorkerPool
    index: WorkerPool
    retention: WorkerPool
    callers: WorkerPool
    timers: Timers
    watcher: RunWatcher
    files: CameraFileStore
    meter: GapMeter
    wanted: WantedStreams
    recorders: Recorders


class TokenSource:
    """Fresh RTSP URLs from the API; its refusals become the recorder's causes."""

    def __init__(self, client: ReadTokenClient) -> None:
        self._client = client

    def fetch(self, camera_id: UUID) -> str:
        """Return a URL with a fresh token."""
        try:
            return self._client.fetch(camera_id).rtsp_url
        except ReadTokenRefused as error:
            raise CannotRead(Cause.UNAUTHORIZED, str(error)) from error
        except Unavailable as error:
            raise CannotRead(Cause.TOKEN_UNAVAILABLE, str(error)) from error


def open_resources(
    settings: Settings,
    record_root: Path,
    closing: ExitStack,
    *,
    metrics: RecordingMetrics,
    database: Database,
    clock: Clock,
    registry: StatusRegistry,
    live: LiveIndex,
) -> Resources:
    """Take the record root, end the processes that a killed server has left, and start the threads.

    Raises:
        ConfigError: the record root, FFmpeg or setpriv cannot be used.
    """
    require_setpriv()
    runs_as = ffmpeg_account(settings.ffmpeg_user)
    ffmpeg = find_ffmpeg(settings.ffmpeg)

    root = RecordRoot(record_root)
    root.take()
    closing.callback(root.release)
    if orphans := root.end_orphans():
        log.warning("orphans_ended", pids=orphans)
    alive_until = root.alive_until()  # the last server's: this one has not written a heartbeat yet

    journal = Journal(root.state / JOURNAL)
    closing.callback(journal.close)

    token = settings.internal_token
    client = ReadTokenClient(
        settings.internal_api_url or "", token.get_secret_value() if token else ""
    )
    closing.callback(client.close)

    index = WorkerPool("index", threads=1)
    closing.callback(index.close)
    disk = WorkerPool("disk", threads=_DISK_THREADS)
    closing.callback(disk.close)
    retention = WorkerPool("retention", threads=1)
    closing.callback(retention.close)
    callers = WorkerPool("callers", threads=_CALLER_THREADS)
    closing.callback(callers.close)

    timers = Timers()
    closing.callback(timers.close)

    def argv(program: str, order: RunOrder) -> list[str]:
        plain = recording_argv(program, order)
        return plain if runs_as is None else runs_as.argv(plain)

    watcher = RunWatcher(
        ffmpeg=ffmpeg,
        argv=argv,
        clock=clock,
        spawn_rate=TokenBucket(interval_s=SPAWN_EVERY_CORE_S / cores(), burst=SPAWN_BURST),
        timeouts=StallTimeouts(silence_s=settings.stall_after),
    )
    closing.callback(partial(watcher.close, _WATCHER_CLOSES_WITHIN_S))

    api_url = settings.mediamtx_api_url
    paths = PathWatch(None if api_url is None else MediaMtxClient(api_url), clock)
    paths.start()
    closing.callback(paths.stop)

    meter = GapMeter(metrics=metrics, clock=clock, timers=timers)
    closing.callback(meter.close)

    files = CameraFileStore(
        record_root=record_root,
        journal=journal,
        metrics=metrics,
        clock=clock,
        alive_until=alive_until,
        indexed_ends=IndexedEnds(
            journal=journal, segments=SegmentRepository(database), clock=clock
        ),
        live=live,
        writer=None if runs_as is None else runs_as.uid,
    )
    closing.callback(live.close)
    return Resources(
        settings=settings,
        metrics=metrics,
        database=database,
        clock=clock,
        registry=registry,
        root=root,
        journal=journal,
        disk=disk,
        index=index,
        retention=retention,
        callers=callers,
        timers=timers,
        watcher=watcher,
        files=files,
        meter=meter,
        wanted=WantedStreams(root.state / "streams.json", SerialExecutor(disk)),
        recorders=Recorders(
            files=files,
            watcher=watcher,
            tokens=TokenSource(client),
            registry=registry,
            database=database,
            disk=disk,
            callers=callers,
            timers=timers,
            clock=clock,
            metrics=metrics,
            meter=meter,
            paths=paths,
            node=settings.node,
            backoff=Backoff(cap_s=settings.respawn_cap_s),
        ),
    )


EVERY_S: Final = 2.0


class Heartbeat:
    """Writes the record root's heartbeat and measures its free space, ``EVERY_S`` after the last time.

    In the disk's pool: a disk that hangs holds up neither timers nor actors.
    """

    def __init__(
        self,
        *,
        root: RecordRoot,
        metrics: RecordingMetrics,
        disk: WorkerPool,
        timers: Timers,
    ) -> None:
        self._root = root
        self._metrics = metrics
        self._disk = disk
        self._timers = timers
        self._due()

    def _due(self) -> None:
        self._disk.run(self._work, self._done)

    def _work(self) -> None:
        self._root.heartbeat()
        self._metrics.free_bytes(free_bytes(self._root.path))

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            log.warning("heartbeat_failed", error=str(result))
        self._timers.after(EVERY_S, self._due)


def index_waiting(journal: Journal, clock: Clock) -> tuple[int, float]:
    """Return how many rows wait for the index, and the age of the oldest in seconds, 0 for none."""
    since = journal.waiting_since()
    lag_s = (clock.now() - since).total_seconds() if since else 0.0
    return journal.waiting, max(0.0, lag_s)
