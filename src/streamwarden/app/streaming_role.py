"""The streaming role, wired: its parts in the order in which they start, and stop in reverse."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.indexer import IndexWriter, SegmentIndexer
from streamwarden.actors.ops import (
    DiskUsage,
    IndexLag,
    RetentionWait,
    StartedRole,
    StreamingOps,
)
from streamwarden.actors.retention_actor import RetentionActor
from streamwarden.actors.status import StatusRegistry
from streamwarden.app.database_watch import DatabaseWatch
from streamwarden.app.quarantine import Quarantine, quarantine_folder
from streamwarden.app.resources import Resources, index_waiting, open_resources
from streamwarden.app.thread_watch import ThreadWatch
from streamwarden.app.tree import SupervisionTree, start_stream_manager
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, Unavailable
from streamwarden.evidence.export_proof import ExportProver
from streamwarden.evidence.seal_keys import load_signing_key
from streamwarden.evidence.sealer import SealSchedule, sealer_of
from streamwarden.ffmpeg.command import ffmpeg_account, find_ffmpeg
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.ffmpeg.preflight import Preflight, try_ffmpeg
from streamwarden.ffmpeg.sandbox import Sandbox, ability, open_sandbox
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.server import HttpServer
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.loops import LoopEvents, ReconcileLoop
from streamwarden.metrics.http_metrics import DatabaseMetrics, HttpMetrics, new_registry, render
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.recordings.deletion_rules import DeletionRulesFile, Rules, Wait, WaitReason
from streamwarden.recordings.durable import FreeSpace, free_space_of
from streamwarden.recordings.exports import Exports, Prove
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.reconcile import StartupReconcile
from streamwarden.recordings.retention import (
    DeletionReason,
    ReckonedClock,
    Retention,
    RetentionLimits,
    RulesInForce,
)
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

_THREADS: Final = 24
_CONNECTIONS: Final = 2048
_OF_RECORDING: Final = {"/streams/start": 2, "/streams/stop": 2}
"""Addresses with threads that no picture, export or file can take."""
_PAIRING_STOPS_WITHIN_S: Final = 1.0
_STARTED_WITHIN_S: Final = 10.0
_FIRST_PREFLIGHT_WITHIN_S: Final = 5.0
_TREE_LIMIT: Final = Intensity(intensity=5, period_s=60.0)


class StreamingRole:
    """Everything that records, and the port of the streaming role.

    Constructed without side effects on the record root; ``start`` takes it.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock, on_failure: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_failure = on_failure
        self._record_root = _record_root(settings)
        self._collectors = new_registry()
        self._metrics = RecordingMetrics(self._collectors)
        self._database = Database(settings.secret("database_url"), application_name="streaming")
        self._watch = DatabaseWatch(self._database.check, DatabaseMetrics(self._collectors).up)
        self._registry = StatusRegistry(clock)
        self._gateway = StreamGateway(manager=lambda: self._manager, registry=self._registry)
        self._sandbox = open_sandbox(settings.ffmpeg_sandbox, settings.ffmpeg_reads)
        self._jobs = JobRunner(self._sandbox)
        self._exports = Exports(
            jobs=self._jobs,
            ffmpeg=partial(find_ffmpeg, settings.ffmpeg),
            segments=SegmentRepository(self._database),
            gaps=GapRepository(self._database),
            record_root=self._record_root,
            reserve_bytes=settings.free_space_reserve.bytes_of,
            clock=clock,
            prove=_export_prover(settings, self._record_root, self._database, clock),
            require_root=self._require_root,
        )
        self._live = LiveIndex(clock)
        self._preflight = Preflight(
            partial(_try_ffmpeg, settings, self._record_root, self._sandbox),
            on_result=self._metrics.ffmpeg_usable,
        )
        self._server = self._http_server()
        self._manager: ActorRef | None = None
        self._threads: ThreadWatch | None = None
        self._quarantine: Quarantine | None = None
        self._started: StartedRole | None = None
        self._resources: Resources | None = None
        self._stop_within_s = settings.stop_timeout_s
        self._closing = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """Return the listener's port by name."""
        return {"streaming": self._server.port}

    def start(self) -> None:
        """Record, then listen: a request never meets a role that is not up.

        Raises:
            ConfigError: the record root, the quarantine folder, FFmpeg or setpriv cannot be used, or the
                port is taken.
        """
        quarantine = quarantine_folder(self._settings, self._record_root)
        with ExitStack() as closing:
            self._database.open()
            closing.callback(self._database.close)
            self._watch.start()
            closing.callback(self._watch.stop)
            _say_what_is_open(self._sandbox)
            resources = self._open_resources(closing)
            self._watch_figures(resources)
            self._preflight.start()
            closing.callback(self._preflight.stop)
            self._start_reconcile(resources, closing)
            rules = rules_in_force(resources)
            seals = start_seal_schedule(resources, rules, closing)
            self._start_tree(resources, rules, seals, closing)
            self._jobs.start()
            closing.callback(self._jobs.close)
            self._watch_threads(resources, closing)
            if quarantine is not None:
                self._start_quarantine(quarantine, resources, closing)
            self._exports.start()
            closing.callback(self._exports.stop)
            # So that the first answer of /readyz is the outcome and not "not tried yet".
            self._preflight.await_first(_FIRST_PREFLIGHT_WITHIN_S)
            self._server.start()
            closing.callback(lambda: self._server.stop(1.0))
            self._closing = closing.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Stop in the reverse order of ``start``: listen no more, finish every segment, index it."""
        self._stop_within_s = deadline_s
        self._closing.close()

    # The parts

    def _open_resources(self, closing: ExitStack) -> Resources:
        self._resources = open_resources(
            self._settings,
            self._record_root,
            closing,
            metrics=self._metrics,
            database=self._database,
            clock=self._clock,
            registry=self._registry,
            live=self._live,
            sandbox=self._sandbox,
        )
        return self._resources

    def _watch_figures(self, resources: Resources) -> None:
        resources.metrics.watch_inboxes(inbox_depths)
        resources.metrics.watch_ffmpeg(resources.watcher.usage)
        resources.metrics.watch_index(lambda: index_waiting(resources.journal, resources.clock))
        resources.metrics.watch_other_role(lambda: resources.pairing.other_role() != "")

    def _watch_threads(self, resources: Resources, closing: ExitStack) -> None:
        self._threads = ThreadWatch(
            {
                "run-watcher": resources.watcher.enqueue,
                "media-jobs": self._jobs.enqueue,
                "timers": partial(resources.timers.after, 0.0),
            }
        )
        resources.metrics.watch_threads(self._threads.silences())
        closing.callback(self._threads.stop)
        self._threads.start()

    def _start_reconcile(self, resources: Resources, closing: ExitStack) -> None:
        reconcile = StartupReconcile(
            record_root=self._record_root,
            database=resources.database,
            clock=resources.clock,
            workers=resources.retention,
            timers=resources.timers,
            require_root=resources.watch.require,
        )
        closing.callback(reconcile.stop)

        def begin() -> None:
            if resources.root.fresh:
                log.info("record_root_is_new", path=str(self._record_root))
            else:
                reconcile.begin()

        resources.pairing.when_confirmed(begin)
        loop = ReconcileLoop(
            "root-pairing",
            resources.pairing.step,
            events=LoopEvents(
                failed="record_root_not_compared",
                recovered="record_root_compared_again",
                bug="root_pairing_failed",
            ),
            on_failure=lambda: None,
            stops_within_s=_PAIRING_STOPS_WITHIN_S,
        )
        closing.callback(loop.stop)
        loop.start()

    def _start_quarantine(self, folder: Path, resources: Resources, closing: ExitStack) -> None:
        quarantine = self._quarantine = Quarantine(
            settings=self._settings,
            folder=folder,
            watch=resources.watch,
            wanted=resources.wanted,
            database=resources.database,
            clock=resources.clock,
            sandbox=self._sandbox,
        )
        resources.metrics.watch_quarantine(
            lambda: quarantine.state().recording, lambda: quarantine.state().segments
        )
        loop = ReconcileLoop(
            "quarantine",
            quarantine.step,
            events=LoopEvents(
                failed="quarantine_not_compared",
                recovered="quarantine_compared_again",
                bug="quarantine_failed",
            ),
            on_failure=lambda: None,
            stops_within_s=_PAIRING_STOPS_WITHIN_S,
        )
        closing.callback(quarantine.stop)
        closing.callback(loop.stop)
        loop.start()

    def _start_tree(
        self,
        resources: Resources,
        rules: RulesInForce,
        seals: SealSchedule | None,
        closing: ExitStack,
    ) -> None:
        children = (
            ChildSpec(
                id="indexer", start=lambda link: start_indexer(link, resources), shutdown_s=3.0
            ),
            ChildSpec(
                id="retention",
                start=lambda link: start_retention(
                    link, resources, rules, seals, give_way=self._exports.give_way
                ),
                shutdown_s=3.0,
            ),
            ChildSpec(
                id="stream_manager",
                start=lambda link: self._start_manager(link, resources),
                shutdown_s=INFINITY,
                type=ChildType.SUPERVISOR,
            ),
        )
        tree = SupervisionTree(
            spec=SupervisorSpec(limit=_TREE_LIMIT, children=children),
            timers=resources.timers,
            clock=resources.clock,
            metrics=resources.metrics,
            on_failure=self._on_failure,
        )
        closing.callback(lambda: self._stop_tree(tree))
        if not tree.wait_until_up(_STARTED_WITHIN_S):
            raise ConfigError("the actors did not start; the log says why")
        self._started = StartedRole(
            supervisor=tree.supervisor,
            disk=partial(_disk_usage, resources, rules),
            index=partial(_index_lag, resources),
            retention_waits=partial(_retention_waits, rules),
        )

    def _stop_tree(self, tree: SupervisionTree) -> None:
        # Two seconds are left for the listener before and the pools after.
        if not tree.stop(max(0.5, self._stop_within_s - 2.0)):
            log.error("not_stopped_in_time", deadline_s=self._stop_within_s)

    def _start_manager(self, link: Link, resources: Resources) -> ActorRef:
        shutdown_s = max(1.0, resources.settings.stop_timeout_s - 2.0)
        self._manager = start_stream_manager(link, resources, shutdown_s=shutdown_s)
        return self._manager

    # The port

    def _http_server(self) -> HttpServer:
        settings = self._settings
        files = IndexedFiles(SegmentRepository(self._database), self._record_root)
        app = create_streaming_app(
            AppContext(
                role="streaming",
                metrics=HttpMetrics(self._collectors),
                render=partial(render, self._collectors),
                checks={
                    "database": self._database.check,
                    "record_root": self._check_record_root,
                    "actors": self._check_actors,
                    "threads": self._check_threads,
                    "ffmpeg": self._preflight.check,
                },
                internal_token=settings.secret("internal_token"),
            ),
            gateway=self._gateway,
            files=files,
            live=self._live,
            pictures=SnapshotMaker(
                jobs=self._jobs,
                ffmpeg=partial(find_ffmpeg, settings.ffmpeg),
                live=self._live,
                segments=SegmentRepository(self._database),
                files=files,
                folder=self._record_root,
                clock=self._clock,
            ),
            exports=self._exports,
            ops=StreamingOps(
                started=lambda: self._started, registry=self._registry, gateway=self._gateway
            ),
            rtsp_targets=RtspTargets(settings.rtsp_internal_url, settings.rtsp_allowed_hosts),
        )
        return HttpServer(
            app,
            settings.host,
            settings.streaming_port,
            threads=_THREADS,
            name="streaming",
            address_limit=_CONNECTIONS,  # the API's, for all users; so are the threads
            connection_limit=_CONNECTIONS,
            threads_of_client=_THREADS,
            reserved=_OF_RECORDING,
        )

    def _require_root(self) -> None:
        if self._resources is None:
            raise Unavailable("the record root is not opened yet")
        self._resources.watch.require()

    def _check_record_root(self) -> None:
        resources = self._resources
        if resources is None:
            raise Unavailable("the record root is not opened yet")
        if (fault := resources.watch.fault()) is not None:
            quarantine = self._quarantine.in_words() if self._quarantine else ""
            raise Unavailable(f"{fault.cause}: {fault.text}{quarantine}")
        if other := resources.pairing.other_role():
            raise Unavailable(other)
        if (space := resources.watch.space) is None:
            return
        if space.free_bytes == 0:
            raise Unavailable("no space is left under the record root")
        if space.limits_inodes and space.free_inodes == 0:
            raise Unavailable("no inode is left under the record root: it can hold no more files")

    def _check_threads(self) -> None:
        if self._threads is not None:
            self._threads.check()

    def _check_actors(self) -> None:
        if self._manager is None or not self._manager.is_alive():
            raise Unavailable("the stream manager is not running")


def start_indexer(link: Link, resources: Resources) -> ActorRef:
    """Start the one writer of the index."""
    return SegmentIndexer.start(
        link=link,
        journal=resources.journal,
        writer=IndexWriter(
            journal=resources.journal,
            segments=SegmentRepository(resources.database),
            gaps=GapRepository(resources.database),
            require_root=resources.pairing.require_index,
            on_taken=resources.metrics.not_indexed,
        ),
        workers=resources.index,
        timers=resources.timers,
    )


def start_retention(
    link: Link,
    resources: Resources,
    rules: RulesInForce,
    seals: SealSchedule | None = None,
    *,
    give_way: Callable[[int], int] = lambda _: 0,
) -> ActorRef:
    """Start retention. Its reserve depends on the disk, so it begins once the record root is known."""
    for reason in DeletionReason:
        resources.metrics.deleted(reason, 0, 0)  # so that the first deletion shows as an increase
    made: list[Retention] = []

    def sweep() -> bool:
        resources.watch.require()
        if not made:
            made.append(_retention(resources, rules, seals, give_way))
        return made[0].sweep()

    return RetentionActor.start(
        link=link,
        sweep=sweep,
        workers=resources.retention,
        timers=resources.timers,
    )


def _retention(
    resources: Resources,
    rules: RulesInForce,
    seals: SealSchedule | None,
    give_way: Callable[[int], int],
) -> Retention:
    settings, folder = resources.settings, resources.root.path
    disk = free_space_of(folder)
    limits = RetentionLimits(
        keep_for=timedelta(days=settings.retention_days),
        reserve_bytes=settings.free_space_reserve.bytes_of(disk.total_bytes),
        reserve_inodes=_reserve_inodes(settings, disk),
        total_bytes=settings.total_quota,
        camera_bytes=settings.camera_quota,
        floor=timedelta(seconds=settings.retention_min),
    )
    log.info("retention", rule=limits.in_words())
    return Retention(
        record_root=folder,
        limits=limits,
        rules=rules,
        segments=SegmentRepository(resources.database),
        gaps=GapRepository(resources.database),
        periods=PeriodRepository(resources.database),
        on_deleted=resources.metrics.deleted,
        offline=OfflineRetention(
            record_root=folder,
            state=resources.root.state,
            waiting_since=resources.journal.waiting_since,
            clock=resources.clock,
            reckoned=rules.now,
            kept_from=partial(rules.aged, limits.floor) if limits.floor else None,
        ),
        announce=None if seals is None else seals.announce,
        require_root=resources.watch.require,
        give_way=give_way,
    )


def _reserve_inodes(settings: Settings, disk: FreeSpace) -> int:
    """Return the reserve of inodes: the same share of all as the reserve of bytes is."""
    if not disk.limits_inodes or not disk.total_bytes:
        return 0
    share = settings.free_space_reserve.bytes_of(disk.total_bytes) / disk.total_bytes
    return int(min(1.0, share) * disk.total_inodes)


def rules_in_force(resources: Resources) -> RulesInForce:
    """Return the rules of deletion, continued from those of the last server."""
    settings, metrics = resources.settings, resources.metrics

    def on_waits(waits: Collection[Wait]) -> None:
        reasons = {wait.reason for wait in waits}
        metrics.retention_waits({reason.value: reason in reasons for reason in WaitReason})

    return RulesInForce(
        file=DeletionRulesFile(resources.root.state),
        limits=Rules(
            keep_for=timedelta(days=settings.retention_days),
            total_bytes=settings.total_quota,
            camera_bytes=settings.camera_quota,
        ),
        grace=timedelta(seconds=settings.retention_grace),
        # Without a state: an earlier version was alive at that time.
        known=lambda: resources.files.alive_until,
        clock=resources.clock,
        on_waits=on_waits,
        on_floor=metrics.retention_floor,
    )


def start_seal_schedule(
    resources: Resources, rules: RulesInForce, closing: ExitStack
) -> SealSchedule | None:
    """Start the thread that seals, if there is a key. A key that cannot be used stops no recording."""
    if resources.settings.seal_key_file is None:
        return None
    metrics = resources.metrics.sealing()
    try:
        key = load_signing_key(resources.settings.seal_key_file)
    except ConfigError as error:
        log.error("seal_key_unusable", error=str(error))  # noqa: TRY400 - the message says it all
        metrics.failed()
        return None

    def waiting_since() -> datetime | None:
        # Seals are files of the record root, and rows of its database.
        resources.pairing.require_index()
        resources.watch.require()
        return resources.journal.waiting_since()

    # What is signed cannot be taken back either: nothing is sealed or announced ahead of the time.
    clock = ReckonedClock(resources.clock, rules)
    schedule = SealSchedule(
        sealer=sealer_of(resources.settings, resources.root.path, key, resources.database, clock),
        waiting_since=waiting_since,
        clock=clock,
        metrics=metrics,
    )
    closing.callback(schedule.stop)
    schedule.start()
    log.info("seals", key_id=key.key_id)
    return schedule


def _export_prover(
    settings: Settings, record_root: Path, database: Database, clock: Clock
) -> Prove | None:
    """Return the signer of exports; None without a usable key, which ``start_seal_schedule`` logs."""
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


def _say_what_is_open(sandbox: Sandbox | None) -> None:
    """Log what a hostile stream that takes FFmpeg over could do here."""
    open_here = "FFMPEG_SANDBOX is off" if sandbox is None else ability().missing
    if open_here is not None:
        log.warning("ffmpeg_not_confined", missing=open_here)


def _try_ffmpeg(settings: Settings, folder: Path, sandbox: Sandbox | None) -> str:
    """Try FFmpeg as it is found now: an upgrade may have moved it."""
    try:
        ffmpeg = find_ffmpeg(settings.ffmpeg)
        return try_ffmpeg(ffmpeg, ffmpeg_account(settings.ffmpeg_user), folder, sandbox=sandbox)
    except ConfigError as error:
        raise Unavailable(str(error)) from error


def _record_root(settings: Settings) -> Path:
    if settings.record_root is None:
        raise ConfigError("STREAMWARDEN_RECORD_ROOT: is not set; the folder that recordings go to")
    return settings.record_root.resolve()


def _disk_usage(resources: Resources, rules: RulesInForce) -> DiskUsage:
    """Return what the last look at the record root found; zeros before there was one."""
    space = resources.watch.space
    total = space.total_bytes if space else 0
    return DiskUsage(
        total_bytes=total,
        free_bytes=space.free_bytes if space else 0,
        reserve_bytes=resources.settings.free_space_reserve.bytes_of(total),
        keep_days=resources.settings.retention_days,
        floor_reached=rules.at_floor,
    )


def _index_lag(resources: Resources) -> IndexLag:
    rows, lag_s = index_waiting(resources.journal, resources.clock)
    return IndexLag(segments=rows, lag_s=lag_s)


def _retention_waits(rules: RulesInForce) -> list[RetentionWait]:
    grace_s = rules.grace.total_seconds()
    return [
        RetentionWait(
            reason=wait.reason.value,
            value=wait.value,
            goes_on_in_s=max(0.0, grace_s - wait.waited_s),
        )
        for wait in rules.waits()
    ]
