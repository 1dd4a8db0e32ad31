"""The one thread that spawns every FFmpeg and watches all of them.

It never ends while streamwarden runs: the kernel's parent-death signal follows the *thread* that
spawned a child, so a child spawned by a thread that ends would be killed with it. One selector holds a
pidfd and two pipes per run. What happens is told to whoever has adopted the camera; what nobody has
yet dealt with is kept and told again to the next one (``docs/design/0003-a-run.md``).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, Final
from uuid import UUID

import structlog

from streamwarden.causes import Cause
from streamwarden.clock import Clock
from streamwarden.media.causes import Killed, RunEnd, classify, message
from streamwarden.media.command import ANSWER_TIMEOUT_S, ENVIRONMENT, RunOrder, recording_argv
from streamwarden.media.holding import CameraBook, CameraRuns
from streamwarden.media.pacing import Pacer
from streamwarden.media.run import STDERR_BYTES_A_TICK, Ended, Run, RunClock, RunListener, read_pipe
from streamwarden.media.segment_list import SegmentListReader
from streamwarden.media.usage import cpu_seconds, resident_bytes

log = structlog.get_logger(__name__)

TICK_S: Final = 0.25
_LOOK_EVERY_TICKS: Final = 4
"""A run that records is looked at once a second, one that does not yet at every tick."""
_DRAIN_READS: Final = 16
_STOP_GRACE_S: Final = 4.0
"""FFmpeg closes its file within 0.4 s of SIGTERM; one that waits for a dead source never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a run may be silent: before its first fragment, and after."""

    start_s: float = 25.0
    stall_s: float = 8.0


class RunWatcher:
    """Spawns and watches every run. All public methods may be called from any thread."""

    def __init__(
        self,
        *,
        ffmpeg: str,
        clock: Clock,
        pacer: Pacer,
        patience: Patience | None = None,
        argv: Callable[[str, RunOrder], list[str]] = recording_argv,
    ) -> None:
        self._ffmpeg = ffmpeg
        self._clock = clock
        self._pacer = pacer
        self._patience = patience or Patience()
        self._argv = argv
        self._cameras: dict[UUID, CameraBook] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._spawns: deque[tuple[UUID, RunOrder]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._live: dict[int, tuple[CameraBook, Run]] = {}
        self._cpu_s_of_ended = 0.0
        self._ticks = 0
        self._tick_at_s = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="run-watcher", daemon=True)
        self._thread.start()

    # Any thread

    def adopt(self, camera_id: UUID, listener: RunListener) -> CameraRuns:
        """Take over a camera: all that is known of its runs is told, then ``adopted``."""
        self.enqueue(lambda: self._adopt(camera_id, listener))
        return CameraRuns(self, camera_id, listener)

    def stop_camera(self, camera_id: UUID) -> None:
        """End all runs of a camera whose actor is parked."""
        self.enqueue(lambda: self._stop_camera(camera_id))

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the watching thread."""
        self._commands.append(command)
        os.eventfd_write(self._wake, 1)

    def usage(self) -> tuple[float, int]:
        """Return the CPU seconds of all runs, ended ones included, and the live ones' memory."""
        live = list(self._live)
        cpu_s = self._cpu_s_of_ended + sum(cpu_seconds(pid) for pid in live)
        return cpu_s, sum(resident_bytes(pid) for pid in live)

    def close(self, deadline_s: float) -> None:
        """Kill what still runs, and end the thread."""
        self.enqueue(self._begin_close)
        self._thread.join(deadline_s)

    # The watching thread

    def held(self, camera_id: UUID, listener: RunListener) -> CameraBook | None:
        """Return the camera if ``listener`` is still the one who holds it."""
        camera = self._cameras.get(camera_id)
        return camera if camera is not None and camera.listener is listener else None

    def _adopt(self, camera_id: UUID, listener: RunListener) -> None:
        camera = self._cameras.get(camera_id)
        if camera is None:
            camera = self._cameras[camera_id] = CameraBook(listener)
        # What has not begun dies with its former holder: the new one decides for itself.
        self._drop_queued(camera_id)
        camera.listener = listener
        camera.tell_all()

    def _stop_camera(self, camera_id: UUID) -> None:
        if (camera := self._cameras.get(camera_id)) is not None:
            self._drop_queued(camera_id)
            for number in list(camera.runs):
                self.stop_run(camera, number)

    def _drop_queued(self, camera_id: UUID) -> None:
        self._spawns = deque(item for item in self._spawns if item[0] != camera_id)

    def queue_spawn(self, camera_id: UUID, order: RunOrder) -> None:
        """Spawn as soon as the pace allows."""
        self._spawns.append((camera_id, order))

    def stop_run(self, camera: CameraBook, number: int) -> None:
        """Ask a run to end; one that is still queued never begins."""
        for item in list(self._spawns):
            if self._cameras.get(item[0]) is camera and item[1].run == number:
                self._spawns.remove(item)
                self._end(camera, number, self._not_run(None, "stopped before it was spawned"))
                return
        run = camera.runs.get(number)
        if run is None or number in camera.ended or run.stop_asked:
            return
        run.stop_asked = True
        if run.killed is None:
            run.signal(signal.SIGTERM)
            run.kill_at_s = self._clock.monotonic() + _STOP_GRACE_S

    def _loop(self) -> None:
        while not (self._closing and not self._live):
            try:
                for key, _ in self._selector.select(self._wait_s()):
                    self._guarded(key.data)
                self._guarded(self._tick)
                self._guarded(self._spawn_due)
            except Exception:
                # Whatever happens to one run, the thread that all of them hang on goes on.
                log.exception("run_watcher_failed")
        self._selector.close()
        os.close(self._wake)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            log.exception("run_watcher_step_failed")

    def _wait_s(self) -> float | None:
        if not self._live and not self._spawns:
            return None
        now = self._clock.monotonic()
        wait_s = self._tick_at_s - now if self._live else TICK_S
        if self._spawns:
            wait_s = min(wait_s, self._pacer.wait_s(now))
        return max(0.0, wait_s)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        while self._commands:
            self._guarded(self._commands.popleft())

    def _begin_close(self) -> None:
        self._closing = True
        self._spawns.clear()
        for _, run in self._live.values():
            run.stop_asked = True
            run.signal(signal.SIGKILL)

    # Spawning

    def _spawn_due(self) -> None:
        while self._spawns and self._pacer.take(self._clock.monotonic()):
            camera_id, order = self._spawns.popleft()
            if (camera := self._cameras.get(camera_id)) is not None and not self._closing:
                self._spawn(camera, order)

    def _spawn(self, camera: CameraBook, order: RunOrder) -> None:
        if not os.access(self._ffmpeg, os.X_OK):
            text = "the FFmpeg program cannot be executed"
            self._end(camera, order.run, self._not_run(Cause.FFMPEG_MISSING, text))
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
                self._argv(self._ffmpeg, order),
                cwd=order.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            cause = Cause.NOT_WRITABLE if not order.folder.is_dir() else Cause.INTERNAL
            text = f"FFmpeg was not spawned: {error.strerror}"
            self._end(camera, order.run, self._not_run(cause, text))
            return
        self._watch(camera, order, process)

    def _watch(self, camera: CameraBook, order: RunOrder, process: subprocess.Popen[bytes]) -> None:
        now = self._clock.monotonic()
        run = Run(
            order=order,
            process=process,
            pidfd=os.pidfd_open(process.pid),
            clock=RunClock(self._clock),
            reader=SegmentListReader(order.run),
            born_s=now,
            grew_s=now,
        )
        camera.runs[order.run] = run
        if not self._live:
            self._tick_at_s = now + TICK_S
        self._live[process.pid] = (camera, run)
        for pipe, read in zip(
            run.pipes(),
            (partial(self._read_list, camera, run), partial(self._read_stderr, run)),
            strict=True,
        ):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, read)
        self._selector.register(run.pidfd, selectors.EVENT_READ, partial(self._exited, camera, run))
        camera.listener.spawned(order.run, run.spawned_at)

    def _not_run(self, cause: Cause | None, text: str) -> Ended:
        return Ended(self._clock.now(), cause, text, recorded=False, tail=None)

    # What a run does

    def _read_list(self, camera: CameraBook, run: Run) -> None:
        chunk = read_pipe(run.process.stdout)
        if chunk == b"":
            self._unregister(run.process.stdout)
        self._take_list(camera, run, chunk or b"")

    def _take_list(self, camera: CameraBook, run: Run, chunk: bytes) -> None:
        for segment in run.reader.feed(chunk):
            listed = run.take(segment)
            self._note_growth(camera, run)
            camera.listener.listed(run.number, listed)

    def _read_stderr(self, run: Run) -> None:
        chunk = read_pipe(run.process.stderr)
        run.note_stderr(chunk or b"")
        if chunk == b"" or run.stderr_budget < 0:
            # A flood is left in its pipe until the next tick: it slows its own FFmpeg, not the others.
            self._unregister(run.process.stderr)
            run.stderr_paused = chunk != b""

    def _unregister(self, pipe: IO[bytes] | None) -> None:
        if pipe is not None and pipe in self._selector.get_map():
            self._selector.unregister(pipe)

    def _exited(self, camera: CameraBook, run: Run) -> None:
        # Not yet reaped: its times can still be read.
        self._cpu_s_of_ended += cpu_seconds(run.process.pid)
        run.process.wait()
        self._drain(camera, run)
        self._release(run)
        end = self._judge(run)
        self._end(camera, run.number, end)

    def _drain(self, camera: CameraBook, run: Run) -> None:
        while chunk := read_pipe(run.process.stdout):
            self._take_list(camera, run, chunk)
        for _ in range(_DRAIN_READS):
            run.note_stderr(read_pipe(run.process.stderr) or b"")

    def _release(self, run: Run) -> None:
        for pipe in run.pipes():
            self._unregister(pipe)
            pipe.close()
        self._selector.unregister(run.pidfd)
        os.close(run.pidfd)
        del self._live[run.process.pid]

    def _judge(self, run: Run) -> Ended:
        run.grown()
        end = RunEnd(
            exit_code=run.process.returncode,
            stderr=run.stderr_tail(),
            wrote_media=run.wrote_media,
            asked_to_stop=run.stop_asked and run.killed is None,
            killed=run.killed,
            waited_s=self._clock.monotonic() - run.born_s,
            answer_wait_s=ANSWER_TIMEOUT_S,
        )
        cause = classify(end)
        text = "stopped" if cause is None else message(cause, end)
        return Ended(run.clock.now(), cause, text, recorded=run.wrote_media, tail=run.tail())

    def _end(self, camera: CameraBook, number: int, end: Ended) -> None:
        camera.ended[number] = end
        camera.listener.ended(number, end)

    # Looking at all of them

    def _tick(self) -> None:
        now = self._clock.monotonic()
        if now < self._tick_at_s:
            return
        self._tick_at_s = now + TICK_S
        self._ticks += 1
        for pid, (camera, run) in list(self._live.items()):
            if not run.recording or (pid + self._ticks) % _LOOK_EVERY_TICKS == 0:
                self._guarded(partial(self._look, camera, run, now))
            self._resume_stderr(run)

    def _look(self, camera: CameraBook, run: Run, now: float) -> None:
        if run.kill_at_s is not None and now >= run.kill_at_s:
            run.kill_at_s = None
            run.signal(signal.SIGKILL)
        if run.grown():
            self._note_growth(camera, run)
        elif not run.stop_asked and run.killed is None:
            self._judge_silence(camera, run, now)
        if not run.step_told and (by_s := run.clock.stepped_by_s()):
            run.step_told = True
            camera.listener.clock_stepped(run.number, by_s)

    def _note_growth(self, camera: CameraBook, run: Run) -> None:
        run.grew_s = self._clock.monotonic()
        if not run.recording:
            run.recording = True
            camera.listener.recording(run.number, run.clock.now())

    def _judge_silence(self, camera: CameraBook, run: Run, now: float) -> None:
        patience_s = self._patience.stall_s if run.wrote_media else self._patience.start_s
        if now - run.grew_s < patience_s:
            return
        run.killed = Killed.STALLED if run.wrote_media else Killed.NEVER_STARTED
        camera.listener.stalled(run.number, run.clock.now())
        # A stalled FFmpeg does not heed SIGTERM: it waits in a read.
        run.signal(signal.SIGKILL)

    def _resume_stderr(self, run: Run) -> None:
        run.stderr_budget = STDERR_BYTES_A_TICK
        stderr = run.process.stderr
        if run.stderr_paused and stderr is not None:
            run.stderr_paused = False
            self._selector.register(stderr, selectors.EVENT_READ, partial(self._read_stderr, run))
