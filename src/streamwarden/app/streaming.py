"""The streaming role, put together: what is started in order is stopped in the reverse order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.board import StatusBoard
from streamwarden.actors.caretaker import Caretaker, close_ledger
from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.indexer import IndexerDeps, SegmentIndexer
from streamwarden.actors.messages import RecorderState
from streamwarden.actors.ports import CannotRead
from streamwarden.actors.recorder import RecorderActor, RecorderDeps, RecorderSpec
from streamwarden.actors.respawn import Backoff
from streamwarden.actors.retention import RetentionActor, RetentionDeps
from streamwarden.actors.shown import Shown
from streamwarden.actors.spawning import Spawning
from streamwarden.actors.stream_manager import ManagerDeps, StreamManager
from streamwarden.actors.wishes import Desired, DesiredStream, WishBook
from streamwarden.actors.workers import InOrder, WorkerPool
from streamwarden.app.archive import Archive
from streamwarden.app.checking import JOURNAL, StartupReconcile
from streamwarden.app.housekeeping import Housekeeping
from streamwarden.app.index_writer import IndexWriter
from streamwarden.app.process import cores
from streamwarden.app.retention import Limits, Sweeper
from streamwarden.app.root import Restarts, Root
from streamwarden.auth.urls import token_expiry
from streamwarden.causes import Cause
from streamwarden.clients.tokens import ReadTokenClient, ReadTokenRefused
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, Unavailable
from streamwarden.media.pacing import Pacer
from streamwarden.media.program import find_ffmpeg, require_setpriv
from streamwarden.media.record_root import RecordRoot
from streamwarden.media.store import replace_file
from streamwarden.media.watcher import Patience, RunWatcher
from streamwarden.metrics.recording import RecordingMetrics
from streamwarden.storage.gaps import GapRepository
from streamwarden.storage.journal import Journal
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.segments import SegmentRepository
from streamwarden.storage.settings import SettingsRepository
from streamwarden.storage.streams import StreamRepository
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
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)

SPAWN_EVERY_CORE_S: Final = 0.4
"""A start costs 0.2 s of a core; at half of all cores, what records already is not starved."""
SPAWN_BURST: Final = 4
SEGMENT_SECONDS: Final = 30
"""How long segments are where no setting says so."""
_STARTED_WITHIN_S: Final = 10.0


class ReadTokens:
    """Fresh URLs from the API, with its refusals as the recorder's causes."""

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


class StreamingRole:
    """Everything that records. ``gateway`` is how HTTP reaches it."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: RecordingMetrics,
        database: Database,
        clock: Clock,
        internal_api_url: Callable[[], str],
        on_failure: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._database = database
        self._clock = clock
        self._internal_api_url = internal_api_url
        self._on_failure = on_failure
        self._manager: ActorRef | None = None
        self._started = ExitStack()
        self._orders: dict[UUID, InOrder] = {}
        self.record_root = _record_root(settings)
        self.board = StatusBoard(clock)
        self.gateway = StreamGateway(manager=lambda: self._manager, board=self.board)

    def start(self) -> None:
        """Take the record root and begin to record what is wished.

        Raises:
            ConfigError: the record root, FFmpeg or setpriv is not as it must be.
        """
        with ExitStack() as started:
            self._start(started)
            self._started = started.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Finish every segment, index it, and leave nothing running."""
        if not self._root.stop(max(0.5, deadline_s - 1.0)):
            log.error("not_stopped_in_time", deadline_s=deadline_s)
        self._started.close()

    def check_actors(self) -> None:
        """Raise Unavailable unless the stream manager lives."""
        if self._manager is None or not self._manager.is_alive():
            raise Unavailable("the stream manager is not running")

    def _start(self, started: ExitStack) -> None:
        require_setpriv()
        ffmpeg = find_ffmpeg(self._settings.ffmpeg)
        root = RecordRoot(self.record_root)
        root.take()
        started.callback(root.release)
        alive_until = root.alive_until()
        if orphans := root.end_orphans():
            log.warning("orphans_ended", pids=orphans)
        self._start_pools(started)
        self._journal = Journal(root.state / JOURNAL)
        started.callback(self._journal.close)
        started.callback(self._disk.close)
        started.callback(self._index_pool.close)
        started.callback(self._retention_pool.close)
        self._timers = Timers()
        started.callback(self._timers.close)
        self._watcher = RunWatcher(
            ffmpeg=ffmpeg,
            clock=self._clock,
            pacer=Pacer(interval_s=SPAWN_EVERY_CORE_S / cores(), burst=SPAWN_BURST),
            patience=Patience(stall_s=self._settings.stall_after),
        )
        started.callback(lambda: self._watcher.close(2.0))
        self._archive = Archive(
            record_root=self.record_root,
            journal=self._journal,
            counter=self._metrics,
            clock=self._clock,
            alive_until=alive_until,
        )
        self._meter = GapMeter(counter=self._metrics, clock=self._clock, timers=self._timers)
        started.callback(self._meter.close)
        self._wishes = _wish_book(root.state / "streams.json")
        self._housekeep(root)
        self._start_tree()
        StartupReconcile(
            record_root=self.record_root,
            database=self._database,
            clock=self._clock,
            workers=self._retention_pool,
            timers=self._timers,
        ).begin()

    def _start_pools(self, started: ExitStack) -> None:
        self._disk = WorkerPool("disk", threads=4)
        self._index_pool = WorkerPool("index", threads=1)
        self._retention_pool = WorkerPool("retention", threads=1)
        self._callers = WorkerPool("callers", threads=8)
        token = self._settings.internal_token
        client = ReadTokenClient(
            self._internal_api_url(), token.get_secret_value() if token else ""
        )
        started.callback(client.close)
        started.callback(self._callers.close)
        self._tokens = ReadTokens(client)

    def _housekeep(self, root: RecordRoot) -> None:
        Housekeeping(
            root=root,
            journal=self._journal,
            metrics=self._metrics,
            clock=self._clock,
            disk=self._disk,
            timers=self._timers,
        )
        self._metrics.watch_inboxes(inbox_depths)
        self._metrics.watch_ffmpeg(self._watcher.usage)

    # The tree

    def _start_tree(self) -> None:
        children = (
            ChildSpec(id="indexer", start=self._start_indexer, shutdown_s=3.0),
            ChildSpec(id="retention", start=self._start_retention, shutdown_s=3.0),
            ChildSpec(
                id="stream_manager",
                start=self._start_manager,
                shutdown_s=INFINITY,
                type=ChildType.SUPERVISOR,
            ),
        )
        self._root = Root(
            spec=SupervisorSpec(limit=Intensity(intensity=5, period_s=60.0), children=children),
            timers=self._timers,
            clock=self._clock,
            metrics=self._metrics,
            on_failure=self._on_failure,
        )
        if not self._root.wait_until_up(_STARTED_WITHIN_S):
            raise ConfigError("the actors did not start; the log says why")

    def _start_indexer(self, link: Link) -> ActorRef:
        writer = IndexWriter(
            journal=self._journal,
            segments=SegmentRepository(self._database),
            gaps=GapRepository(self._database),
        )
        deps = IndexerDeps(
            write_batch=writer.write_batch,
            on_append=self._journal.tell,
            workers=self._index_pool,
            timers=self._timers,
        )
        return SegmentIndexer.start(link=link, deps=deps)

    def _start_retention(self, link: Link) -> ActorRef:
        disk = os.statvfs(self.record_root)
        limits = Limits(
            keep_for=timedelta(days=self._settings.retention_days),
            reserve_bytes=self._settings.free_space_reserve.bytes_of(disk.f_blocks * disk.f_frsize),
            total_bytes=self._settings.total_quota,
            camera_bytes=self._settings.camera_quota,
        )
        log.info("retention", rule=limits.in_words())
        sweeper = Sweeper(
            record_root=self.record_root,
            limits=limits,
            segments=SegmentRepository(self._database),
            gaps=GapRepository(self._database),
            periods=PeriodRepository(self._database),
            counter=self._metrics,
            clock=self._clock,
        )
        deps = RetentionDeps(sweep=sweeper.sweep, workers=self._retention_pool, timers=self._timers)
        return RetentionActor.start(link=link, deps=deps)

    def _start_manager(self, link: Link) -> ActorRef:
        deps = ManagerDeps(
            start_recorder=self._start_recorder,
            park=self._park,
            release=self._release,
            read_wishes=self._read_wishes,
            wishes=self._wishes,
            board=self.board,
            callers=self._callers,
            timers=self._timers,
            clock=self._clock,
            observer=Restarts(self._metrics, actor="recorder"),
            instruments=self._metrics,
            recorder_shutdown_s=max(1.0, self._settings.stop_timeout_s - 2.0),
        )
        self._manager = StreamManager.start(link=link, deps=deps)
        return self._manager

    def _start_recorder(self, link: Link, spec: RecorderSpec, owner: str) -> ActorRef:
        camera_id = spec.camera_id
        files = self._archive.camera(camera_id, owner)
        deps = RecorderDeps(
            archive=files,
            adopt=self._watcher.adopt,
            spawning=Spawning(
                camera_id=camera_id,
                archive=files,
                tokens=self._tokens,
                token_expiry=token_expiry,
                clock=self._clock,
                backoff=Backoff(cap_s=self._settings.respawn_cap_s),
                chance=random.random,
            ),
            shown=self._shown(camera_id),
            disk=self._in_order(camera_id),
            callers=self._callers,
            timers=self._timers,
            clock=self._clock,
            instruments=self._metrics,
            meter=self._meter,
        )
        return RecorderActor.start(link=link, spec=spec, deps=deps)

    def _shown(self, camera_id: UUID) -> Shown:
        return Shown(
            camera_id=camera_id,
            board=self.board.take_over(camera_id),
            instruments=self._metrics,
            clock=self._clock,
        )

    def _in_order(self, camera_id: UUID) -> InOrder:
        return self._orders.setdefault(camera_id, InOrder(self._disk))

    def _park(self, camera_id: UUID, owner: str) -> None:
        """Stop the runs of a camera whose recorder is parked, and keep what they have recorded."""
        shown = self._shown(camera_id)
        shown.error(Cause.ACTOR_PARKED, "its actor failed too often; the log says why")
        shown.state(RecorderState.PARKED, next_retry_at=None)
        caretaker = Caretaker(
            camera_id=camera_id,
            archive=self._archive.camera(camera_id, owner),
            disk=self._in_order(camera_id),
            meter=self._meter,
            clock=self._clock,
        )
        self._watcher.adopt(camera_id, caretaker)
        self._watcher.stop_camera(camera_id)

    def _release(self, camera_id: UUID, owner: str, at: datetime) -> None:
        """Close the books of a camera that is no longer wanted, whoever kept them last."""
        files = self._archive.camera(camera_id, owner)
        self._in_order(camera_id).run(
            lambda: close_ledger(camera_id=camera_id, archive=files, meter=self._meter, at=at),
            partial(_log_release, camera_id),
        )
        if self.board.get(camera_id).status is not RecorderState.STOPPED:
            self._shown(camera_id).state(RecorderState.STOPPED, next_retry_at=None)

    def _read_wishes(self) -> Desired:
        seconds = SettingsRepository(self._database).get("video_segment_seconds")
        rows = StreamRepository(self._database).all()
        return Desired(
            streams=tuple(
                DesiredStream(
                    camera_id=row.camera_id,
                    owner=row.owner,
                    wanted=row.wanted,
                    changed_at=row.changed_at,
                )
                for row in rows
            ),
            segment_seconds=seconds if isinstance(seconds, int) else SEGMENT_SECONDS,
        )


def _log_release(camera_id: UUID, result: object) -> None:
    if isinstance(result, Exception):
        log.error("books_not_closed", camera=str(camera_id), error=str(result))


def _record_root(settings: Settings) -> Path:
    if settings.record_root is None:
        raise ConfigError("STREAMWARDEN_RECORD_ROOT: is not set; the folder that recordings go to")
    return settings.record_root.resolve()


def _wish_book(path: Path) -> WishBook:
    return WishBook(
        load=lambda: path.read_bytes() if path.exists() else b"",
        save=lambda content: replace_file(path, content),
    )
