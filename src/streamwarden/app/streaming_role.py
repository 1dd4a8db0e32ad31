"""The streaming role's actors, put together: the tree on its ground.

The streaming role as a program: what records, its metrics, its database pool, its port.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.indexer import BATCH, IndexerDeps, IndexWriter, SegmentIndexer
from streamwarden.actors.ops import DiskUsage, IndexLag, StartedRole, StreamingOps
from streamwarden.actors.retention_actor import RetentionActor, RetentionDeps
from streamwarden.actors.status import StatusBoard
from streamwarden.actors.stream_manager import ManagerDeps, StreamManager
from streamwarden.app.recorders import Recorders
from streamwarden.app.resources import Ground, Housekeeping, index_waiting, open_ground
from streamwarden.app.tree import Restarts, Root
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, Unavailable
from streamwarden.evidence.export_proof import ExportProver
from streamwarden.evidence.seal_keys import load_signing_key
from streamwarden.evidence.sealer import SealSchedule, sealer_of
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry, render
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.recordings.durable import free_bytes
from streamwarden.recordings.exports import Exports, Prove
from streamwarden.recordings.live import LiveIndex, ShelfSource
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.reconcile import StartupReconcile
from streamwarden.recordings.retention import DeletionReason, Retention, RetentionLimits
from streamwarden.recordings.serving import IndexedFiles
from streamwarden.recordings.snapshots import SnapshotMaker
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.seal_records import SealRepository
from streamwarden.storage.streams import PeriodRepository
from streamwarden.supervision import (
    INFINITY,
    ActorRef,
    ChildSpec,
    ChildType,
    Intensity,
    Link,
    SupervisorSpec,
    inbox_depths,
)

log = structlog.get_logger(__name__)


_STARTED_WITHIN_S: Final = 10.0


_TREE_LIMIT: Final = Intensity(intensity=5, period_s=60.0)


class StreamingRole:
    """Everything that records. ``gateway`` is how HTTP reaches it."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: RecordingMetrics,
        database: Database,
        clock: Clock,
        on_failure: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._database = database
        self._clock = clock
        self._on_failure = on_failure
        self._manager: ActorRef | None = None
        self._shelf: LiveIndex | None = None
        self._started: StartedRole | None = None
        self._closing = ExitStack()
        self.record_root = _record_root(settings)
        self.board = StatusBoard(clock)
        self.gateway = StreamGateway(manager=lambda: self._manager, board=self.board)
        self.ops = StreamingOps(
            started=lambda: self._started, board=self.board, gateway=self.gateway
        )

    def start(self) -> None:
        """Take the record root and begin to record what is wished.

        Raises:
            ConfigError: the record root, FFmpeg or setpriv is not as it must be.
        """
        with ExitStack() as closing:
            ground = open_ground(
                self._settings,
                self.record_root,
                closing,
                metrics=self._metrics,
                database=self._database,
                clock=self._clock,
                board=self.board,
                internal_api_url=self._settings.internal_api_url or "",
            )
            self._shelf = ground.archive.shelf
            closing.callback(self._shelf.close)
            self._begin_background_work(ground, closing)
            self._start_tree(ground, seal_keeper(ground, closing))
            self._started = StartedRole(
                supervisor=self._root.supervisor,
                disk=partial(_disk_usage, ground),
                index=partial(_index_lag, ground),
            )
            self._closing = closing.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Finish every segment, index it, and leave nothing running."""
        if not self._root.stop(max(0.5, deadline_s - 1.0)):
            log.error("not_stopped_in_time", deadline_s=deadline_s)
        self._closing.close()

    def shelf(self) -> LiveIndex:
        """Return what is being recorded now; raise Unavailable before the role has started."""
        if self._shelf is None:
            raise Unavailable("the recorders are not yet running", retry_after_s=1)
        return self._shelf

    def check_actors(self) -> None:
        """Raise Unavailable unless the stream manager lives."""
        if self._manager is None or not self._manager.is_alive():
            raise Unavailable("the stream manager is not running")

    def _begin_background_work(self, ground: Ground, closing: ExitStack) -> None:
        ground.metrics.watch_inboxes(inbox_depths)
        ground.metrics.watch_ffmpeg(ground.watcher.usage)
        ground.metrics.watch_index(lambda: index_waiting(ground.journal, ground.clock))
        Housekeeping(
            root=ground.root,
            metrics=ground.metrics,
            disk=ground.pools.disk,
            timers=ground.timers,
        )
        if ground.root.fresh:
            # Nothing to mend there; and should its disk not be mounted, the index is not to blame.
            log.info("record_root_is_new", path=str(self.record_root))
            return
        check = StartupReconcile(
            record_root=self.record_root,
            database=ground.database,
            clock=ground.clock,
            workers=ground.pools.retention,
            timers=ground.timers,
        )
        closing.callback(check.stop)
        check.begin()

    def _start_tree(self, ground: Ground, seals: SealSchedule | None) -> None:
        recorders = Recorders(ground)
        children = (
            ChildSpec(id="indexer", start=lambda link: start_indexer(link, ground), shutdown_s=3.0),
            ChildSpec(
                id="retention",
                start=lambda link: start_retention(link, ground, seals),
                shutdown_s=3.0,
            ),
            ChildSpec(
                id="stream_manager",
                start=lambda link: self._start_manager(link, ground, recorders),
                shutdown_s=INFINITY,
                type=ChildType.SUPERVISOR,
            ),
        )
        self._root = Root(
            spec=SupervisorSpec(limit=_TREE_LIMIT, children=children),
            timers=ground.timers,
            clock=ground.clock,
            metrics=ground.metrics,
            on_failure=self._on_failure,
        )
        if not self._root.wait_until_up(_STARTED_WITHIN_S):
            raise ConfigError("the actors did not start; the log says why")

    def _start_manager(self, link: Link, ground: Ground, recorders: Recorders) -> ActorRef:
        deps = ManagerDeps(
            start_recorder=recorders.start,
            park=recorders.park,
            release=recorders.release,
            forget=recorders.forget,
            read_wishes=recorders.read_wishes,
            wishes=ground.wishes,
            board=ground.board,
            callers=ground.pools.callers,
            timers=ground.timers,
            clock=ground.clock,
            observer=Restarts(ground.metrics, actor="recorder"),
            recorder_shutdown_s=max(1.0, ground.settings.stop_timeout_s - 2.0),
        )
        self._manager = StreamManager.start(link=link, deps=deps)
        return self._manager


def _disk_usage(ground: Ground) -> DiskUsage:
    state = os.statvfs(ground.root.path)
    total = state.f_blocks * state.f_frsize
    return DiskUsage(
        total_bytes=total,
        free_bytes=state.f_bavail * state.f_frsize,
        reserve_bytes=ground.settings.free_space_reserve.bytes_of(total),
        keep_days=ground.settings.retention_days,
    )


def _index_lag(ground: Ground) -> IndexLag:
    rows, lag_s = index_waiting(ground.journal, ground.clock)
    return IndexLag(segments=rows, lag_s=lag_s)


def start_indexer(link: Link, ground: Ground) -> ActorRef:
    """Start the one writer of the index."""
    writer = IndexWriter(
        journal=ground.journal,
        segments=SegmentRepository(ground.database),
        gaps=GapRepository(ground.database),
    )
    deps = IndexerDeps(
        batch_rows=BATCH,
        write_batch=writer.write_batch,
        on_append=ground.journal.tell,
        workers=ground.pools.index,
        timers=ground.timers,
    )
    return SegmentIndexer.start(link=link, deps=deps)


def start_retention(link: Link, ground: Ground, seals: SealSchedule | None = None) -> ActorRef:
    """Start what deletes, and say what it will delete when."""
    settings, folder = ground.settings, ground.root.path
    disk = os.statvfs(folder)
    limits = RetentionLimits(
        keep_for=timedelta(days=settings.retention_days),
        reserve_bytes=settings.free_space_reserve.bytes_of(disk.f_blocks * disk.f_frsize),
        total_bytes=settings.total_quota,
        camera_bytes=settings.camera_quota,
    )
    log.info("retention", rule=limits.in_words())
    for reason in DeletionReason:
        ground.metrics.deleted(reason, 0, 0)  # what is deleted first is seen as an increase
    retention = Retention(
        record_root=folder,
        limits=limits,
        segments=SegmentRepository(ground.database),
        gaps=GapRepository(ground.database),
        periods=PeriodRepository(ground.database),
        on_deleted=ground.metrics.deleted,
        clock=ground.clock,
        offline=OfflineRetention(
            record_root=folder,
            state=ground.root.state,
            waiting_since=ground.journal.waiting_since,
            clock=ground.clock,
        ),
        announce=None if seals is None else seals.announce,
    )
    deps = RetentionDeps(
        sweep=retention.sweep, workers=ground.pools.retention, timers=ground.timers
    )
    return RetentionActor.start(link=link, deps=deps)


def seal_keeper(ground: Ground, closing: ExitStack) -> SealSchedule | None:
    """Start what seals, if there is a key; recording goes on without one, whatever is wrong with it."""
    if ground.settings.seal_key_file is None:
        return None
    metrics = ground.metrics.sealing()
    try:
        key = load_signing_key(ground.settings.seal_key_file)
    except ConfigError as error:
        log.error("seal_key_unusable", error=str(error))  # noqa: TRY400 - the message says it all
        metrics.failed()
        return None
    keeper = SealSchedule(
        sealer=sealer_of(ground.settings, ground.root.path, key, ground.database, ground.clock),
        waiting_since=ground.journal.waiting_since,
        clock=ground.clock,
        metrics=metrics,
    )
    closing.callback(keeper.stop)
    keeper.start()
    log.info("seals", key_id=key.key_id)
    return keeper


def _record_root(settings: Settings) -> Path:
    if settings.record_root is None:
        raise ConfigError("STREAMWARDEN_RECORD_ROOT: is not set; the folder that recordings go to")
    return settings.record_root.resolve()


_THREADS = 16


class StreamingProgram:
    """Role ``streaming``, with its port."""

    def __init__(
        self, settings: Settings, *, clock: Clock, on_failure: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jobs = JobRunner()
        self._registry = new_registry()
        self._database = Database(settings.secret("database_url"), application_name="streaming")
        self._role = StreamingRole(
            settings,
            metrics=RecordingMetrics(self._registry),
            database=self._database,
            clock=clock,
            on_failure=on_failure,
        )
        self._exports = Exports(
            jobs=self._jobs,
            ffmpeg=partial(find_ffmpeg, settings.ffmpeg),
            segments=SegmentRepository(self._database),
            record_root=self._role.record_root,
            reserve_bytes=settings.free_space_reserve.bytes_of,
            clock=clock,
            prove=export_prover(settings, self._role.record_root, self._database, clock),
        )
        self._server = HttpServer(
            self._app(),
            settings.host,
            settings.streaming_port,
            threads=_THREADS,
            name="streaming",
        )
        self._started = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """Return the listener's port by name."""
        return {"streaming": self._server.port}

    def start(self) -> None:
        """Record, then listen: a request never meets a role that is not up."""
        with ExitStack() as started:
            self._database.open()
            started.callback(self._database.close)
            self._role.start()
            started.callback(lambda: self._role.stop(self._settings.stop_timeout_s))
            self._jobs.start()
            started.callback(self._jobs.close)
            self._exports.start()
            started.callback(self._exports.stop)
            self._server.start()
            self._started = started.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Stop listening, finish every segment, close the pool."""
        self._server.stop(1.0)
        self._exports.stop()
        self._jobs.close()
        self._role.stop(deadline_s - 1.0)
        self._database.close()

    def _app(self) -> WsgiApp:
        shared = AppContext(
            role="streaming",
            metrics=HttpMetrics(self._registry),
            render=partial(render, self._registry),
            checks={
                "database": lambda: check_database(self._database),
                "record_root": lambda: _check_writable(self._role),
                "actors": self._role.check_actors,
            },
            internal_token=self._settings.secret("internal_token"),
        )
        files = IndexedFiles(SegmentRepository(self._database), self._role.record_root)
        return create_streaming_app(
            shared,
            gateway=self._role.gateway,
            files=files,
            live=ShelfSource(self._role.shelf),
            pictures=self._pictures(files),
            exports=self._exports,
            ops=self._role.ops,
            rtsp_targets=RtspTargets(
                self._settings.rtsp_internal_url, self._settings.rtsp_allowed_hosts
            ),
        )

    def _pictures(self, files: IndexedFiles) -> SnapshotMaker:
        return SnapshotMaker(
            jobs=self._jobs,
            ffmpeg=partial(find_ffmpeg, self._settings.ffmpeg),
            shelf=self._role.shelf,
            segments=SegmentRepository(self._database),
            files=files,
            folder=self._role.record_root,
            clock=self._clock,
        )


def export_prover(
    settings: Settings, record_root: Path, database: Database, clock: Clock
) -> Prove | None:
    """Return the signer of exports, None without a usable key; ``seal_keeper`` logs why it is not."""
    if settings.seal_key_file is None:
        return None
    try:
        key = load_signing_key(settings.seal_key_file)
    except ConfigError:
        return None
    return ExportProver(
        record_root=record_root,
        key=key,
        seals=SealRepository(database),
        gaps=GapRepository(database),
        periods=PeriodRepository(database),
        clock=clock,
    ).prove


def check_database(database: Database) -> None:
    """Raise Unavailable unless Postgres answers."""
    with database.connection():
        pass


def _check_writable(role: StreamingRole) -> None:
    if free_bytes(role.record_root) == 0:
        raise OSError("no space is left under the record root")
