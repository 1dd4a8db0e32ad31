"""Test harness for supervisors: real actors, manual clock and timers, and a trace of all notices."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pykka

from streamwarden.supervision import (
    ChildExited,
    ChildInfo,
    ChildSpec,
    ChildStarted,
    ChildStatus,
    ChildType,
    Link,
    Shutdown,
    SupervisedActor,
    Supervisor,
    SupervisorSpec,
    WhichChildren,
    tell,
)
from streamwarden.supervision._actor import Exit, ExitReason
from tests.fakes.manual_time import (
    DEADLINE_S,
    ManualClock,
    ManualTimers,
    RecordingObserver,
)

ROOT = "root"

Event = tuple[str, ...]
Ref = pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Crash:
    """Raise this in the handler."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Leave:
    """Finish with this reason."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Hold:
    """Be busy in the handler until the gate opens."""

    gate: threading.Event


class Worker(SupervisedActor):
    """A child that does as its script says."""

    def __init__(self, *, link: Link, harness: Harness) -> None:
        super().__init__(link=link)
        self.harness = harness

    def on_start(self) -> None:
        self.harness.threads.append((self.link.child_id, threading.current_thread()))
        super().on_start()

    def init(self) -> None:
        hold = self.harness.holds.get(self.link.child_id)
        if hold is not None:
            self.harness.note(("held", self.link.child_id))
            assert hold.wait(DEADLINE_S)
        if self.harness.failures[self.link.child_id] > 0:
            self.harness.failures[self.link.child_id] -= 1
            raise OSError("scripted")

    def receive(self, message: object) -> object:
        match message:
            case Crash(error):
                raise error
            case Leave(reason):
                self.finish(reason)
            case Hold(gate):
                self.harness.note(("held", self.link.child_id))
                assert gate.wait(DEADLINE_S)
            case _:
                self.harness.note(("got", self.link.child_id, str(message)))
        return message

    def shutting_down(self) -> None:
        self.harness.note(("asked", self.link.child_id))
        if self.link.child_id not in self.harness.lingering:
            super().shutting_down()


class WatchedSupervisor(Supervisor):
    """A supervisor that notes each change of a child."""

    def __init__(self, *, harness: Harness, **fields: Any) -> None:  # noqa: ANN401 - Supervisor's own
        super().__init__(**fields)
        self.harness = harness

    def on_start(self) -> None:
        self.harness.threads.append((self.link.child_id, threading.current_thread()))
        super().on_start()

    def child_changed(self, info: ChildInfo) -> None:
        self.harness.note(("status", info.child_id, info.status, str(info.incarnation)))

    def receive(self, message: object) -> object:
        match message:
            case Crash(error):
                raise error
            case Hold(gate):
                self.harness.note(("held", self.link.child_id))
                assert gate.wait(DEADLINE_S)
                return None
        return super().receive(message)


class Harness:
    """Everything that a test needs, and the end of it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.timers = ManualTimers()
        self.observer = RecordingObserver()
        self.holds: dict[str, threading.Event] = {}
        self.failures: dict[str, int] = defaultdict(int)
        self.lingering: set[str] = set()
        self.refs: dict[str, list[Ref]] = defaultdict(list)
        self.exits: list[ChildExited] = []
        self.threads: list[tuple[str, threading.Thread]] = []
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._announced = 0
        self._delivered = 0

    # What happened

    def note(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def events(self, *kinds: str) -> list[Event]:
        with self._changed:
            return [event for event in self._events if event[0] in kinds]

    def lives(self) -> list[Event]:
        """Return the ups and downs of all actors in the order in which they were announced."""
        return [event[:2] for event in self.events("up", "down")]

    def forget(self) -> None:
        with self._changed:
            self._events.clear()

    def wait(self, *event: str, times: int = 1) -> None:
        """Wait until an event that begins so has been noted so many times."""
        self.wait_until(
            lambda events: sum(e[: len(event)] == event for e in events) >= times, str(event)
        )

    def wait_until(self, true: Callable[[list[Event]], bool], what: str = "") -> None:
        with self._changed:
            reached = self._changed.wait_for(lambda: true(self._events), DEADLINE_S)
            assert reached, f"{what} did not happen: {self._events}"

    def wait_delivered(self, events: int) -> None:
        """Wait for so many ups and downs, and until their notices are in the supervisors' inboxes."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: self._announced >= events and self._announced == self._delivered,
                DEADLINE_S,
            )
            assert reached, f"{events} were expected, {self._events}"

    def link(self, child_id: str, incarnation: int, notify: Callable[[Any], None]) -> Link:
        """Return a link that notes each notice before it is sent."""

        def noted(notice: ChildStarted | ChildExited) -> None:
            with self._changed:
                self._announced += 1
                if isinstance(notice, ChildStarted):
                    self._events.append(("up", child_id))
                else:
                    self.exits.append(notice)
                    self._events.append(("down", child_id, notice.reason.kind))
                self._changed.notify_all()
            notify(notice)
            with self._changed:
                self._delivered += 1
                self._changed.notify_all()

        return Link(child_id, incarnation, noted)

    # Who is there

    def worker(self, child_id: str, **fields: Any) -> ChildSpec:  # noqa: ANN401 - ChildSpec's own fields
        def start(link: Link) -> Ref:
            traced = self.link(link.child_id, link.incarnation, link.notify)
            return self.cast(child_id, Worker.start(link=traced, harness=self))

        return ChildSpec(id=child_id, start=start, **fields)

    def nested(self, child_id: str, spec: SupervisorSpec, **fields: Any) -> ChildSpec:  # noqa: ANN401 - likewise
        def start(link: Link) -> Ref:
            traced = self.link(link.child_id, link.incarnation, link.notify)
            return self.cast(child_id, self._start_supervisor(traced, spec))

        return ChildSpec(id=child_id, start=start, type=ChildType.SUPERVISOR, **fields)

    def supervisor(self, *children: ChildSpec, ready: bool = True, **flags: Any) -> Ref:  # noqa: ANN401 - SupervisorSpec's own
        spec = SupervisorSpec(children=children, **flags)
        link = self.link(ROOT, 1, lambda _: None)
        ref = self.cast(ROOT, self._start_supervisor(link, spec))
        if ready:
            self.wait("up", ROOT)
        return ref

    def _start_supervisor(self, link: Link, spec: SupervisorSpec) -> Ref:
        return WatchedSupervisor.start(
            harness=self,
            link=link,
            spec=spec,
            timers=self.timers,
            clock=self.clock,
            observer=self.observer,
        )

    def cast(self, child_id: str, ref: Ref) -> Ref:
        self.refs[child_id].append(ref)
        return ref

    # What is done to them

    def tell(self, child_id: str, message: object) -> None:
        tell(self.refs[child_id][-1], message)

    def crash(self, child_id: str) -> None:
        self.tell(child_id, Crash(ValueError("scripted")))

    def ask(self, message: object, child_id: str = ROOT) -> Any:  # noqa: ANN401 - as pykka's own ask
        """Ask a supervisor; a future in the answer is waited for."""
        answer = self.refs[child_id][-1].ask(message, timeout=DEADLINE_S)
        return answer.result(DEADLINE_S) if isinstance(answer, Future) else answer

    def begin(self, message: object, child_id: str = ROOT) -> Future[ChildInfo]:
        """Ask a supervisor for something that is answered later."""
        answer = self.refs[child_id][-1].ask(message, timeout=DEADLINE_S)
        assert isinstance(answer, Future)
        return answer

    def children(self, child_id: str = ROOT) -> dict[str, ChildStatus]:
        return {info.child_id: info.status for info in self.ask(WhichChildren(), child_id)}

    def close(self) -> None:
        """End every actor and wait for their threads."""
        for hold in self.holds.values():
            hold.set()
        for ref in [ref for refs in self.refs.values() for ref in refs]:
            tell(ref, Exit())
        for ref in [ref for refs in self.refs.values() for ref in refs]:
            assert ref.actor_stopped.wait(DEADLINE_S)
        self.join()

    def join(self, child_id: str | None = None) -> None:
        """Wait until the threads of actors that have ended are done with everything."""
        for owner, thread in list(self.threads):
            if child_id in {None, owner}:
                thread.join(DEADLINE_S)
                assert not thread.is_alive()


def shut_down(harness: Harness) -> None:
    """Stop the root in order and wait for its end."""
    harness.tell(ROOT, Shutdown())
    harness.wait("down", ROOT)
