"""Fakes of what a recorder works with: FFmpeg's watcher, a camera's files, tokens, workers, metrics."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

from streamwarden.clock import Clock, ClockLine, clock_line
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.run import ClosedSegment, RunExit, RunListener
from streamwarden.ffmpeg.watcher import RunHandle, RunWatcher
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause, LastSegment, Segment
from streamwarden.mp4.formats import FormatAtEnd, SetsAtEnd
from streamwarden.recordings.camera_files import CameraFiles, CannotStore, OpenedFolder
from streamwarden.recordings.gap_ledger import GapChange, Ledger
from streamwarden.recordings.segment_store import StoredSegment
from streamwarden.workers import WorkerPool
from tests.fakes.manual_time import DEADLINE_S

T = TypeVar("T")

Piece = Callable[[], None]


class ManualWorkers(WorkerPool):
    """A pool that works in the caller's thread, or holds each piece until the test lets it go."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holding = False
        self._held: deque[Piece] = deque()

    def run(self, work: Callable[[], T], reply: Callable[[T | Exception], None]) -> None:
        def piece() -> None:
            result: T | Exception
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - as a pool does: the answer tells the asker
                result = error
            reply(result)

        with self._changed:
            if self._holding:
                self._held.append(piece)
                self._changed.notify_all()
                return
        piece()

    def hold(self) -> None:
        """From now on nothing is done by itself."""
        with self._changed:
            self._holding = True

    @property
    def waiting(self) -> int:
        with self._changed:
            return len(self._held)

    def wait_held(self) -> None:
        """Wait until a piece is held."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._held), DEADLINE_S)

    def do_next(self) -> None:
        """Do the oldest piece that is held; wait for it if there is none yet."""
        self.wait_held()
        with self._changed:
            piece = self._held.popleft()
        piece()

    def release(self) -> None:
        """Do all that is held, and hold no more."""
        while self.waiting:
            self.do_next()
        with self._changed:
            self._holding = False


@dataclass(slots=True)
class FakeRun:
    """What the watcher keeps of a run until its listener has dealt with it."""

    spawned_at: datetime
    line: ClockLine = field(default_factory=lambda: ClockLine("a boot", 0.0))
    recording: bool = False
    stop_asked: bool = False
    pending: dict[int, ClosedSegment] = field(default_factory=dict)
    run_exit: RunExit | None = None


class FakeWatcher(RunWatcher):
    """Plays the runs of one camera as ``RunWatcher`` does; the test says what FFmpeg does."""

    def __init__(self, clock: Clock) -> None:
        self._now, self._fake_clock = clock.now, clock
        self._lock = threading.RLock()
        self._listener: RunListener | None = None
        self.runs: dict[int, FakeRun] = {}
        self.orders: list[RunOrder] = []
        self.stops: list[int] = []

    def handle(self, camera_id: UUID, listener: RunListener) -> FakeRunHandle:
        return FakeRunHandle(self, camera_id, listener)

    def take_over(self, camera_id: UUID, listener: RunListener) -> None:
        del camera_id
        with self._lock:
            self._listener = listener
            for number, run in sorted(self.runs.items()):
                listener.spawned(number, run.spawned_at)
                if run.recording:
                    listener.recording(number, self._now())
                for segment in run.pending.values():
                    listener.segment_closed(segment)
            for _, run in sorted(self.runs.items()):
                if run.run_exit is not None:
                    listener.ended(run.run_exit)
            listener.adopted()

    @property
    def live(self) -> list[int]:
        """The runs that have not ended."""
        with self._lock:
            return [number for number, run in self.runs.items() if run.run_exit is None]

    # What FFmpeg does

    def record(self, run: int) -> None:
        with self._lock:
            self.runs[run].recording = True
            self._adopted().recording(run, self._now())

    def finish(self, run: int, number: int, started_at: datetime, ended_at: datetime) -> None:
        """List a segment."""
        segment = ClosedSegment(
            run=run,
            number=number,
            started_at=started_at,
            ended_at=ended_at,
            line=self.runs[run].line,
        )
        with self._lock:
            self.runs[run].pending[number] = segment
            self._adopted().segment_closed(segment)

    def stall(self, run: int) -> None:
        with self._lock:
            self._adopted().stalled(run, self._now())

    def wait_for_key_frame(self, run: int, since: datetime) -> None:
        with self._lock:
            self._adopted().waiting(run, since)

    def hang_disk(self, run: int, since: datetime) -> None:
        with self._lock:
            self._adopted().disk_hangs(run, since)

    def step_clock(self, run: int, by_s: float) -> None:
        with self._lock:
            self._adopted().clock_stepped(run, by_s)

    def be_overdue(self, run: int) -> None:
        with self._lock:
            self._adopted().overdue(run)

    def jump(self, run: int, by_s: float) -> None:
        with self._lock:
            self._adopted().stamps_jumped(run, by_s)

    def judge(self, run: int, *, flows: bool) -> None:
        with self._lock:
            order = next(order for order in self.orders if order.run == run)
            self._adopted().sound_judged(order, flows=flows)

    def end(
        self,
        run: int,
        cause: Cause | None,
        *,
        recorded: bool = True,
        open_segment: ClosedSegment | None = None,
    ) -> None:
        with self._lock:
            run_exit = RunExit(
                run=run,
                at=self._now(),
                cause=cause,
                message="scripted",
                recorded=recorded,
                open_segment=open_segment and replace(open_segment, line=self.runs[run].line),
                line=self.runs[run].line,
            )
            self.runs[run].run_exit = run_exit
            self._adopted().ended(run_exit)

    def _adopted(self) -> RunListener:
        assert self._listener is not None
        return self._listener

    # What a handle does

    def carry_out(self, listener: RunListener, command: Callable[[], None]) -> None:
        """Obey the listener that has adopted the camera, and no other."""
        with self._lock:
            if self._listener is listener:
                command()

    def spawn(self, order: RunOrder) -> None:
        self.orders.append(order)
        self.runs[order.run] = FakeRun(self._now(), clock_line(self._fake_clock))
        self._adopted().spawned(order.run, self._now())

    def stop(self, number: int) -> None:
        run = self.runs.get(number)
        if run is not None and run.run_exit is None and not run.stop_asked:
            run.stop_asked = True
            self.stops.append(number)

    def settle(self, run: int, number: int) -> None:
        if run in self.runs:
            self.runs[run].pending.pop(number, None)

    def forget(self, run: int) -> None:
        if run in self.runs and self.runs[run].run_exit is not None:
            del self.runs[run]


class FakeRunHandle(RunHandle):
    """One listener's control over the camera; without effect once another has adopted it."""

    def __init__(self, watcher: FakeWatcher, camera_id: UUID, listener: RunListener) -> None:
        super().__init__(watcher, camera_id, listener)
        self._fake = watcher

    def adopt(self) -> None:
        self._fake.take_over(self._camera_id, self._listener)

    def spawn(self, order: RunOrder) -> None:
        self._fake.carry_out(self._listener, lambda: self._fake.spawn(order))

    def stop(self, run: int) -> None:
        self._fake.carry_out(self._listener, lambda: self._fake.stop(run))

    def settled(self, run: int, number: int) -> None:
        self._fake.carry_out(self._listener, lambda: self._fake.settle(run, number))

    def forget(self, run: int) -> None:
        self._fake.carry_out(self._listener, lambda: self._fake.forget(run))


MEDIA_S = 2.0
MILLISECOND = timedelta(milliseconds=1)
"""How long the media of a fake torn file are."""


class FakeCameraFiles(CameraFiles):
    """One camera's folder in memory. ``refusals`` says which calls fail next, and how."""

    def __init__(self) -> None:
        self.owner = "otto"
        self.refusals: dict[str, deque[Exception]] = defaultdict(deque)
        self.calls: list[tuple[int, int]] = []
        self.rows: dict[tuple[int, int], Segment] = {}
        self.stored_twice: list[tuple[int, int]] = []
        self.sets: dict[tuple[int, int], SetsAtEnd] = {}
        self.silent: set[tuple[int, int]] = set()
        self.unreadable: set[tuple[int, int]] = set()
        """Segments without sound."""
        self.hollow: set[tuple[int, int]] = set()
        self.standing: set[tuple[int, int]] = set()
        """Segments whose time stamps stand still."""
        self.holes: dict[tuple[int, int], str] = {}
        """The times without pictures inside segments, as their rows have them."""
        self.gaps: dict[UUID, GapChange] = {}
        self.ledger = Ledger()
        self.last_run = 0
        self.last: LastSegment | None = None
        self.alive_until: datetime | None = None
        self.rebuilt = False
        self.opened_with: list[set[int]] = []

    def refuse(self, call: str, error: Exception | None = None, *, times: int = 1) -> None:
        refusal = error or CannotStore(Cause.DISK_FULL, "scripted: the disk is full")
        self.refusals[call].extend([refusal] * times)

    def open(self, live_runs: Collection[int]) -> OpenedFolder:
        self._perhaps_refuse("open")
        first_time = not self.opened_with
        self.opened_with.append(set(live_runs))
        return OpenedFolder(
            ledger=self.ledger,
            last_segment=self.last,
            last_run=self.last_run,
            first_time=first_time,
            alive_until=self.alive_until if first_time else None,
            rebuilt=self.rebuilt,
        )

    def read_ledger(self) -> Ledger:
        self._perhaps_refuse("read_ledger")
        return self.ledger

    def next_run(self) -> tuple[Path, int]:
        self._perhaps_refuse("next_run")
        self.last_run += 1
        return Path("/nowhere/.live"), self.last_run

    def publish(self, segment: ClosedSegment) -> StoredSegment | None:
        self._perhaps_refuse("publish")
        name = (segment.run, segment.number)
        self.calls.append(name)
        if name in self.hollow:
            return None
        if name in self.rows:
            self.stored_twice.append(name)
        by_media = segment.ended_at - timedelta(seconds=MEDIA_S)
        began = segment.started_at or by_media
        if segment.torn and segment.number == 0:
            began = max(began, by_media)
        row = Segment(
            id=uuid5(NAMESPACE_OID, f"{name}"),
            camera_id=UUID(int=1),
            owner=self.owner,
            run=segment.run,
            number=segment.number,
            started_at=began,
            ended_at=segment.ended_at,
            media_ms=(segment.ended_at - began) // MILLISECOND,
            size_bytes=1000,
            path=f"{segment.run}-{segment.number}.mp4",
            salvaged=segment.torn,
            holes=self.holes.get(name, ""),
            standing=name in self.standing,
        )
        self.rows[name] = row
        self.last = LastSegment(started_at=began, ended_at=segment.ended_at, size_bytes=1000)
        ends = FormatAtEnd(self.sets.get(name), name not in self.silent)
        return StoredSegment(row, None if name in self.unreadable else ends)

    def write_ledger(self, ledger: Ledger, changes: Sequence[GapChange]) -> None:
        self._perhaps_refuse("write_ledger")
        self.ledger = ledger
        for change in changes:
            self.gaps[change.id] = change

    def _perhaps_refuse(self, call: str) -> None:
        if self.refusals[call]:
            raise self.refusals[call].popleft()


class FakeTokens:
    """An API that signs a URL for each fetch, unless it is told to refuse."""

    def __init__(self) -> None:
        self.fetched = 0
        self.refusals: deque[Exception] = deque()

    def fetch(self, camera_id: UUID) -> str:
        del camera_id
        if self.refusals:
            raise self.refusals.popleft()
        self.fetched += 1
        return f"rtsp://media/cam?fetched={self.fetched}"


class FakeRecordingMetrics(RecordingMetrics):
    """Metrics that remember; ``raises`` fails the next call of that name."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.respawns: list[str] = []
        self.first_segments: list[float] = []
        self.gap_s: dict[str, float] = defaultdict(float)
        self.raises: set[str] = set()

    def state(self, camera: str, state: str) -> None:
        del camera
        self.states.append(state)

    def respawned(self, camera: str, cause: str) -> None:
        del camera
        self._perhaps_raise("respawned")
        self.respawns.append(cause)

    def first_segment(self, seconds: float) -> None:
        self._perhaps_raise("first_segment")
        self.first_segments.append(seconds)

    def gap(self, camera: str, cause: str, seconds: float) -> None:
        del camera
        assert seconds > 0
        self.gap_s[cause] += seconds

    def camera_added(self, camera: str) -> None:
        """Counters at 0 need no memory."""

    def forget(self, camera: str) -> None:
        """Nothing is kept by camera."""

    def _perhaps_raise(self, call: str) -> None:
        if call in self.raises:
            self.raises.remove(call)
            raise RuntimeError(f"scripted: {call}")
