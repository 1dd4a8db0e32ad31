"""One camera's recorder: an actor that keeps one FFmpeg running and every second accounted for.

It owns no process: runs belong to the watching thread, segments to the disk, the ledger to a file. So
an incarnation that fails costs no frame; the next one adopts what there is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import structlog

from streamwarden.actors.format_changes import FormatChanges
from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import (
    ClockStepped,
    ClockWasSet,
    FolderOpened,
    InboxListener,
    LedgerWritten,
    RecorderState,
    RespawnDue,
    RestartRun,
    RetryStore,
    RunDiskHangs,
    RunEnded,
    RunRecording,
    RunsAdopted,
    RunSpawned,
    RunStalled,
    RunWaiting,
    SegmentClosed,
    SegmentOverdue,
    SegmentStored,
    SoundDue,
    SoundJudged,
    SpawnPrepared,
    StampsJumped,
    StartRequest,
    StopRecording,
    UpdateStream,
)
from streamwarden.actors.runs import LiveRuns
from streamwarden.actors.segment_log import RETRY_STORE_S, FolderRefusals, SegmentLog
from streamwarden.actors.spawning import SOURCE, Prepared, Spawning, failure
from streamwarden.actors.status import RecorderStatus
from streamwarden.actors.wanted_streams import WantedStream
from streamwarden.clock import Clock, rfc3339
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.exit_causes import HANGS, NO_KEY_FRAME
from streamwarden.ffmpeg.run import RunExit
from streamwarden.ffmpeg.watcher import RunWatcher
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause, LastSegment, Segment
from streamwarden.recordings.camera_files import CameraFiles, OpenedFolder, SegmentVanished
from streamwarden.recordings.segment_store import StoredSegment
from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import SerialExecutor, WorkerPool

log = structlog.get_logger(__name__)


class RecorderActor(SupervisedActor):
    """Keeps one camera recorded until it is stopped.

    Every second from ``stream.since`` on counts. ``restarts`` is the number of earlier incarnations
    that have failed. ``disk`` does the camera's file work in order, ``callers`` what waits for others.
    """

    def __init__(
        self,
        *,
        link: Link,
        stream: WantedStream,
        request: StartRequest,
        restarts: int,
        files: CameraFiles,
        watcher: RunWatcher,
        spawning: Spawning,
        status: RecorderStatus,
        disk: SerialExecutor,
        callers: WorkerPool,
        timers: Timers,
        clock: Clock,
        metrics: RecordingMetrics,
        meter: GapMeter,
        paths: PathWatch,
    ) -> None:
        super().__init__(link=link)
        self._camera_id = stream.camera_id
        self._wanted_at = stream.since
        self._segment_seconds = stream.segment_seconds
        self._asked_s = request.asked_s
        self._restarts = restarts
        self._log = log.bind(
            camera=str(stream.camera_id),
            incarnation=link.incarnation,
            request_id=request.request_id,
        )
        self._files = files
        self._status = status
        self._spawning = spawning
        self._disk = disk
        self._callers = callers
        self._timers = timers
        self._clock = clock
        self._metrics = metrics
        self._meter = meter
        self._paths = paths
        self._path = ""
        """The path at the media server from which the latest run reads."""
        self._runs = watcher.handle(stream.camera_id, InboxListener(self.actor_ref))
        self._live = LiveRuns()
        self._format_changes = FormatChanges()
        self._segments = SegmentLog(
            camera_id=stream.camera_id,
            files=files,
            runs=self._runs,
            live=self._live,
            disk=disk,
            meter=meter,
            timers=timers,
            clock=clock,
            tell=self._tell_self,
        )
        self._refusals = FolderRefusals()
        self._early: list[object] | None = []
        """Messages that wait for the ledger to be read; None from then on."""
        self._attempt = 0
        """Number of the latest spawn attempt or pause; answers to earlier ones are dropped."""
        self._preparing = False
        self._for_sound = False
        """Whether the attempt replaces a run only for the sound."""
        self._sound_run: int | None = None
        """The latest run that was ordered only for the sound."""
        self._closing = False
        self._unwanted_at: datetime | None = None
        spawning.offer(request.url)

    # The actor's life

    def init(self) -> None:
        """Adopt the camera's runs; their open events arrive as messages, then ``RunsAdopted``."""
        self._metrics.camera_added(str(self._camera_id))
        self._status.enter(
            RecorderState.STARTING, segment_seconds=self._segment_seconds, restarts=self._restarts
        )
        self._runs.adopt()

    def shutting_down(self) -> None:
        """Stop every run in order; the last segment is stored before this actor ends."""
        self._status.enter(RecorderState.STOPPING, next_retry_at=None)
        self._paths.forget(self._camera_id)
        self._stop_runs()
        self._end_when_done()

    def receive(self, message: object) -> object:  # noqa: C901, PLR0912, PLR0915 - one case a message
        """Handle one message of the manager, the watcher, a worker or a timer."""
        match message:
            case RunsAdopted():
                self._open_folder()
            case FolderOpened(result):
                self._folder_opened(result)
            case _ if self._early is not None:
                # Nothing can be accounted for until the ledger is read.
                self._early.append(message)
            case UpdateStream():
                self._update(message)
            case StopRecording(at):
                self._unwanted_at = at
            case RestartRun():
                self._replace_run()
            case RespawnDue(attempt):
                if attempt == self._attempt and not self._preparing and not self.stopping:
                    self._prepare_spawn()
            case SpawnPrepared(attempt, result):
                self._spawn_prepared(attempt, result)
            case RunSpawned(run):
                self._run_spawned(run)
            case RunRecording(run, at):
                self._run_recording(run, at)
            case RunStalled(run):
                if self._live.holds_only(run) and not self.stopping:
                    self._status.enter(RecorderState.STALLED)
            case RunWaiting(run, since):
                self._waiting(run, since)
            case RunDiskHangs(run, since):
                self._disk_hangs(run, since)
            case ClockStepped(run, by_s):
                self._log.warning("clock_stepped", run=run, by_s=round(by_s, 3))
                self._outdate(run)
            case ClockWasSet():
                self._segments.clock_was_set()
            case SegmentOverdue(run):
                # FFmpeg holds pictures back. Asked to stop, once a successor records, it writes them.
                self._log.warning("segment_overdue", run=run)
                self._outdate(run)
            case StampsJumped(run, by_s):
                text = (
                    f"the camera's time stamps jumped ahead by {by_s:.0f} s: its FFmpeg is replaced"
                )
                self._status.error(Cause.TIMESTAMPS_JUMPED, text)
                self._outdate(run)
            case SoundJudged(order, flows):
                self._sound_judged(order, flows=flows)
            case SoundDue():
                self._improve_sound()
            case RunEnded(run_exit):
                self._run_ended(run_exit)
            case SegmentClosed(segment):
                self._segments.add(segment)
            case SegmentStored(result):
                self._segment_stored(result)
            case RetryStore():
                self._segments.store_first()
            case LedgerWritten(final, result):
                self._ledger_written(result, final=final)
            case _:
                super().receive(message)
        return None

    # The folder and the ledger

    def _open_folder(self) -> None:
        runs = set[int]()
        for message in self._early or []:
            match message:
                case RunSpawned(run):
                    runs.add(run)
                case RunEnded(run_exit):
                    runs.add(run_exit.run)
        self._disk.run(
            partial(self._files.open, runs), lambda result: self._tell_self(FolderOpened(result))
        )

    def _folder_opened(self, result: object) -> None:
        early = self._early or []
        if not isinstance(result, OpenedFolder):
            self._folder_refused(result, early)
            return
        self._status.update(run=max(result.last_run, self._status.shown.run))
        if result.last_segment is not None:
            self._status.update(last_segment=result.last_segment)
        self._segments.begin(result, wanted_at=self._wanted_at, refusals=self._refusals)
        self._early = None
        for message in early:
            self.receive(message)
        if self.stopping:
            self._stop_runs()
            self._end_when_done()
        elif not self._live and self._attempt == 0:
            self._prepare_spawn()

    def _folder_refused(self, error: object, early: list[object]) -> None:
        cause, text = failure(error)
        self._show_refusal(cause, text)
        if self.stopping:
            for message in early:
                if isinstance(message, RunSpawned):
                    self._runs.stop(message.run)
            self._status.enter(RecorderState.STOPPED)
            self.finish()
            return
        self._refusals.add(self._camera_id, cause, self._clock.now(), self._meter)
        self._status.enter(RecorderState.BACKOFF)
        self._timers.after(RETRY_STORE_S, lambda: self._tell_self(RunsAdopted()))

    def _show_refusal(self, cause: Cause, text: str) -> None:
        """Publish why the folder cannot be opened, once for as long as it is the same."""
        shown = self._status.shown.last_error
        if shown is None or (shown.cause, shown.message) != (cause, text):
            self._status.error(cause, text)

    def _ledger_written(self, result: object, *, final: bool) -> None:
        if isinstance(result, Exception):
            self._log.error("ledger_not_written", error=str(result))
        if final:
            self._status.enter(RecorderState.STOPPED)
            self.finish()

    # Spawning: one attempt or pause at a time

    def _prepare_spawn(self, *, for_sound: bool = False) -> None:
        """Get a token, a run number and the stream's tracks in a worker; ``SpawnPrepared`` follows."""
        if not self._live.recording:
            waits = self._spawning.patient
            state = RecorderState.WAITING_FOR_KEY_FRAME if waits else RecorderState.STARTING
            self._status.enter(state, next_retry_at=None)
        self._paths.tried(self._camera_id)
        self._attempt += 1
        self._preparing, self._for_sound = True, for_sound
        attempt = self._attempt
        self._callers.run(
            self._spawning.preparation(),
            lambda result: self._tell_self(SpawnPrepared(attempt, result)),
        )

    def _spawn_prepared(self, attempt: int, prepared: object) -> None:
        if attempt != self._attempt:
            return
        self._preparing = False
        if self.stopping:
            return
        if not isinstance(prepared, Prepared):
            cause, text = failure(prepared)
            self._segments.could_not_begin(cause)
            self._respawn(cause, text, run=None, recorded=False)
            return
        order = self._spawning.order(prepared, self._segment_seconds, beside=self._live.recording)
        self._path = urlsplit(order.url).path.lstrip("/")
        self._log.info("run_ordered", run=order.run, sound=order.audio)
        self._sound_run = order.run if self._for_sound else self._sound_run
        self._run_spawned(order.run)
        self._runs.spawn(order)

    def _respawn(self, cause: Cause, text: str, *, run: int | None, recorded: bool) -> None:
        """Let another run follow one that was lost, or (``run`` None) that could not begin."""
        self._status.error(cause, text)
        wait_s = self._spawning.lost(cause, recorded=recorded)
        if self.stopping:
            return
        if self._preparing or (run is not None and self._live.has_successor(run)):
            if not self._live.recording:
                self._status.enter(RecorderState.STARTING, next_retry_at=None)
            return
        self._status.respawned(cause)
        if wait_s <= 0:
            self._prepare_spawn()
            if cause in SOURCE and run is not None:
                self._paths.lost(self._camera_id, self._path)
            return
        if not self._live.recording:
            retry_at = self._clock.now() + timedelta(seconds=wait_s)
            self._status.enter(RecorderState.BACKOFF, next_retry_at=retry_at)
        self._attempt += 1
        due = RespawnDue(self._attempt)
        self._timers.after(wait_s, lambda: self._tell_self(due))
        if cause in SOURCE and run is not None:
            self._paths.lost(self._camera_id, self._path, lambda: self._tell_self(due))

    # Runs

    def _run_spawned(self, run: int) -> None:
        self._live.spawned(run)
        self._status.update(run=max(run, self._status.shown.run))

    def _run_recording(self, run: int, at: datetime) -> None:
        self._meter.frames_again(self._camera_id, at)
        self._segments.goes_on(at)
        self._paths.recording(self._camera_id)
        self._spawning.recording(run)
        # Make before break: the predecessor goes only now that its successor records.
        for predecessor in self._live.records(run):
            self._runs.stop(predecessor)
        if not self.stopping:
            self._status.over(Cause.NO_KEY_FRAME, Cause.RECORD_ROOT_HANGS)
            self._status.enter(RecorderState.RUNNING, next_retry_at=None)
            self._replace_outdated()
            self._improve_sound()

    def _waiting(self, run: int, since: datetime) -> None:
        if self.stopping or not self._live.holds_only(run):
            return
        self._status.error(Cause.NO_KEY_FRAME, f"{NO_KEY_FRAME}, since {rfc3339(since)}")
        self._status.enter(RecorderState.WAITING_FOR_KEY_FRAME, next_retry_at=None)
        self._segments.waiting_for_key_frame(since)

    def _disk_hangs(self, run: int, since: datetime) -> None:
        # The run goes on: once the disk answers, FFmpeg writes what it has kept, or leaves.
        self._status.error(Cause.RECORD_ROOT_HANGS, HANGS)
        if self._live.holds_only(run) and not self.stopping:
            self._status.enter(RecorderState.STALLED)
            self._segments.interrupted(Cause.RECORD_ROOT_HANGS, since)

    def _run_ended(self, run_exit: RunExit) -> None:
        was_leaving = self._live.ended(run_exit.run)
        self._log.info("run_ended", run=run_exit.run, cause=run_exit.cause, detail=run_exit.message)
        loss = self._segments.run_ended(run_exit, was_leaving=was_leaving)
        self._spawning.left(
            run_exit.run,
            None if loss is None else loss.cause,
            recorded=run_exit.recorded,
            beside=self._live.recording,
        )
        if self._was_for_sound(run_exit) and loss is not None:
            # The predecessor records the picture; the sound is tried again after a pause.
            self._log.warning("sound_not_joined", run=run_exit.run, cause=run_exit.cause)
            self._improve_sound()
        elif loss is not None:
            self._respawn(
                loss.cause, run_exit.message, run=run_exit.run, recorded=run_exit.recorded
            )
        elif not self.stopping:
            self._replace_outdated()
            self._improve_sound()
        self._end_when_done()

    def _was_for_sound(self, run_exit: RunExit) -> bool:
        """Return whether a run recorded nothing, and was to replace one that goes on only for its sound."""
        if run_exit.recorded or run_exit.run != self._sound_run:
            return False
        return self._live.recording and not self._live.outdated

    def _sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        self._log.info("sound_judged", run=order.run, sound=order.audio, flows=flows)
        self._spawning.sound_judged(order, flows=flows)
        self._improve_sound()

    def _improve_sound(self) -> None:
        """Replace the run by one that records the sound too, or no longer; if it is too early, later."""
        run = self._live.staying
        wait_s = None if run is None else self._spawning.sound_wait_s(run)
        if wait_s is None or self.stopping:
            return
        if wait_s > 0:
            self._timers.after(wait_s, lambda: self._tell_self(SoundDue()))
        else:
            self._replace_run(for_sound=True)

    def _replace_run(self, *, for_sound: bool = False) -> None:
        """Begin a make-before-break, unless a run is already on its way."""
        if not self.stopping and not self._preparing and self._live.replaceable:
            self._prepare_spawn(for_sound=for_sound)

    def _outdate(self, run: int | None = None) -> None:
        self._live.outdate(run)
        self._replace_outdated()

    def _replace_outdated(self) -> None:
        if self._live.outdated:
            self._replace_run()

    def _update(self, update: UpdateStream) -> None:
        self._spawning.offer(update.rtsp_url)
        if update.segment_seconds != self._segment_seconds:
            self._segment_seconds = update.segment_seconds
            self._status.update(segment_seconds=update.segment_seconds)
            self._outdate()

    # Segments

    def _segment_stored(self, result: object) -> None:
        if isinstance(result, SegmentVanished):
            self._status.error(*failure(result))
            # The folder may have been replaced below FFmpeg's feet: another run uses the present one.
            self._outdate(self._segments.vanished(result.cause))
            self._end_when_done()
            return
        if isinstance(result, Exception):
            cause, text = failure(result)
            self._log.error(
                "segment_not_stored", cause=cause, error=text, waiting=self._segments.waiting
            )
            self._status.error(cause, text)
            self._segments.not_stored(cause, stopping=self.stopping)
            self._end_when_done()
            return
        stored = result if isinstance(result, StoredSegment) else None
        self._segments.stored(None if stored is None else stored.row)
        if stored is not None:
            self._show_stored(stored.row)
            self._judge_stamps(stored.row)
            self._judge_format(stored)
        self._end_when_done()

    def _judge_stamps(self, row: Segment) -> None:
        """Have a camera whose time stamps stand still recorded by the arrival of its pictures."""
        if row.standing and self._spawning.date_by_arrival():
            self._log.warning("time_stamps_stand_still", run=row.run, media_s=row.media_ms / 1000)
            text = "the camera's time stamps stand still: its pictures are dated by their arrival"
            self._status.error(Cause.TIMESTAMPS_STANDING, text)
            self._outdate()

    def _judge_format(self, stored: StoredSegment) -> None:
        """Replace a run whose files have no sound any more, or no longer the right header."""
        run, ends = stored.row.run, stored.ends
        if ends is None or self.stopping or not self._live.stays(run):
            return
        before = rfc3339(stored.row.ended_at)
        if ends.sound is False and self._spawning.silent(run):
            self._log.info("sound_stopped", run=run, before=before)
            self._improve_sound()
        sets = ends.sets
        if sets and self._format_changes.replaces(run, sets, self._clock.monotonic()):
            self._log.warning("format_changed", run=run, before=before)
            self._outdate(run)

    def _show_stored(self, row: Segment) -> None:
        if not row.salvaged:
            self._spawning.recorded()
        if self._asked_s is not None:
            self._metrics.first_segment(self._clock.monotonic() - self._asked_s)
            self._asked_s = None
        self._status.update(
            last_segment=LastSegment(
                started_at=row.started_at, ended_at=row.ended_at, size_bytes=row.size_bytes
            )
        )

    # The end

    def _stop_runs(self) -> None:
        for run in self._live.all_leave():
            self._runs.stop(run)

    def _end_when_done(self) -> None:
        if not self.stopping or self._closing or self._early is not None:
            return
        if self._live or self._segments.waiting:
            return
        self._closing = True
        self._segments.close(unwanted_at=self._unwanted_at)
