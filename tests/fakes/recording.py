"""What a recorder works with, played by a test: FFmpeg's watcher, the disk, tokens, workers."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from streamwarden.actors.messages import End, Finished, LastSegment
from streamwarden.actors.ports import (
    CannotStore,
    FinishedSegment,
    OpenedFolder,
    SpawnOrder,
    StoredSegment,
)
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import GapChange, Ledger
from streamwarden.workers import WorkerPool
from tests.unit.supervision.by_hand import DEADLINE_S

T = TypeVar("T")

Piece = Callable[[], None]


class HandWorkers(WorkerPool):
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


@dataclass(frozen=True, slots=True)
class FakeSegment:
    """A finished segment, as the watcher tells of it."""

    number: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeEnd:
    """A run's end, as the watcher tells of it."""

    at: datetime
    cause: Cause | None
    message: str = "scripted"
    recorded: bool = True
    tail: FakeSegment | None = None


@dataclass(slots=True)
class FakeRun:
    """What the watcher keeps of a run until its holder has dealt with it."""

    spawned_at: datetime
    recording: bool = False
    stop_asked: bool = False
    pending: dict[int, FakeSegment] = field(default_factory=dict)
    end: FakeEnd | None = None


class Listener(Protocol):
    """Who is told about the runs (``RunInbox``, or whatever listens in a test)."""

    def spawned(self, run: int, at: datetime) -> None: ...
    def recording(self, run: int, at: datetime) -> None: ...
    def listed(self, run: int, segment: Finished) -> None: ...
    def stalled(self, run: int, at: datetime) -> None: ...
    def clock_stepped(self, run: int, by_s: float) -> None: ...
    def overdue(self, run: int) -> None: ...
    def ended(self, run: int, end: End) -> None: ...
    def adopted(self) -> None: ...


class FakeWatcher:
    """Plays the runs of one camera as ``RunWatcher`` does; the test says what FFmpeg does."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self.runs: dict[int, FakeRun] = {}
        self.orders: list[SpawnOrder] = []
        self.stops: list[int] = []

    def adopt(self, camera_id: UUID, listener: Listener) -> FakeCameraRuns:
        del camera_id
        with self._lock:
            self._listener = listener
            for number, run in sorted(self.runs.items()):
                listener.spawned(number, run.spawned_at)
                if run.recording:
                    listener.recording(number, self._now())
                for segment in run.pending.values():
                    listener.listed(number, segment)
            for number, run in sorted(self.runs.items()):
                if run.end is not None:
                    listener.ended(number, run.end)
            listener.adopted()
        return FakeCameraRuns(self, listener)

    @property
    def live(self) -> list[int]:
        """The runs that have not ended."""
        with self._lock:
            return [number for number, run in self.runs.items() if run.end is None]

    # What FFmpeg does

    def record(self, run: int) -> None:
        with self._lock:
            self.runs[run].recording = True
            self._told().recording(run, self._now())

    def finish(self, run: int, number: int, started_at: datetime, ended_at: datetime) -> None:
        """List a segment."""
        segment = FakeSegment(number, started_at, ended_at)
        with self._lock:
            self.runs[run].pending[number] = segment
            self._told().listed(run, segment)

    def stall(self, run: int) -> None:
        with self._lock:
            self._told().stalled(run, self._now())

    def step_clock(self, run: int, by_s: float) -> None:
        with self._lock:
            self._told().clock_stepped(run, by_s)

    def be_overdue(self, run: int) -> None:
        with self._lock:
            self._told().overdue(run)

    def end(self, run: int, cause: Cause | None, **fields: object) -> None:
        with self._lock:
            end = FakeEnd(at=self._now(), cause=cause, **fields)  # type: ignore[arg-type]
            self.runs[run].end = end
            self._told().ended(run, end)

    def _told(self) -> Listener:
        assert self._listener is not None
        return self._listener

    # What the holder does

    def carry_out(self, listener: Listener, command: Callable[[], None]) -> None:
        """Obey whoever holds the camera, and nobody else."""
        with self._lock:
            if self._listener is listener:
                command()

    def spawn(self, order: SpawnOrder) -> None:
        self.orders.append(order)
        self.runs[order.run] = FakeRun(self._now())
        self._told().spawned(order.run, self._now())

    def stop(self, number: int) -> None:
        run = self.runs.get(number)
        if run is not None and run.end is None and not run.stop_asked:
            run.stop_asked = True
            self.stops.append(number)

    def settle(self, run: int, number: int) -> None:
        if run in self.runs:
            self.runs[run].pending.pop(number, None)

    def forget(self, run: int) -> None:
        if run in self.runs and self.runs[run].end is not None:
            del self.runs[run]


class FakeCameraRuns:
    """What the holder of the camera may do; powerless once another has adopted it."""

    def __init__(self, watcher: FakeWatcher, listener: Listener) -> None:
        self._watcher = watcher
        self._listener = listener

    def spawn(self, order: SpawnOrder) -> None:
        self._watcher.carry_out(self._listener, lambda: self._watcher.spawn(order))

    def stop(self, run: int) -> None:
        self._watcher.carry_out(self._listener, lambda: self._watcher.stop(run))

    def settled(self, run: int, number: int) -> None:
        self._watcher.carry_out(self._listener, lambda: self._watcher.settle(run, number))

    def forget(self, run: int) -> None:
        self._watcher.carry_out(self._listener, lambda: self._watcher.forget(run))


MEDIA_S = 2.0
"""How long the media of a fake torn file are."""


class FakeArchive:
    """One camera's folder in memory. ``refusals`` says which calls fail next, and how."""

    def __init__(self) -> None:
        self.refusals: dict[str, deque[Exception]] = defaultdict(deque)
        self.calls: list[tuple[int, int]] = []
        self.rows: dict[tuple[int, int], StoredSegment] = {}
        self.stored_twice: list[tuple[int, int]] = []
        self.hollow: set[tuple[int, int]] = set()
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

    def books(self) -> Ledger:
        self._perhaps_refuse("books")
        return self.ledger

    def next_run(self) -> tuple[Path, int]:
        self._perhaps_refuse("next_run")
        self.last_run += 1
        return Path("/nowhere/.live"), self.last_run

    def store(self, segment: FinishedSegment) -> StoredSegment | None:
        self._perhaps_refuse("store")
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
        stored = StoredSegment(started_at=began, ended_at=segment.ended_at, size_bytes=1000)
        self.rows[name] = stored
        self.last = LastSegment(
            started_at=began, ended_at=segment.ended_at, size_bytes=stored.size_bytes
        )
        return stored

    def note(self, ledger: Ledger, changes: Sequence[GapChange]) -> None:
        self._perhaps_refuse("note")
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


class FakeInstruments:
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
