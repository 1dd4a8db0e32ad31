"""Test harness for the stream manager: real actors under a real root; clock, timers and workers by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pykka

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.messages import DesiredState, ReconcileDue, StartRequest, StartStream
from streamwarden.actors.recorder import RecorderActor
from streamwarden.actors.recorders import Recorders
from streamwarden.actors.stream_manager import StreamManager
from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from streamwarden.model import DesiredStream
from streamwarden.supervision import (
    INFINITY,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildType,
    Intensity,
    Link,
    Shutdown,
    Supervisor,
    SupervisorSpec,
    tell,
)
from streamwarden.supervision._actor import Exit
from tests.fakes.manual_time import DEADLINE_S, RecordingObserver
from tests.unit.actors.recorder_harness import URL, Crash, FakeCamera, FakeSurroundings, at

Ref = pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Sync:
    """Answered when all that was told before has been handled."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Be busy until the gate opens."""

    gate: threading.Event


class Controlled:
    """Counts what an actor handles, and fails or waits on demand."""

    harness: ManagerHarness

    def on_receive(self, message: object) -> object:
        match message:
            case Sync():
                return None
            case Crash():
                raise ValueError("scripted")
            case Hold(gate):
                assert gate.wait(DEADLINE_S)
                return None
        self.harness.handled()
        return super().on_receive(message)  # type: ignore[misc]


class ControlledRecorder(Controlled, RecorderActor):
    def __init__(self, *, harness: ManagerHarness, **fields: Any) -> None:  # noqa: ANN401 - RecorderActor's own
        super().__init__(**fields)
        self.harness = harness

    def init(self) -> None:
        if self.harness.recorders_fail:
            raise ValueError("scripted")
        super().init()


class ControlledManager(Controlled, StreamManager):
    def __init__(self, *, harness: ManagerHarness, **fields: Any) -> None:  # noqa: ANN401 - StreamManager's own
        super().__init__(**fields)
        self.harness = harness


class ControlledRecorders(Recorders):
    """Starts controlled recorders, and remembers which cameras were parked, released and forgotten."""

    def __init__(self, harness: ManagerHarness) -> None:
        self._harness = harness

    def start(
        self, link: Link, stream: WantedStream, request: StartRequest, *, restarts: int
    ) -> Ref:
        return self._harness.start_recorder(link, stream, request, restarts=restarts)

    def park(self, camera_id: UUID, owner: str) -> None:
        self._harness.parked.append((camera_id, owner))

    def release(self, camera_id: UUID, owner: str, at: datetime) -> None:
        self._harness.released.append((camera_id, owner, at))

    def forget(self, camera_id: UUID) -> None:
        self._harness.forgotten.append(camera_id)

    def read_desired(self) -> DesiredState:
        return self._harness.read_desired()


class InMemoryWantedStreams(WantedStreams):
    """Wanted streams that are kept in memory; a second one goes on from the first."""

    def __init__(self, before: WantedStreams | None = None) -> None:
        self._lock = threading.Lock()
        self._saved = True
        self._streams = {} if before is None else dict(before.all())

    def _write(self) -> None:
        """Memory is all there is."""


class ManagerHarness(FakeSurroundings):
    """The tree from the root down, and what HTTP and the database would do to it."""

    def __init__(self, *, before: WantedStreams | None = None) -> None:
        super().__init__()
        self.cameras: dict[UUID, FakeCamera] = {}
        self.rows: dict[UUID, DesiredStream] = {}
        self.segment_seconds = 30
        self.database_away = False
        self.recorders_fail = False
        self.parked: list[tuple[UUID, str]] = []
        self.forgotten: list[UUID] = []
        self.gone: frozenset[UUID] = frozenset()
        self.released: list[tuple[UUID, str, datetime]] = []
        self.watcher = RecordingObserver()
        self.wanted = InMemoryWantedStreams(before)
        self.refs: dict[str, list[Ref]] = {}
        self._exits: dict[str, threading.Event] = {}
        self._lock = threading.Condition()
        self._handled = 0
        self._down = threading.Event()
        self.gateway = StreamGateway(manager=self.manager, registry=self.registry)
        self.root: Ref = Supervisor.start(
            link=Link("root", 1, self._root_told),
            spec=SupervisorSpec(
                limit=Intensity(intensity=5, period_s=60.0),
                children=(
                    ChildSpec(
                        id="manager",
                        start=self._start_manager,
                        shutdown_s=INFINITY,
                        type=ChildType.SUPERVISOR,
                    ),
                ),
            ),
            timers=self.timers,
            clock=self.clock,
            observer=self.watcher,
        )
        self.settle()

    # The tree

    def _start_manager(self, link: Link) -> Ref:
        return self._cast(
            "manager",
            link,
            lambda traced: ControlledManager.start(
                harness=self,
                link=traced,
                recorders=ControlledRecorders(self),
                wanted=self.wanted,
                registry=self.registry,
                callers=self.callers,
                timers=self.timers,
                clock=self.clock,
                observer=self.watcher,
                shutdown_s=8.0,
            ),
        )

    def start_recorder(
        self, link: Link, stream: WantedStream, request: StartRequest, *, restarts: int
    ) -> Ref:
        camera = self.camera(stream.camera_id, stream.owner)
        arguments = self.arguments(stream, camera, request)
        return self._cast(
            str(stream.camera_id),
            link,
            lambda traced: ControlledRecorder.start(
                harness=self, link=traced, restarts=restarts, **arguments
            ),
        )

    def _cast(self, name: str, link: Link, start: Callable[[Link], Ref]) -> Ref:
        """Start an incarnation whose exit notice is noted once it is in its supervisor's inbox."""
        exited = threading.Event()

        def notify(notice: ChildStarted | ChildExited) -> None:
            link.notify(notice)
            if isinstance(notice, ChildExited):
                self.handled()
                exited.set()

        ref = start(Link(link.child_id, link.incarnation, notify))
        with self._lock:
            self._exits[ref.actor_urn] = exited
            self.refs.setdefault(name, []).append(ref)
            self._lock.notify_all()
        return ref

    def _root_told(self, notice: ChildStarted | ChildExited) -> None:
        if isinstance(notice, ChildExited):
            self._down.set()

    def read_desired(self) -> DesiredState:
        if self.database_away:
            raise OSError("scripted")
        return DesiredState(tuple(self.rows.values()), self.segment_seconds, self.gone)

    def camera(self, camera_id: UUID, owner: str = "otto") -> FakeCamera:
        """Return what lies beneath a camera's recorders; each owner's folder is another one."""
        known = self.cameras.get(camera_id)
        if known is None or known.owner != owner:
            known = self.cameras[camera_id] = FakeCamera(self.clock)
            known.owner = owner
        return known

    def manager(self) -> Ref:
        return self.refs["manager"][-1]

    def recorder(self, camera_id: UUID) -> Ref:
        return self.refs[str(camera_id)][-1]

    def wait_cast(self, name: str, incarnations: int) -> None:
        """Wait until so many incarnations of a child have been started."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.refs[name]) >= incarnations, DEADLINE_S)

    # Quiet

    def handled(self) -> None:
        with self._lock:
            self._handled += 1

    def settle(self) -> None:
        """Wait until no actor has anything left to do."""
        before: tuple[int, int] | None = None
        while before != (now := (self._handled, len(self._everyone()))):
            before = now
            for ref in self._everyone():
                self._sync(ref)

    def _everyone(self) -> list[Ref]:
        return [self.root, *(ref for refs in list(self.refs.values()) for ref in refs)]

    def _sync(self, ref: Ref) -> None:
        try:
            ref.ask(Sync(), timeout=DEADLINE_S)
        except TypeError:
            # The root takes no Sync, but in turn.
            return
        except pykka.ActorDeadError:
            # It has nothing left to do once its notice is out.
            if ref is not self.root:
                assert self._exits[ref.actor_urn].wait(DEADLINE_S)

    # What is done to them

    def start(self, camera_id: UUID, *, owner: str = "otto", seconds: int = 30) -> None:
        self.gateway.start(
            StartStream(camera_id=camera_id, owner=owner, rtsp_url=URL, segment_seconds=seconds)
        )
        self.settle()

    def recording(self, camera_id: UUID, *, owner: str = "otto") -> None:
        self.start(camera_id, owner=owner)
        self.camera(camera_id, owner).watcher.record(1)
        self.settle()

    def stop(self, camera_id: UUID) -> None:
        self.gateway.stop(camera_id)
        self.settle()

    def end_runs(self, camera_id: UUID) -> None:
        """FFmpeg has done as it was asked."""
        watcher = self.cameras[camera_id].watcher
        for run in watcher.live:
            watcher.end(run, None)
        self.settle()

    def row(
        self, camera_id: UUID, *, wanted: bool, owner: str = "otto", changed_s: float = 0
    ) -> None:
        self.rows[camera_id] = DesiredStream(
            camera_id=camera_id,
            owner=owner,
            path="path",
            wanted=wanted,
            epoch=1,
            requested_by=owner,
            changed_at=at(changed_s),
        )

    def reconcile(self) -> None:
        tell(self.manager(), ReconcileDue())
        self.settle()

    def crash(self, ref: Ref) -> None:
        tell(ref, Crash())
        self.settle()

    def state(self, camera_id: UUID) -> str:
        return str(self.registry.get(camera_id).status)

    def shut_down(self) -> None:
        tell(self.root, Shutdown())

    def wait_down(self) -> None:
        assert self._down.wait(DEADLINE_S)

    def close(self) -> None:
        tell(self.root, Exit())
        for ref in self._everyone():
            tell(ref, Exit())
            assert ref.actor_stopped.wait(DEADLINE_S)
