"""What the actors of the streaming role stand on: files, threads, the journal, the watching thread.

Opened in order and closed in the reverse order; none of it knows an actor.


What the streaming role notes every few seconds: that it is alive, and what is free on its disk.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.desired import WishBook
from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.ports import CannotRead
from streamwarden.actors.status import StatusBoard
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import Unavailable
from streamwarden.ffmpeg.command import (
    FfmpegAccount,
    RunOrder,
    ffmpeg_account,
    find_ffmpeg,
    recording_argv,
    require_setpriv,
)
from streamwarden.ffmpeg.watcher import Patience, RunWatcher, TokenBucket
from streamwarden.http.role_client import ReadTokenClient, ReadTokenRefused
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import Archive, IndexedEnds
from streamwarden.recordings.durable import free_bytes, replace_file
from streamwarden.recordings.reconcile import JOURNAL
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor, WorkerPool, cores

log = structlog.get_logger(__name__)


SPAWN_EVERY_CORE_S: Final = 0.4
"""A start costs 0.2 s of a core; at half of all cores, what records already is not starved."""


SPAWN_BURST: Final = 4


_DISK_THREADS: Final = 4


_CALLER_THREADS: Final = 8


_WATCHER_CLOSES_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """Threads for what must wait, apart from one another: a slow API holds up no segment."""

    disk: WorkerPool
    index: WorkerPool
    retention: WorkerPool
    callers: WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """All of it, opened."""

    settings: Settings
    metrics: RecordingMetrics
    database: Database
    clock: Clock
    board: StatusBoard
    root: RecordRoot
    pools: Pools
    tokens: ReadTokens
    journal: Journal
    timers: Timers
    watcher: RunWatcher
    archive: Archive
    meter: GapMeter
    wishes: WishBook


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


def open_ground(
    settings: Settings,
    record_root: Path,
    closing: ExitStack,
    *,
    metrics: RecordingMetrics,
    database: Database,
    clock: Clock,
    board: StatusBoard,
    internal_api_url: str,
) -> Ground:
    """Take the record root, end what a killed server has left in it, and start the threads.

    Raises:
        ConfigError: the record root, FFmpeg or setpriv is not as it must be.
    """
    require_setpriv()
    runs_as = ffmpeg_account(settings.ffmpeg_user)
    ffmpeg = find_ffmpeg(settings.ffmpeg)
    root = _take(record_root, closing)
    alive_until = root.alive_until()  # of the last server: ours has not noted anything yet
    journal = Journal(root.state / JOURNAL)
    closing.callback(journal.close)
    tokens = _open_tokens(internal_api_url, settings, closing)
    pools = _open_pools(closing)
    timers = Timers()
    closing.callback(timers.close)
    watcher = _open_watcher(ffmpeg, runs_as, settings, clock, closing)
    meter = GapMeter(counter=metrics, clock=clock, timers=timers)
    closing.callback(meter.close)
    archive = Archive(
        record_root=record_root,
        journal=journal,
        counter=metrics,
        clock=clock,
        alive_until=alive_until,
        indexed_end=IndexedEnds(
            journal=journal, segments=SegmentRepository(database), clock=clock
        ).end_of,
        writer=None if runs_as is None else runs_as.uid,
    )
    return Ground(
        settings=settings,
        metrics=metrics,
        database=database,
        clock=clock,
        board=board,
        root=root,
        pools=pools,
        tokens=tokens,
        journal=journal,
        timers=timers,
        watcher=watcher,
        archive=archive,
        meter=meter,
        wishes=_wish_book(root.state / "streams.json", SerialExecutor(pools.disk)),
    )


def _take(record_root: Path, closing: ExitStack) -> RecordRoot:
    root = RecordRoot(record_root)
    root.take()
    closing.callback(root.release)
    if orphans := root.end_orphans():
        log.warning("orphans_ended", pids=orphans)
    return root


def _open_tokens(internal_api_url: str, settings: Settings, closing: ExitStack) -> ReadTokens:
    token = settings.internal_token
    client = ReadTokenClient(internal_api_url, token.get_secret_value() if token else "")
    closing.callback(client.close)
    return ReadTokens(client)


def _open_watcher(
    ffmpeg: str, runs_as: FfmpegAccount | None, settings: Settings, clock: Clock, closing: ExitStack
) -> RunWatcher:
    watcher = RunWatcher(
        ffmpeg=ffmpeg,
        argv=partial(_argv, runs_as),
        clock=clock,
        pacer=TokenBucket(interval_s=SPAWN_EVERY_CORE_S / cores(), burst=SPAWN_BURST),
        patience=Patience(stall_s=settings.stall_after),
    )
    closing.callback(partial(watcher.close, _WATCHER_CLOSES_WITHIN_S))
    return watcher


def _argv(runs_as: FfmpegAccount | None, ffmpeg: str, order: RunOrder) -> list[str]:
    argv = recording_argv(ffmpeg, order)
    return argv if runs_as is None else runs_as.argv(argv)


def _open_pools(closing: ExitStack) -> Pools:
    pools = Pools(
        disk=WorkerPool("disk", threads=_DISK_THREADS),
        index=WorkerPool("index", threads=1),
        retention=WorkerPool("retention", threads=1),
        callers=WorkerPool("callers", threads=_CALLER_THREADS),
    )
    for pool in (pools.index, pools.disk, pools.retention, pools.callers):
        closing.callback(pool.close)
    return pools


def _wish_book(path: Path, disk: SerialExecutor) -> WishBook:
    def save(content: bytes) -> None:
        disk.run(lambda: replace_file(path, content), _note_unsaved)

    return WishBook(load=lambda: path.read_bytes() if path.exists() else b"", save=save)


def _note_unsaved(result: object) -> None:
    if isinstance(result, Exception):
        # The database has the wishes too; this copy is for when it is away.
        log.error("wishes_not_saved", error=str(result))


EVERY_S: Final = 2.0


class Housekeeping:
    """Works in the disk's pool; one piece at a time, the next ``EVERY_S`` after the last."""

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
            log.warning("housekeeping_failed", error=str(result))
        self._timers.after(EVERY_S, self._due)


def index_waiting(journal: Journal, clock: Clock) -> tuple[int, float]:
    """Return how many rows wait for the index, and the age of the oldest in seconds, 0 for none."""
    since = journal.waiting_since()
    lag_s = (clock.now() - since).total_seconds() if since else 0.0
    return journal.waiting, max(0.0, lag_s)
