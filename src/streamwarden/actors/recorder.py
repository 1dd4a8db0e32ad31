"""One camera's recorder: an actor that keeps one FFmpeg running and every second accounted for.

It owns no process: runs belong to the watching thread, segments to the disk, the ledger to a file. So
an incarnation that fails costs no frame; the next one adopts what there is.


A recorder's attempts at a run: one at a time, and an answer or a pause of an earlier one is void.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from streamwarden.actors.messages import (
    ClockStepped,
    FolderOpened,
    LastSegment,
    LedgerNoted,
    RecorderState,
    RespawnDue,
    RestartRun,
    RunEnded,
    RunInbox,
    RunRecording,
    RunsAdopted,
    RunSpawned,
    RunStalled,
    SegmentListed,
    SegmentOverdue,
    SegmentStored,
    SpawnPrepared,
    StopRecording,
    StoreAgain,
    UpdateStream,
)
from streamwarden.actors.ports import (
    FinishedSegment,
    OpenedFolder,
    SpawnOrder,
    StoredSegment,
    reason,
)
from streamwarden.actors.recorder_deps import RecorderDeps, RecorderSpec
from streamwarden.actors.runs import LiveRuns
from streamwarden.actors.segment_log import STORE_AGAIN_S, Bookkeeping
from streamwarden.actors.spawning import Spawning
from streamwarden.model import Cause
from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool


class Attempts:
    """Counts attempts; every message that comes back names the one it belongs to."""

    def __init__(
        self,
        *,
        spawning: Spawning,
        callers: WorkerPool,
        timers: Timers,
        tell: Callable[[object], None],
    ) -> None:
        self._spawning = spawning
        self._callers = callers
        self._timers = timers
        self._tell = tell
        self._number = 0
        self.preparing = False

    @property
    def begun(self) -> bool:
        """Whether there has been one."""
        return self._number > 0

    def prepare(self, segment_seconds: int) -> None:
        """Get a token and a run number; ``SpawnPrepared`` follows."""
        self._number += 1
        self.preparing = True
        number = self._number
        self._callers.run(
            self._spawning.preparation(segment_seconds),
            lambda result: self._tell(SpawnPrepared(number, result)),
        )

    def answered(self, prepared: SpawnPrepared) -> bool:
        """Return whether the answer is the one that is waited for."""
        current = prepared.attempt == self._number
        self.preparing = self.preparing and not current
        return current

    def wait(self, wait_s: float) -> None:
        """Begin a pause; ``RespawnDue`` follows."""
        self._number += 1
        due = RespawnDue(self._number)
        self._timers.after(wait_s, lambda: self._tell(due))

    def is_due(self, attempt: int) -> bool:
        """Return whether the pause that is over is the present one."""
        return attempt == self._number and not self.preparing


log = structlog.get_logger(__name__)


class RecorderActor(SupervisedActor):
    """Keeps one camera recorded until it is told to stop."""

    def __init__(self, *, link: Link, spec: RecorderSpec, deps: RecorderDeps) -> None:
        super().__init__(link=link)
        self._spec = spec
        self._deps = deps
        self._log = log.bind(
            camera=str(spec.camera_id), incarnation=link.incarnation, request_id=spec.request_id
        )
        self._shown = deps.shown
        self._spawning = deps.spawning
        self._attempts = Attempts(
            spawning=deps.spawning,
            callers=deps.callers,
            timers=deps.timers,
            tell=self._tell_self,
        )
        self._live = LiveRuns()
        self._books = Bookkeeping(
            camera_id=spec.camera_id, deps=deps, live=self._live, tell=self._tell_self
        )
        self._early: list[object] | None = []
        self._stopping = False
        self._closing = False
        self._unwanted_at: datetime | None = None

    # The actor's life

    def init(self) -> None:
        """Adopt the camera's runs; what is known of them comes by message."""
        self._deps.instruments.camera_added(str(self._spec.camera_id))
        self._spawning.offer(self._spec.url)
        self._shown.state(
            RecorderState.STARTING,
            segment_seconds=self._spec.segment_seconds,
            restarts=self._spec.restarts,
        )
        self._runs = self._deps.adopt(self._spec.camera_id, RunInbox(self.actor_ref))
        self._books.adopt(self._runs)

    def shutting_down(self) -> None:
        """Stop every run in order; the last segment is stored before this actor ends."""
        self._stopping = True
        self._shown.state(RecorderState.STOPPING, next_retry_at=None)
        self._stop_runs()
        self._end_when_done()

    def receive(self, message: object) -> object:
        """Handle what the manager, runs, workers and timers tell."""
        match message:
            case RunsAdopted():
                self._open_folder()
            case FolderOpened(result):
                self._folder_opened(result)
            case _ if self._early is not None:
                # Until the ledger is read, nothing can be accounted for.
                self._early.append(message)
            case UpdateStream():
                self._update(message)
            case StopRecording(at):
                self._unwanted_at = at
            case RestartRun():
                self._replace_run()
            case SegmentOverdue(run):
                self._segment_overdue(run)
            case RespawnDue(attempt):
                self._respawn_due(attempt)
            case SpawnPrepared():
                self._spawn_prepared(message)
            case _:
                self._report(message)
        return None

    def _report(self, message: object) -> None:
        match message:
            case RunSpawned(run):
                self._run_spawned(run)
            case RunRecording(run, at):
                self._run_recording(run, at)
            case RunStalled(run):
                self._run_stalled(run)
            case ClockStepped(run, by_s):
                self._clock_stepped(run, by_s)
            case RunEnded():
                self._run_ended(message)
            case SegmentListed(run, number, started_at, ended_at):
                segment = FinishedSegment(
                    run=run, number=number, started_at=started_at, ended_at=ended_at
                )
                self._books.listed(segment)
            case SegmentStored(result):
                self._segment_stored(result)
            case StoreAgain():
                self._books.store_again()
            case LedgerNoted(final, result):
                self._ledger_noted(result, final=final)
            case _:
                super().receive(message)

    # The folder and the ledger

    def _open_folder(self) -> None:
        early = self._early or []
        runs = {message.run for message in early if isinstance(message, RunSpawned | RunEnded)}
        archive = self._deps.archive
        self._deps.disk.run(
            lambda: archive.open(runs), lambda result: self._tell_self(FolderOpened(result))
        )

    def _folder_opened(self, result: object) -> None:
        if not isinstance(result, OpenedFolder):
            self._folder_refused(result)
            return
        self._take_over(result)
        early, self._early = self._early or [], None
        for message in early:
            self.receive(message)
        if self._stopping:
            self._stop_runs()
            self._end_when_done()
        elif not self._live and not self._attempts.begun:
            self._prepare_spawn()

    def _take_over(self, opened: OpenedFolder) -> None:
        self._shown.update(run=max(opened.last_run, self._shown.status.run))
        if opened.last_segment is not None:
            self._shown.update(last_segment=opened.last_segment)
        self._books.take_over(opened, wanted_at=self._spec.wanted_at)

    def _folder_refused(self, result: object) -> None:
        self._shown.error(*reason(result))
        if self._stopping:
            for message in self._early or []:
                if isinstance(message, RunSpawned):
                    self._runs.stop(message.run)
            self._shown.state(RecorderState.STOPPED)
            self.finish()
            return
        self._shown.state(RecorderState.BACKOFF)
        self._deps.timers.after(STORE_AGAIN_S, lambda: self._tell_self(RunsAdopted()))

    def _ledger_noted(self, result: object, *, final: bool) -> None:
        if isinstance(result, Exception):
            self._log.error("ledger_not_written", error=str(result))
        if final:
            self._shown.state(RecorderState.STOPPED)
            self.finish()

    # Spawning

    def _prepare_spawn(self) -> None:
        if not self._live.recording:
            self._shown.state(RecorderState.STARTING, next_retry_at=None)
        self._attempts.prepare(self._spec.segment_seconds)

    def _spawn_prepared(self, prepared: SpawnPrepared) -> None:
        if not self._attempts.answered(prepared) or self._stopping:
            return
        order = prepared.result
        if not isinstance(order, SpawnOrder):
            cause, text = reason(order)
            self._books.could_not_begin(cause)
            self._come_back(cause, text, run=None, recorded=False)
            return
        # The length may have changed while the token was fetched.
        order = replace(order, segment_seconds=self._spec.segment_seconds)
        self._log.info("run_ordered", run=order.run)
        self._run_spawned(order.run)
        self._runs.spawn(order)

    def _respawn_due(self, attempt: int) -> None:
        if self._attempts.is_due(attempt) and not self._stopping:
            self._prepare_spawn()

    def _come_back(self, cause: Cause, text: str, *, run: int | None, recorded: bool) -> None:
        """Let another run follow the one that was lost, or (None) that could not begin."""
        self._shown.error(cause, text)
        wait_s = self._spawning.lost(cause, recorded=recorded)
        if self._stopping:
            return
        if self._attempts.preparing or (run is not None and self._live.has_successor(run)):
            if not self._live.recording:
                self._shown.state(RecorderState.STARTING, next_retry_at=None)
            return
        self._shown.respawned(cause)
        if wait_s <= 0:
            self._prepare_spawn()
            return
        if not self._live.recording:
            retry_at = self._deps.clock.now() + timedelta(seconds=wait_s)
            self._shown.state(RecorderState.BACKOFF, next_retry_at=retry_at)
        self._attempts.wait(wait_s)

    # What runs do

    def _run_spawned(self, run: int) -> None:
        self._live.spawned(run)
        self._shown.update(run=max(run, self._shown.status.run))

    def _run_recording(self, run: int, at: datetime) -> None:
        self._deps.meter.frames_again(self._spec.camera_id, at)
        # Make before break: the predecessor goes only now that its successor records.
        for predecessor in self._live.records(run):
            self._runs.stop(predecessor)
        if not self._stopping:
            self._shown.state(RecorderState.RUNNING, next_retry_at=None)
            self._replace_outdated()

    def _run_stalled(self, run: int) -> None:
        if self._live.holds_only(run) and not self._stopping:
            self._shown.state(RecorderState.STALLED)

    def _clock_stepped(self, run: int, by_s: float) -> None:
        self._log.warning("clock_stepped", run=run, by_s=round(by_s, 3))
        self._books.clock_set(run)
        self._outdate(run)

    def _segment_overdue(self, run: int) -> None:
        # Its FFmpeg holds pictures back. Asked to stop it writes them, once a successor records.
        self._log.warning("segment_overdue", run=run)
        self._outdate(run)

    def _run_ended(self, ended: RunEnded) -> None:
        was_leaving = self._live.ended(ended.run)
        self._log.info("run_ended", run=ended.run, cause=ended.cause, detail=ended.message)
        loss = self._books.run_ended(ended, was_leaving=was_leaving)
        if loss is not None:
            self._come_back(loss.cause, ended.message, run=ended.run, recorded=ended.recorded)
        elif not self._stopping:
            self._replace_outdated()
        self._end_when_done()

    def _replace_run(self) -> None:
        """Begin a make before break, unless a run is already on its way."""
        if not self._stopping and not self._attempts.preparing and self._live.replaceable:
            self._prepare_spawn()

    def _outdate(self, run: int | None = None) -> None:
        self._live.outdate(run)
        self._replace_outdated()

    def _replace_outdated(self) -> None:
        if self._live.outdated:
            self._replace_run()

    def _update(self, update: UpdateStream) -> None:
        self._spawning.offer(update.rtsp_url)
        if update.segment_seconds != self._spec.segment_seconds:
            self._spec = replace(self._spec, segment_seconds=update.segment_seconds)
            self._shown.update(segment_seconds=update.segment_seconds)
            self._outdate()

    # Segments

    def _segment_stored(self, result: object) -> None:
        if isinstance(result, Exception):
            self._not_stored(result)
            return
        stored = result if isinstance(result, StoredSegment) else None
        segment = self._books.stored(stored)
        if stored is not None:
            self._show_stored(stored, whole=not segment.torn)
        self._end_when_done()

    def _show_stored(self, segment: StoredSegment, *, whole: bool) -> None:
        if whole:
            self._spawning.recorded()
        if self._spec.wished_s is not None:
            since_s = self._deps.clock.monotonic() - self._spec.wished_s
            self._deps.instruments.first_segment(since_s)
            self._spec = replace(self._spec, wished_s=None)
        last = LastSegment(
            started_at=segment.started_at, ended_at=segment.ended_at, size_bytes=segment.size_bytes
        )
        self._shown.update(last_segment=last)

    def _not_stored(self, error: Exception) -> None:
        cause, text = reason(error)
        self._log.error("segment_not_stored", cause=cause, error=text, waiting=self._books.waiting)
        self._shown.error(cause, text)
        if self._books.hopeless(cause):
            self._segment_stored(None)
            return
        self._books.not_stored(cause, stopping=self._stopping)
        self._end_when_done()

    # The end

    def _stop_runs(self) -> None:
        for run in self._live.all_leave():
            self._runs.stop(run)

    def _end_when_done(self) -> None:
        if not self._stopping or self._closing or self._early is not None:
            return
        if self._live or self._books.waiting:
            return
        self._closing = True
        self._books.close(now=self._deps.clock.now(), unwanted_at=self._unwanted_at)
