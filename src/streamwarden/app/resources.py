"""The resources of the streaming role: files, threads, journal, watcher; opened in order.

``open_resources`` registers the close of each with an ExitStack, so they close in the reverse order.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
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
from streamwarden.ffmpeg.sandbox import Sandbox, recorder_reach
from streamwarden.ffmpeg.watcher import RunWatcher, StallTimeouts, TokenBucket
from streamwarden.http.role_client import ReadTokenClient, ReadTokenRefused
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import OF_THE_ROOT, Cause
from streamwarden.recordings.camera_files import CameraFileStore, IndexedEnds
from streamwarden.recordings.durable import FreeSpace
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.reconcile import JOURNAL
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.recordings.root_identity import RootFault
from streamwarden.recordings.root_pairing import RootPairing
from streamwarden.recordings.root_watch import RootWatch
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import Database
from streamwarden.storage.record_roots import RecordRootRepository
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
_ANNOUNCE_EVERY_S: Final = 1.0

ENDS_RUNS: Final = frozenset(
    {Cause.RECORD_ROOT_MISSING, Cause.RECORD_ROOT_CHANGED, Cause.RECORD_ROOT_READ_ONLY}
)
"""FFmpeg would go on writing into a folder that nobody sees, or would hang on to it."""


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
    watch: RootWatch
    pairing: RootPairing
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
    sandbox: Sandbox | None,
    index_of: Database | None = None,
) -> Resources:
    """Start the threads, take the record root, and end the processes that a killed server has left.

    A root that does not belong to the database is not taken: the role runs, and waits for the right one.
    ``index_of`` is the database that the root belongs to, where that is not ``database``.

    Raises:
        ConfigError: the record root, FFmpeg or setpriv cannot be used; another streaming role writes into
            the database.
    """
    require_setpriv()
    runs_as = ffmpeg_account(settings.ffmpeg_user)
    ffmpeg = find_ffmpeg(settings.ffmpeg)

    root = RecordRoot(record_root)
    closing.callback(root.release)
    journal = Journal(root.state / JOURNAL, opened=False)
    closing.callback(journal.close)

    internal_token = next(iter(settings.internal_tokens), "")
    client = ReadTokenClient(settings.internal_api_url or "", internal_token)
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
        changed = plain if runs_as is None else runs_as.argv(plain)
        if sandbox is None:
            return changed
        return sandbox.argv(changed, recorder_reach(order.url), ffmpeg=program)

    watcher = RunWatcher(
        ffmpeg=ffmpeg,
        argv=argv,
        clock=clock,
        spawn_rate=TokenBucket(interval_s=SPAWN_EVERY_CORE_S / cores(), burst=SPAWN_BURST),
        timeouts=StallTimeouts(silence_s=settings.stall_after),
    )
    closing.callback(partial(watcher.close, _WATCHER_CLOSES_WITHIN_S))

    api_url = settings.mediamtx_api_url
    paths = PathWatch(None if api_url is None else MediaMtxClient(api_url, internal_token), clock)
    paths.start()
    closing.callback(paths.stop)

    def again() -> None:
        root.take()
        journal.open()

    watch = RootWatch(
        record_root,
        on_fault=partial(_root_changed, metrics, watcher),
        on_free_space=partial(_measured, metrics),
        again=again,
    )
    closing.callback(watch.close)
    watch.start()
    Announcements(watch, timers)

    meter = GapMeter(metrics=metrics, clock=clock, timers=timers)
    closing.callback(meter.close)

    files = CameraFileStore(
        record_root=record_root,
        journal=journal,
        metrics=metrics,
        clock=clock,
        alive_until=None,
        indexed_ends=IndexedEnds(
            journal=journal, segments=SegmentRepository(index_of or database), clock=clock
        ),
        live=live,
        writer=None if runs_as is None else runs_as.uid,
        root=watch,
    )
    closing.callback(live.close)
    wanted = WantedStreams(root.state / "streams.json", SerialExecutor(disk), opened=False)

    def opened(alive_until: datetime | None) -> None:
        journal.open()
        # The last server's: this one has not written a heartbeat yet.
        files.alive_until = alive_until
        wanted.open()

    pairing = RootPairing(
        root=root,
        watch=watch,
        roots=RecordRootRepository(index_of or database),
        node=settings.node,
        clock=clock,
        opened=opened,
    )
    closing.callback(pairing.close)
    pairing.begin()
    return Resources(
        settings=settings,
        metrics=metrics,
        database=database,
        clock=clock,
        registry=registry,
        root=root,
        watch=watch,
        pairing=pairing,
        journal=journal,
        disk=disk,
        index=index,
        retention=retention,
        callers=callers,
        timers=timers,
        watcher=watcher,
        files=files,
        meter=meter,
        wanted=wanted,
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


def _root_changed(metrics: RecordingMetrics, watcher: RunWatcher, fault: RootFault | None) -> None:
    metrics.root_fault(None if fault is None else fault.cause, of=OF_THE_ROOT)
    if fault is not None and fault.cause in ENDS_RUNS:
        watcher.end_runs(fault.cause, fault.text)


def _measured(metrics: RecordingMetrics, space: FreeSpace) -> None:
    metrics.free_bytes(space.free_bytes)
    metrics.free_inodes(space.free_inodes if space.limits_inodes else None)


class Announcements:
    """Has the state of the record root announced once a second: a look that hangs announces nothing."""

    def __init__(self, watch: RootWatch, timers: Timers) -> None:
        self._watch = watch
        self._timers = timers
        self._due()

    def _due(self) -> None:
        self._watch.announce()
        self._timers.after(_ANNOUNCE_EVERY_S, self._due)


def index_waiting(journal: Journal, clock: Clock) -> tuple[int, float]:
    """Return how many rows wait for the index, and the age of the oldest in seconds, 0 for none."""
    since = journal.waiting_since()
    lag_s = (clock.now() - since).total_seconds() if since else 0.0
    return journal.waiting, max(0.0, lag_s)
