"""The watcher: one thread that spawns every FFmpeg and watches all of them.

The thread lives as long as streamwarden, because the kernel sends a child's parent-death signal when the
*thread* that spawned it ends. One selector holds a pidfd and two pipes per run. Events go to the
listener that has adopted the camera. Events that are still open when it fails are repeated to the next
one (``docs/design/0003-a-run.md``).
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar
from uuid import UUID

import structlog

from streamwarden.clock import Clock, clock_line
from streamwarden.ffmpeg.command import (
    ANSWER_TIMEOUT_S,
    SILENT_WAIT_S,
    RunOrder,
    recording_argv,
)
from streamwarden.ffmpeg.exit_causes import Killed, RunEnd, classify, message
from streamwarden.ffmpeg.looks import DiskLooks, Look, Question, look_at
from streamwarden.ffmpeg.patience import MAX_WAIT_S, Arrivals, UsualSilence, silence_limit_s
from streamwarden.ffmpeg.process import Process, WatchLoop, process_usage, read_pipe
from streamwarden.ffmpeg.received import ReceivedBytes
from streamwarden.ffmpeg.run import (
    STDERR_BYTES_A_TICK,
    Run,
    RunClock,
    RunExit,
    RunListener,
    SegmentListReader,
    wall_offset_s,
)
from streamwarden.model import Cause

log = structlog.get_logger(__name__)

TICK_S: Final = 0.25

_CHECK_EVERY_TICKS: Final = 4
"""A run that records is checked once a second, one that does not yet at every tick."""

_AT_ONE_TICK: Final = 100
"""So many runs that record are checked at the same tick: all their files are looked at with one change of
thread. More are spread over the ticks, so that the interpreter is never held for long."""

_LATE_S: Final = 1.0
"""A tick that is later than this: the program was stopped, or the machine starved it."""

_DRAIN_READS: Final = 16

_STOP_GRACE_S: Final = 4.0
"""FFmpeg closes its file within 0.4 s of SIGTERM, unless it is blocked reading from a dead source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StallTimeouts:
    """How long a run may write nothing: before its first fragment, and between fragments.

    Both are longer for a camera that sends few pictures. Before its first fragment a run may wait for
    ``key_frame_s`` while packets arrive; after ``waiting_s`` it is said to do so.
    """

    first_fragment_s: float = 25.0
    silence_s: float = 8.0
    waiting_s: float = 5.0
    key_frame_s: float = MAX_WAIT_S


class RunWatcher:
    """Spawns and watches every run. Methods under *Any thread* are thread-safe."""

    def __init__(
        self,
        *,
        ffmpeg: str,
        clock: Clock,
        spawn_rate: TokenBucket,
        timeouts: StallTimeouts | None = None,
        argv: Callable[[str, RunOrder], list[str]] = recording_argv,
        look: Callable[..., Look] = look_at,
        received: ReceivedBytes | None = None,
    ) -> None:
        self._ffmpeg = ffmpeg
        self._clock = clock
        self._timeouts = timeouts or StallTimeouts()
        self._argv = argv
        self._cameras: dict[UUID, WatchedCamera] = {}
        self._spawns: SpawnQueue[WatchedCamera] = SpawnQueue(spawn_rate)
        self._live: dict[int, tuple[WatchedCamera, Run]] = {}
        self._cpu_s_of_ended = 0.0
        self._cpu_s_shown = 0.0
        self._wrote_stderr: set[int] = set()
        self._ticks = 0
        self._tick_at_s = 0.0
        self._closing = False
        self._loop = WatchLoop("run-watcher")
        self._received = received or ReceivedBytes()
        self._looks = DiskLooks(self._loop.enqueue, look=look, now=clock.monotonic)
        self._leaving: list[tuple[WatchedCamera, Run]] = []
        """Runs that have ended, until the last look at their open file."""
        self._loop.start(self)

    # Any thread

    def handle(self, camera_id: UUID, listener: RunListener) -> RunHandle:
        """Return the handle with which ``listener`` adopts and controls a camera's runs."""
        return RunHandle(self, camera_id, listener)

    def adopt(self, camera_id: UUID, listener: RunListener) -> RunHandle:
        """Adopt a camera for ``listener``: its open events are repeated, then ``adopted``."""
        handle = self.handle(camera_id, listener)
        handle.adopt()
        return handle

    def stop_camera(self, camera_id: UUID) -> None:
        """End all runs of a camera whose actor is parked."""
        self.enqueue(lambda: self._stop_camera(camera_id))

    def drop(self, camera_id: UUID) -> None:
        """Drop a camera that has no live run."""
        self.enqueue(lambda: self._drop(camera_id))

    def end_runs(self, cause: Cause, text: str) -> None:
        """Kill every run for ``cause``: the folder that it records into is gone."""
        self.enqueue(lambda: self._end_runs(cause, text))

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the watching thread; dropped after ``close``."""
        self._loop.enqueue(command)

    def usage(self) -> tuple[float, int]:
        """Return the CPU seconds of all runs, ended ones included, and the live ones' resident bytes."""
        live = [process_usage(pid) for pid in list(self._live)]
        cpu_s = self._cpu_s_of_ended + sum(process.cpu_s for process in live)
        # A run that ends during this call may count twice or not at all; a counter must not decrease.
        self._cpu_s_shown = max(self._cpu_s_shown, cpu_s)
        return self._cpu_s_shown, sum(process.resident_bytes for process in live)

    def close(self, deadline_s: float) -> None:
        """Kill all live runs, and end the thread."""
        self.enqueue(self._begin_close)
        self._loop.join(deadline_s)
        self._looks.close()
        self._received.close()

    # The watching thread

    def obey(
        self,
        camera_id: UUID,
        listener: RunListener,
        command: Callable[..., None],
        *args: object,
    ) -> None:
        """Call ``command(camera, *args)`` if ``listener`` is the one that has adopted the camera."""
        camera = self._cameras.get(camera_id)
        if camera is not None and camera.listener is listener:
            command(camera, *args)

    def take_over(self, camera_id: UUID, listener: RunListener) -> None:
        """Make ``listener`` the receiver of a camera's events and repeat the open ones."""
        camera = self._cameras.get(camera_id)
        if camera is None:
            camera = self._cameras[camera_id] = WatchedCamera(listener)
        # Queued orders of the former listener are dropped: the new one decides for itself.
        self._spawns.drop_all(camera)
        camera.listener = listener
        camera.repeat_events()

    def _drop(self, camera_id: UUID) -> None:
        camera = self._cameras.get(camera_id)
        if camera is not None and all(number in camera.ended for number in camera.runs):
            del self._cameras[camera_id]

    def _stop_camera(self, camera_id: UUID) -> None:
        if (camera := self._cameras.get(camera_id)) is not None:
            self._spawns.drop_all(camera)
            for number in list(camera.runs):
                self.stop_run(camera, number)

    def queue_spawn(self, camera: WatchedCamera, order: RunOrder) -> None:
        """Spawn as soon as the spawn rate allows."""
        self._spawns.add(camera, order)

    def stop_run(self, camera: WatchedCamera, number: int) -> None:
        """Stop a run, or drop it if it is still queued."""
        if self._spawns.drop(camera, number):
            self._end(camera, self._not_run(number, None, "stopped before it was spawned"))
            return
        run = camera.runs.get(number)
        if run is None or number in camera.ended or run.stop_asked:
            return
        run.stop_asked = True
        if run.killed is None:
            run.process.signal(signal.SIGTERM)
            run.kill_at_s = self._clock.monotonic() + _STOP_GRACE_S

    def _end_runs(self, cause: Cause, text: str) -> None:
        for _, run in self._live.values():
            if run.lost_to is None:
                run.lost_to = (cause, text)
                run.process.signal(signal.SIGKILL)

    def finished(self) -> bool:
        """Return whether the watcher is closed and every run has ended."""
        return self._closing and not self._live and not self._leaving

    def wait_s(self) -> float | None:
        """Return the time until the next tick or spawn."""
        now = self._clock.monotonic()
        waits_s = [self._tick_at_s - now] if self._live or self._leaving else []
        if (spawn_s := self._spawns.wait_s(now)) is not None:
            waits_s.append(spawn_s)
        return max(0.0, min(waits_s)) if waits_s else None

    def run_once(self) -> None:
        """Do the tick and the spawns that are due."""
        self._loop.guarded(self._tick)
        for camera, order in self._spawns.due(self._clock.monotonic()):
            self._loop.guarded(partial(self._spawn, camera, order))

    def _begin_close(self) -> None:
        self._closing = True
        self._spawns.clear()
        for _, run in self._live.values():
            run.stop_asked = True
            run.process.signal(signal.SIGKILL)

    # Spawning

    def _spawn(self, camera: WatchedCamera, order: RunOrder) -> None:
        try:
            process = Process(self._argv(self._ffmpeg, order), order.folder)
        except (OSError, ValueError) as error:
            # Only strerror: the text of another error may hold an argument, and so a token.
            text = f"FFmpeg was not spawned: {getattr(error, 'strerror', type(error).__name__)}"
            self._end(camera, self._not_run(order.run, Cause.INTERNAL, text))
            return
        self._watch(camera, order, process)

    def _watch(self, camera: WatchedCamera, order: RunOrder, process: Process) -> None:
        now = self._clock.monotonic()
        run = Run(
            order=order,
            process=process,
            clock=RunClock(self._clock),
            reader=SegmentListReader(order.run),
            born_s=now,
            grew_s=now,
            arrivals=Arrivals(camera.usual),
        )
        camera.runs[order.run] = run
        if not self._live and not self._leaving:
            self._tick_at_s = now + TICK_S
        self._live[process.pid] = (camera, run)
        for source, react in (
            (process.stdout, partial(self._read_list, camera, run)),
            (process.stderr, partial(self._read_stderr, run)),
            (process.pidfd, partial(self._exited, camera, run)),
        ):
            self._loop.register(source, react)
        camera.listener.spawned(order.run, run.spawned_at)

    def _not_run(self, run: int, cause: Cause | None, text: str) -> RunExit:
        return RunExit(
            run=run,
            at=self._clock.now(),
            cause=cause,
            message=text,
            recorded=False,
            open_segment=None,
            line=clock_line(self._clock),
        )

    # Events of a run

    def _read_list(self, camera: WatchedCamera, run: Run) -> None:
        chunk = read_pipe(run.process.stdout)
        if chunk == b"":
            self._loop.unregister(run.process.stdout)
        self._take_list(camera, run, chunk or b"")

    def _take_list(self, camera: WatchedCamera, run: Run, chunk: bytes) -> None:
        listed_segments = run.reader.feed(chunk)
        if listed_segments:
            now, grew_s = self._clock.monotonic(), run.grew_s
            for listed in listed_segments:
                run.stamps.note(listed.from_s + listed.media_s, run.born_s, now)
                run.list_segment(listed, now)
            run.opened_s = now
            if run.wrote_media:
                if run.recording and run.hung_from_s is None:
                    # Files of one picture each grow only when they are closed.
                    camera.usual.add(now - grew_s)
                self._note_growth(camera, run, now)
        if not run.holds_back(self._clock.monotonic()):
            self._close_held(camera, run)

    @staticmethod
    def _close_held(camera: WatchedCamera, run: Run) -> None:
        # All are dated before the first is reported, so that no line is lost if the listener raises.
        for segment in run.close_held():
            camera.listener.segment_closed(segment)

    def _read_stderr(self, run: Run) -> None:
        chunk = read_pipe(run.process.stderr)
        run.note_stderr(chunk or b"")
        self._wrote_stderr.add(run.process.pid)
        if chunk == b"" or run.stderr_budget < 0:
            # A flood of stderr waits in its pipe until the next tick, which slows down only its own FFmpeg.
            self._loop.unregister(run.process.stderr)
            run.stderr_paused = chunk != b""

    def _exited(self, camera: WatchedCamera, run: Run) -> None:
        # Before it is reaped: a zombie's CPU times can still be read.
        cpu_s = process_usage(run.process.pid).cpu_s
        exit_code = run.process.reap()
        self._cpu_s_of_ended += cpu_s
        self._loop.guarded(partial(self._drain, camera, run))
        self._release(run)
        run.exit_code, run.exited_s = exit_code, self._clock.monotonic()
        self._leaving.append((camera, run))
        if run.hangs or run.lost_to is not None:
            self._ended(camera, run, Look(exists=None), run.exited_s)
        else:
            question = Question(run.open_file, run.wrote_media, partial(self._ended, camera, run))
            self._looks.ask([question], first=True)

    def _drain(self, camera: WatchedCamera, run: Run) -> None:
        while chunk := read_pipe(run.process.stdout):
            self._take_list(camera, run, chunk)
        self._close_held(camera, run)
        for _ in range(_DRAIN_READS):
            run.note_stderr(read_pipe(run.process.stderr) or b"")

    def _release(self, run: Run) -> None:
        self._loop.unregister(run.process.stdout)
        self._loop.unregister(run.process.stderr)
        self._loop.unregister(run.process.pidfd)
        run.process.close()
        self._received.forget(run.process.pid)
        del self._live[run.process.pid]

    def _ended(self, camera: WatchedCamera, run: Run, look: Look, done_s: float) -> None:
        """Report the end of a run, by the last look at the file that it was writing."""
        if (camera, run) not in self._leaving:
            return  # reported already, without this look
        self._leaving.remove((camera, run))
        if run.take(look):
            run.grew_s = done_s
        self._end(camera, self._run_exit(run, look))

    def _run_exit(self, run: Run, look: Look) -> RunExit:
        if run.lost_to is not None:
            lost_to, words = run.lost_to
            return RunExit(
                run=run.number,
                at=run.clock.now(),
                cause=lost_to,
                message=words,
                recorded=run.wrote_media,
                open_segment=run.open_segment(look) if run.wrote_media else None,
                line=run.clock.line,
            )
        exit_code = 0 if run.exit_code is None else run.exit_code
        end = RunEnd(
            exit_code=exit_code,
            stderr=run.stderr_tail(),
            wrote_media=run.wrote_media,
            asked_to_stop=run.stop_asked and run.killed is None,
            killed=run.killed,
            disk_hung=run.lost_to_hang,
            waited_s=run.exited_s - run.born_s,
            answer_wait_s=ANSWER_TIMEOUT_S,
        )
        cause = classify(end)
        text = "stopped" if cause is None else message(cause, end)
        return RunExit(
            run=run.number,
            at=run.clock.now(),
            cause=cause,
            message=text,
            recorded=run.wrote_media,
            open_segment=run.open_segment(look),
            line=run.clock.line,
        )

    def _end(self, camera: WatchedCamera, run_exit: RunExit) -> None:
        camera.ended[run_exit.run] = run_exit
        camera.listener.ended(run_exit)

    # Ticks

    def _tick(self) -> None:
        now = self._clock.monotonic()
        if now < self._tick_at_s or not (self._live or self._leaving):
            return
        self._leave_out(now - self._tick_at_s)
        self._tick_at_s = now + TICK_S
        self._ticks += 1
        offset_s = wall_offset_s(self._clock)
        questions: list[Question] = []
        spread = len(self._live) > _AT_ONE_TICK
        for pid, (camera, run) in list(self._live.items()):
            if not run.recording or (pid * spread + self._ticks) % _CHECK_EVERY_TICKS == 0:
                self._loop.guarded(partial(self._check_run, camera, run, now, offset_s))
                if run.asked_s is None:
                    questions.append(self._question(camera, run, now))
            if run.held and not run.holds_back(now):
                self._loop.guarded(partial(self._close_held, camera, run))
        self._looks.ask(questions)
        if self._ticks % _CHECK_EVERY_TICKS == 0:
            self._loop.guarded(partial(self._note_arrivals, now))
        self._looks.tend()
        self._looks.answer()
        for camera, run in list(self._leaving):
            if now - run.exited_s >= self._timeouts.silence_s:
                run.hangs = True
                self._loop.guarded(partial(self._ended, camera, run, Look(exists=None), now))
        for pid in self._wrote_stderr & self._live.keys():
            self._resume_stderr(self._live[pid][1])
        self._wrote_stderr.clear()

    def _leave_out(self, late_s: float) -> None:
        """Do not count a time in which this thread could not run: nobody looked at any file in it."""
        if late_s < _LATE_S:
            return
        log.warning("watching_thread_late", seconds=round(late_s, 3))
        for _, run in [*self._live.values(), *self._leaving]:
            run.postpone(late_s)

    def _question(self, camera: WatchedCamera, run: Run, now: float) -> Question:
        run.asked_s = now
        return Question(
            run.open_file,
            run.wrote_media,
            partial(self._looked, camera, run, run.open_number),
            measure=run.to_be_measured(now),
        )

    def _note_arrivals(self, now: float) -> None:
        waiting = {pid: run for pid, (_, run) in self._live.items() if not run.wrote_media}
        for pid, read_bytes in self._received.of(list(waiting)).items():
            waiting[pid].arrivals.note(read_bytes, now)

    def _looked(
        self, camera: WatchedCamera, run: Run, number: int, look: Look, done_s: float
    ) -> None:
        """Judge a run by a look at its open file."""
        run.asked_s = None
        if run.hangs and run.exit_code is None:
            if run.writes_hang and run.process.waits_for_disk():
                return
            run.hangs = run.writes_hang = False
            # From now on, as if it had just grown: FFmpeg was blocked in a write.
            run.grew_s = done_s
            log.info("disk_answers_again", run=run.number)
        if run.exit_code is not None or number != run.open_number:
            return
        if look.media_ms is not None and run.held_back(look.media_ms, done_s):
            run.overdue_reported = True
            camera.listener.overdue(run.number)
        if run.take(look):
            if run.recording and run.hung_from_s is None:
                camera.usual.add(done_s - run.grew_s)
            self._note_growth(camera, run, done_s)
        elif not run.stop_asked and run.killed is None:
            self._check_stall(camera, run, done_s)

    def _check_run(self, camera: WatchedCamera, run: Run, now: float, offset_s: float) -> None:
        if run.kill_at_s is not None and now >= run.kill_at_s:
            run.kill_at_s = None
            run.process.signal(signal.SIGKILL)
        if not run.hangs and run.asked_s is not None:
            self._check_disk(camera, run, now - run.asked_s)
        if not run.step_reported and (by_s := run.clock.stepped_by_s(offset_s)):
            run.step_reported = True
            camera.listener.clock_stepped(run.number, by_s)
        if not run.sound_reported and (flows := run.sound_flows()) is not None:
            run.sound_reported = True
            camera.listener.sound_judged(run.order, flows=flows)
        if run.stamps.due(run.born_s, now):
            run.stamps.reported = True
            camera.listener.stamps_jumped(run.number, run.stamps.jumped_by_s)

    def _check_disk(self, camera: WatchedCamera, run: Run, waited_s: float) -> None:
        if waited_s >= self._timeouts.silence_s:
            self._disk_hangs(camera, run, waited_s)

    @staticmethod
    def _disk_hangs(camera: WatchedCamera, run: Run, waited_s: float) -> None:
        run.hangs, run.hung_from_s = True, run.grew_s
        # Reported anew when the file grows again.
        run.recording = False
        log.warning("disk_hangs", run=run.number, seconds=round(waited_s, 3))
        camera.listener.disk_hangs(run.number, run.clock.at_monotonic(run.grew_s))

    def _note_growth(self, camera: WatchedCamera, run: Run, at_s: float) -> None:
        run.note_growth(at_s)
        if run.hung_from_s is not None:
            run.hang_ended_s = at_s
        run.hung_from_s = None
        if not run.recording:
            run.recording = True
            run.opened_s = at_s
            run.sound_at_start = run.reader.sound_packets > 0
            camera.listener.recording(run.number, run.clock.at_monotonic(at_s))

    def _check_stall(self, camera: WatchedCamera, run: Run, looked_s: float) -> None:
        if run.wrote_media:
            limit_s = silence_limit_s(self._timeouts.silence_s, camera.usual.seconds)
            killed = Killed.STALLED if looked_s - run.grew_s >= limit_s else None
        else:
            killed = self._patience_ends(camera, run, looked_s)
        if killed is None:
            return
        blocked, run.blocked = run.blocked, run.process.waits_for_disk()
        if run.blocked:
            # Twice in a row: a disk that takes no writes may answer every look.
            if blocked:
                run.blocked, run.writes_hang = False, True
                self._disk_hangs(camera, run, looked_s - run.grew_s)
            return
        run.killed = killed
        camera.listener.stalled(run.number, run.clock.now())
        # A stalled FFmpeg is blocked in a read and does not react to SIGTERM.
        run.process.signal(signal.SIGKILL)

    def _patience_ends(self, camera: WatchedCamera, run: Run, now: float) -> Killed | None:
        """Return why a run that has not recorded yet is killed, None while it may go on."""
        timeouts, arrivals = self._timeouts, run.arrivals
        first_s, last_s = arrivals.first_s, arrivals.last_s
        limit_s = silence_limit_s(timeouts.first_fragment_s, arrivals.usual.seconds)
        # FFmpeg begins no file before it has encoded sound, which may never come.
        held_up_by_sound = run.order.audio == "aac" and not run.file_begun
        silent = first_s is None or last_s is None
        if silent and run.order.patient and arrivals.connected and not held_up_by_sound:
            self._report_waiting(camera, run, run.born_s, now)
            return Killed.NO_KEY_FRAME if now - run.grew_s >= SILENT_WAIT_S else None
        if first_s is None or last_s is None or held_up_by_sound:
            return Killed.NEVER_STARTED if now - run.grew_s >= limit_s else None
        if now - last_s >= limit_s:
            return Killed.STALLED
        if now - run.grew_s >= timeouts.key_frame_s:
            return Killed.NO_KEY_FRAME
        self._report_waiting(camera, run, first_s, now)
        return None

    def _report_waiting(self, camera: WatchedCamera, run: Run, since_s: float, now: float) -> None:
        if now - run.grew_s >= self._timeouts.waiting_s and not run.waiting_reported:
            run.waiting_reported = True
            camera.listener.waiting(run.number, run.clock.at_monotonic(since_s))

    def _resume_stderr(self, run: Run) -> None:
        run.stderr_budget = STDERR_BYTES_A_TICK
        if run.stderr_paused:
            run.stderr_paused = False
            self._loop.register(run.process.stderr, partial(self._read_stderr, run))


class RunHandle:
    """One listener's control over a camera's runs; without effect once another has adopted them."""

    def __init__(self, watcher: RunWatcher, camera_id: UUID, listener: RunListener) -> None:
        self._watcher = watcher
        self._camera_id = camera_id
        self._listener = listener

    def adopt(self) -> None:
        """Take over the camera: every open event of its runs is repeated, then ``adopted``."""
        self._watcher.enqueue(partial(self._watcher.take_over, self._camera_id, self._listener))

    def spawn(self, order: RunOrder) -> None:
        """Start an FFmpeg; ``spawned`` follows, or ``ended`` when it cannot be started."""
        self._enqueue(self._watcher.queue_spawn, order)

    def stop(self, run: int) -> None:
        """End a run in order: SIGTERM, then SIGKILL after a grace time; ``ended`` follows."""
        self._enqueue(self._watcher.stop_run, run)

    def settled(self, run: int, number: int) -> None:
        """A closed segment is stored: its event is not repeated any more."""
        self._enqueue(WatchedCamera.settle, run, number)

    def forget(self, run: int) -> None:
        """An ended run is accounted for: none of its events is repeated any more."""
        self._enqueue(WatchedCamera.forget, run)

    def _enqueue(self, command: Callable[..., None], *args: object) -> None:
        obey = partial(self._watcher.obey, self._camera_id, self._listener)
        self._watcher.enqueue(partial(obey, command, *args))


@dataclass(slots=True)
class WatchedCamera:
    """A camera's runs by number, their ends, and the listener that has adopted them."""

    listener: RunListener
    usual: UsualSilence = field(default_factory=UsualSilence)
    runs: dict[int, Run] = field(default_factory=dict)
    ended: dict[int, RunExit] = field(default_factory=dict)

    def repeat_events(self) -> None:
        """Repeat to the listener every event that is still open, then ``adopted``."""
        for number, run in sorted(self.runs.items()):
            self.listener.spawned(number, run.spawned_at)
            if run.recording:
                self.listener.recording(number, run.clock.now())
            if run.hangs and run.exit_code is None:
                self.listener.disk_hangs(number, run.clock.at_monotonic(run.grew_s))
            # The next tick reports a clock step, held-back pictures, a wait and the sound again: the
            # listener that got the first report has failed.
            run.step_reported = run.overdue_reported = False
            run.waiting_reported = run.sound_reported = False
            run.stamps.reported = False
            for segment in run.pending.values():
                self.listener.segment_closed(segment)
        for _, run_exit in sorted(self.ended.items()):
            self.listener.ended(run_exit)
        self.listener.adopted()

    def settle(self, run: int, number: int) -> None:
        """Drop a stored segment from the events that would be repeated."""
        if (live := self.runs.get(run)) is not None:
            live.pending.pop(number, None)

    def forget(self, run: int) -> None:
        """Drop an ended run."""
        if run in self.ended:
            del self.ended[run]
            self.runs.pop(run, None)


C = TypeVar("C")


class SpawnQueue(Generic[C]):
    """A FIFO queue of orders that wait for the spawn rate; ``C`` identifies a camera."""

    def __init__(self, spawn_rate: TokenBucket) -> None:
        self._spawn_rate = spawn_rate
        self._waiting: deque[tuple[C, RunOrder]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, camera: C, order: RunOrder) -> None:
        """Append an order."""
        self._waiting.append((camera, order))

    def drop_all(self, camera: C) -> None:
        """Drop a camera's orders."""
        self._waiting = deque(item for item in self._waiting if item[0] is not camera)

    def drop(self, camera: C, run: int) -> bool:
        """Drop one order; False if it is not queued."""
        before = len(self._waiting)
        self._waiting = deque(
            item for item in self._waiting if item[0] is not camera or item[1].run != run
        )
        return len(self._waiting) < before

    def clear(self) -> None:
        """Drop all orders."""
        self._waiting.clear()

    def due(self, now: float) -> Iterator[tuple[C, RunOrder]]:
        """Remove and yield, in order, the orders that the spawn rate allows at ``now``."""
        while self._waiting and self._spawn_rate.take(now):
            yield self._waiting.popleft()

    def wait_s(self, now: float) -> float | None:
        """Return the time until one is due, None if the queue is empty."""
        return self._spawn_rate.wait_s(now) if self._waiting else None


class TokenBucket:
    """Allows ``burst`` spawns at once, and one more every ``interval_s`` of the monotonic clock.

    A start costs 0.2 s of a core. Fifty at once would starve each other and all running recorders; spread
    out, each has its first frame sooner.
    """

    def __init__(self, *, interval_s: float, burst: int) -> None:
        if interval_s <= 0 or burst < 1:
            raise ValueError("interval_s must be above 0 and burst at least 1")
        self._interval_s = interval_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s: float | None = None

    def take(self, now: float) -> bool:
        """Take a token; False if there is none."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait_s(self, now: float) -> float:
        """Return the time until ``take`` would succeed."""
        self._refill(now)
        return max(0.0, (1 - self._tokens) * self._interval_s)

    def _refill(self, now: float) -> None:
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at_s) / self._interval_s)
        self._at_s = now
