"""Test harness for one recorder: the real actor; clock, timers and workers moved by hand."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pykka

from streamwarden.actors.gap_meter import GapMeter
from streamwarden.actors.messages import StartRequest, StopRecording, StreamStatus, UpdateStream
from streamwarden.actors.recorder import RecorderActor
from streamwarden.actors.spawning import Backoff, Spawning
from streamwarden.actors.status import RecorderStatus, StatusRegistry
from streamwarden.actors.wanted_streams import WantedStream
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.ffmpeg.stream_tracks import StreamTracks
from streamwarden.mediamtx.path_watch import PathWatch
from streamwarden.model import Cause
from streamwarden.supervision import ChildExited, ChildStarted, Link, Shutdown, tell
from streamwarden.supervision._actor import Exit
from streamwarden.workers import SerialExecutor
from tests.fakes.manual_time import DEADLINE_S, ManualClock, ManualTimers
from tests.fakes.path_states import FakePaths
from tests.fakes.recording import (
    FakeCameraFiles,
    FakeRecordingMetrics,
    FakeTokens,
    FakeWatcher,
    ManualWorkers,
)

CAMERA: Final = UUID("11111111-1111-1111-1111-111111111111")
START_S: Final = 1000.0
URL: Final = "rtsp://media/cam?offered"


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after the harness's clock began."""
    return datetime.fromtimestamp(START_S + seconds, UTC)


def closed(run: int, number: int, start_s: float, end_s: float) -> ClosedSegment:
    return ClosedSegment(run=run, number=number, started_at=at(start_s), ended_at=at(end_s))


def torn(run: int, number: int, start_s: float, end_s: float) -> ClosedSegment:
    return replace(closed(run, number, start_s, end_s), torn=True)


@dataclass(frozen=True, slots=True)
class Sync:
    """Call ``done`` once nothing else is in the inbox."""

    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Crash:
    """Raise in the handler."""


class ControlledRecorder(RecorderActor):
    """The real recorder, which also says when it has nothing left to do, and crashes on demand."""

    def receive(self, message: object) -> object:
        match message:
            case Sync(done):
                assert isinstance(self.actor_inbox, queue.Queue)
                if self.actor_inbox.qsize():
                    tell(self.actor_ref, message)
                else:
                    done()
                return None
            case Crash():
                raise ValueError("scripted")
        return super().receive(message)


class FakeCamera:
    """All that outlives a recorder's incarnations."""

    def __init__(self, clock: ManualClock) -> None:
        self.owner = "otto"
        self.files = FakeCameraFiles()
        self.tokens = FakeTokens()
        self.watcher = FakeWatcher(clock)
        self.tracks: StreamTracks | None = StreamTracks("H264", "MPEG4-GENERIC")
        """What the media server says that the stream holds; None: it does not say."""

    def describe(self, url: str) -> StreamTracks | None:
        """Describe the stream."""
        del url
        return self.tracks


class FakeSurroundings:
    """What every recorder of a test shares."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.timers = ManualTimers()
        self.disk = ManualWorkers()
        self.callers = ManualWorkers()
        self.registry = StatusRegistry(self.clock)
        self.metrics = FakeRecordingMetrics()
        self.server = FakePaths()
        self.paths = PathWatch(self.server, self.clock)
        self.renew_meter()

    def renew_meter(self) -> None:
        """Begin to count as a new process does."""
        self.meter_timers = ManualTimers()
        self.meter = GapMeter(metrics=self.metrics, clock=self.clock, timers=self.meter_timers)

    def arguments(
        self, stream: WantedStream, camera: FakeCamera, request: StartRequest
    ) -> dict[str, Any]:
        """What a recorder is constructed with, but for its link and its restarts."""
        return {
            "stream": stream,
            "request": request,
            "files": camera.files,
            "watcher": camera.watcher,
            "paths": self.paths,
            "spawning": Spawning(
                camera_id=stream.camera_id,
                files=camera.files,
                tokens=camera.tokens,
                clock=self.clock,
                backoff=Backoff(),
                chance=lambda: 1.0,
                describe=camera.describe,
            ),
            "status": RecorderStatus(
                camera_id=stream.camera_id,
                registry=self.registry,
                metrics=self.metrics,
                clock=self.clock,
            ),
            "disk": SerialExecutor(self.disk),
            "callers": self.callers,
            "timers": self.timers,
            "clock": self.clock,
            "metrics": self.metrics,
            "meter": self.meter,
        }


class RecorderHarness(FakeSurroundings):
    """One camera, and one incarnation of its recorder after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = FakeCamera(self.clock)
        self.files, self.watcher = self.camera.files, self.camera.watcher
        self.tokens = self.camera.tokens
        self.exits: list[ChildExited] = []
        self._refs: list[pykka.ActorRef[Any]] = []
        self._changed = threading.Condition()

    # The actor

    def start(self, *, seconds: int = 30, url: str | None = URL, settle: bool = True) -> None:
        """Start the next incarnation."""
        stream = WantedStream(
            camera_id=CAMERA, owner="otto", segment_seconds=seconds, since=self.clock.now()
        )
        request = StartRequest(url=url, asked_s=self.clock.monotonic())
        link = Link(str(CAMERA), len(self._refs) + 1, self._notified)
        arguments = self.arguments(stream, self.camera, request)
        self._refs.append(ControlledRecorder.start(link=link, restarts=0, **arguments))
        if settle:
            self.settle()

    def started(self, *, seconds: int = 30) -> None:
        """Start, and let the first run record."""
        self.start(seconds=seconds)
        self.record(1)

    def _notified(self, notice: ChildStarted | ChildExited) -> None:
        if isinstance(notice, ChildExited):
            with self._changed:
                self.exits.append(notice)
                self._changed.notify_all()

    def settle(self) -> None:
        """Wait until the actor has dealt with everything, or has ended."""
        before, synced = len(self.exits), threading.Event()

        def done() -> None:
            with self._changed:
                synced.set()
                self._changed.notify_all()

        if not tell(self._refs[-1], Sync(done)):
            return
        with self._changed:
            assert self._changed.wait_for(
                lambda: synced.is_set() or len(self.exits) > before, DEADLINE_S
            )

    def tell(self, message: object) -> None:
        tell(self._refs[-1], message)
        self.settle()

    def crash(self) -> None:
        self.tell(Crash())
        self.wait_ended()

    def update(self, *, seconds: int, url: str | None = None) -> None:
        self.tell(UpdateStream(rtsp_url=url, segment_seconds=seconds))

    def shut_down(self) -> None:
        self.tell(Shutdown())

    def unwant(self) -> None:
        """Stop as a user does."""
        tell(self._refs[-1], StopRecording(self.clock.now()))
        self.tell(Shutdown())

    def wait_ended(self) -> ChildExited:
        """Wait for the present incarnation's end."""
        with self._changed:
            incarnations = len(self._refs)
            assert self._changed.wait_for(lambda: len(self.exits) == incarnations, DEADLINE_S)
            return self.exits[-1]

    @property
    def ended(self) -> bool:
        return len(self.exits) == len(self._refs)

    # What happens around it

    def go_to(self, seconds: float) -> None:
        """Move the clock to so many seconds after the beginning."""
        self.clock.move_to(START_S + seconds)

    def record(self, run: int) -> None:
        self.watcher.record(run)
        self.settle()

    def finish(self, run: int, number: int, start_s: float, end_s: float) -> None:
        """FFmpeg finishes a segment, now."""
        self.go_to(end_s)
        self.watcher.finish(run, number, at(start_s), at(end_s))
        self.settle()

    def lose(
        self,
        run: int,
        cause: Cause | None = Cause.SOURCE_OFFLINE,
        *,
        tail: tuple[int, float, float] | None = None,
        recorded: bool = True,
    ) -> None:
        """A run ends, leaving a torn segment (its number, start and end) or none."""
        left = torn(run, *tail) if tail else None
        self.watcher.end(run, cause, open_segment=left, recorded=recorded)
        self.settle()

    def judge(self, run: int, *, flows: bool) -> None:
        """The watcher finds that the sound flows in a run, or not."""
        self.watcher.judge(run, flows=flows)
        self.settle()

    def expire(self, delay_s: float) -> None:
        self.timers.expire(delay_s)
        self.settle()

    # What can be seen

    @property
    def status(self) -> StreamStatus:
        return self.registry.get(CAMERA)

    @property
    def gaps(self) -> list[tuple[float, float | None, str]]:
        """The ledger's gaps in time order: start and end in the harness's seconds, and cause."""
        shown = [gap for gap in self.files.gaps.values() if not gap.retracted]
        rows = [(seconds(gap.started_at), gap.ended_at, gap.cause) for gap in shown]
        return sorted(
            (start, None if end is None else seconds(end), str(cause)) for start, end, cause in rows
        )

    @property
    def state(self) -> str:
        return str(self.status.status)

    @property
    def ways(self) -> list[str]:
        """How each run takes the sound."""
        return [str(order.audio) for order in self.watcher.orders]

    @property
    def spawned(self) -> list[int]:
        return [order.run for order in self.watcher.orders]

    def close(self) -> None:
        for ref in self._refs:
            tell(ref, Exit())
        for ref in self._refs:
            assert ref.actor_stopped.wait(DEADLINE_S)


def seconds(moment: datetime) -> float:
    """Return a moment in the harness's seconds."""
    return moment.timestamp() - START_S
