"""The supervisor: OTP's calls over children that are kept up.

Semantics are those of Erlang/OTP's ``supervisor``; deviations are listed in
``docs/design/0001-two-loops.md`` and ``docs/design/0002-exit-notices.md``.


The part of a supervisor that keeps its children up: notices, restarts, ordered stop and start.

It never blocks: a start is over when the child says so, a stop when its exit notice or its deadline
comes. One ordered operation is carried through before another begins; what ends meanwhile is noted at
once and restarted afterwards, and what is asked for meanwhile is started afterwards, as if both had
waited in the mailbox of an OTP supervisor.


The order in which children are stopped and started.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from streamwarden.clock import Clock
from streamwarden.supervision._actor import Link, SupervisedActor, tell
from streamwarden.supervision._children import Child, Children, HookFailed, RetryParked, StopExpired
from streamwarden.supervision._messages import (
    SHUTDOWN,
    ChildExited,
    ChildInfo,
    ChildStarted,
    ChildStatus,
    CountChildren,
    DeleteChild,
    Exit,
    ExitKind,
    ExitReason,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from streamwarden.supervision._spec import (
    ChildSpec,
    InvalidSpec,
    Observer,
    Restart,
    RestartLog,
    Scheduler,
    Strategy,
    SupervisorSpec,
    check_spec,
)


class Purpose(Enum):
    """Why children are stopped and started in order."""

    INITIAL = auto()
    RESTART = auto()
    FINAL = auto()


@dataclass(slots=True)
class Operation:
    """Children to stop, then children to start, one after the other; both lists are consumed."""

    purpose: Purpose
    to_stop: list[str]
    to_start: list[str]

    def leave_out(self, child_id: str) -> None:
        """Do not start this child: it has been told to stop by hand."""
        if child_id in self.to_start:
            self.to_start.remove(child_id)


def affected_by(strategy: Strategy, order: Sequence[str], failed: str) -> list[str]:
    """Return the children that a restart of ``failed`` concerns, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(order)
        case Strategy.REST_FOR_ONE:
            return list(order[order.index(failed) :])


def restart_operation(strategy: Strategy, specs: Iterable[ChildSpec], failed: str) -> Operation:
    """Return the operation that restarts ``failed`` among ``specs``, which are in start order.

    OTP: stopped from right to left, started from left to right. Temporary children are stopped and
    not started again; all others are started, also those that had ended before.
    """
    by_id = {spec.id: spec for spec in specs}
    affected = affected_by(strategy, list(by_id), failed)
    return Operation(
        Purpose.RESTART,
        to_stop=[id_ for id_ in reversed(affected) if id_ != failed],
        to_start=[id_ for id_ in affected if by_id[id_].restart is not Restart.TEMPORARY],
    )


log = structlog.get_logger(__name__)


class RestartingActor(SupervisedActor):
    """Starts its children from left to right, stops them from right to left, restarts those that end."""

    def __init__(
        self,
        *,
        link: Link,
        spec: SupervisorSpec,
        timers: Scheduler,
        clock: Clock,
        observer: Observer,
    ) -> None:
        super().__init__(link=link)
        self._spec = spec
        self._clock = clock
        self._observer = observer
        self._children = Children(
            limit=spec.limit, timers=timers, notify=self._tell_self, changed=self.child_changed
        )
        self._log = RestartLog(spec.limit)
        self._operation: Operation | None = None
        # Children that ended, and children that were asked for, while an operation was under way.
        self._due: list[str] = []
        self._asked: list[str] = []
        self._final_reason = SHUTDOWN

    def child_changed(self, info: ChildInfo) -> None:
        """Called after a child's status has changed; for subclasses. Raising ends the supervisor."""

    # The actor's life

    def init(self) -> None:
        """Begin to start the static children; ``started`` waits for the last of them."""
        for spec in self._spec.children:
            self._children.add(spec)
        self._operation = Operation(Purpose.INITIAL, [], [spec.id for spec in self._spec.children])

    def started(self) -> None:
        """Announce this supervisor once its static children are up."""
        self._advance()

    def shutting_down(self) -> None:
        """Stop all children from right to left, then end."""
        self._stop_all(SHUTDOWN)

    def terminate(self, reason: ExitReason) -> None:
        """Leave no child behind: those still alive lose their supervisor and end."""
        del reason
        for child in self._children:
            if child.ref is not None:
                tell(child.ref, Exit())
        for child in self._children:
            child.cancel_timer()
            child.fail_starters("the supervisor has ended")
            child.fail_stoppers("the supervisor has ended")
        for child in self._children:
            self._unpark(child)

    def receive(self, message: object) -> object:
        """Handle the notices of children and timers."""
        match message:
            case ChildStarted():
                self._child_started(message)
            case ChildExited():
                self._child_exited(message)
            case StopExpired():
                self._stop_expired(message)
            case RetryParked():
                self._retry_parked(message)
            case HookFailed(error):
                raise error
            case _:
                return super().receive(message)
        return None

    # Notices

    def _child_started(self, notice: ChildStarted) -> None:
        child = self._children.current(notice.child_id, notice.incarnation)
        if child is None or child.status is not ChildStatus.STARTING:
            return
        child.fresh = False
        self._children.set(child, ChildStatus.RUNNING)
        child.answer_starters()
        self._advance()

    def _stop_expired(self, expired: StopExpired) -> None:
        child = self._children.current(expired.child_id, expired.incarnation)
        if child is None:
            return
        log.error("child_abandoned", child=child.spec.id, after_s=child.spec.shutdown_within_s)
        if child.ref is not None:
            tell(child.ref, Exit())
        self._observer.abandoned(child.spec.id)
        self._child_exited(ChildExited(child.spec.id, child.incarnation, SHUTDOWN))

    def _child_exited(self, notice: ChildExited) -> None:
        child = self._children.current(notice.child_id, notice.incarnation)
        if child is None:
            return
        if notice.reason.abnormal:
            log.error(
                "child_failed",
                child=child.spec.id,
                incarnation=child.incarnation,
                kind=notice.reason.kind,
                error=notice.reason.error,
            )
        before = child.status
        self._children.ended(child)
        if before is ChildStatus.STOPPING or self._to_be_stopped(child):
            self._stopped(child)
        elif before is ChildStatus.STARTING:
            self._start_failed(child, notice.reason)
        else:
            self._ended_by_itself(child, notice.reason)
        self._advance()

    def _to_be_stopped(self, child: Child) -> bool:
        return self._operation is not None and child.spec.id in self._operation.to_stop

    def _to_be_started(self, child: Child) -> bool:
        return self._operation is not None and child.spec.id in self._operation.to_start

    def _stopped(self, child: Child) -> None:
        child.answer_stoppers()
        if not self._to_be_started(child):
            child.fail_starters(f"{child.spec.id} was stopped before it had started")
        if child.spec.restart is Restart.TEMPORARY:
            self._children.remove(child)

    def _start_failed(self, child: Child, reason: ExitReason) -> None:
        error = reason.error or f"it ended while starting: {reason.kind}"
        by_hand = bool(child.starters) and self._spec.parking is None
        child.fail_starters(f"{child.spec.id} did not start: {error}")
        if self._operation is not None and self._to_be_started(child):
            if self._operation.purpose is Purpose.INITIAL:
                # OTP: what was started is rolled back, and the supervisor's own start has failed.
                self._stop_all(ExitReason(ExitKind.START_FAILED, error))
            else:
                # OTP: tried again from this child on, as one more restart.
                self._operation = None
                self._restart(child)
        elif child.spec.restart is Restart.TEMPORARY or (by_hand and child.fresh):
            # OTP: start_child keeps nothing of a child that never ran.
            self._children.remove(child)
        elif not by_hand:
            self._restart(child)

    def _ended_by_itself(self, child: Child, reason: ExitReason) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._children.remove(child)
        elif child.spec.restart is Restart.PERMANENT or reason.abnormal:
            self._due.append(child.spec.id)

    # Restarting

    def _restart(self, child: Child) -> None:
        if self._intensity_exceeded(child):
            self._give_up(child)
            return
        child.restarts += 1
        self._observer.restarted(child.spec.id)
        if self._spec.strategy is Strategy.ONE_FOR_ONE:
            self._children.start(child)
            return
        specs = [sibling.spec for sibling in self._children]
        self._operation = restart_operation(self._spec.strategy, specs, child.spec.id)

    def _intensity_exceeded(self, child: Child) -> bool:
        now = self._clock.monotonic()
        if self._spec.parking is not None:
            child.log = child.log.add(now)
            return child.log.exceeded
        self._log = self._log.add(now)
        return self._log.exceeded

    def _give_up(self, child: Child) -> None:
        if self._spec.parking is None:
            text = f"{child.spec.id} ended too often: {self._spec.limit}"
            log.error("supervisor_gives_up", supervisor=self.link.child_id, detail=text)
            self._stop_all(ExitReason(ExitKind.FAILED, text))
            return
        self._children.set(child, ChildStatus.PARKED)
        self._observer.parked(child.spec.id, parked=True)
        retry = RetryParked(child.spec.id, child.incarnation)
        child.timer = self._children.later(self._spec.parking.retry_after_s, retry)

    def _retry_parked(self, retry: RetryParked) -> None:
        child = self._children.get(retry.child_id)
        if child is None or child.incarnation != retry.incarnation:
            return
        if child.status is ChildStatus.PARKED:
            self._unpark(child)
            self._children.start(child)

    def _unpark(self, child: Child) -> None:
        if child.status is ChildStatus.PARKED:
            child.cancel_timer()
            self._observer.parked(child.spec.id, parked=False)

    # Ordered stop and start

    def _stop_all(self, reason: ExitReason) -> None:
        self._final_reason = reason
        self._due.clear()
        self._asked.clear()
        to_stop = [child.spec.id for child in self._children]
        self._operation = Operation(Purpose.FINAL, to_stop[::-1], [])
        if self._spec.stop_together:
            for child in self._children:
                if child.alive:
                    self._children.ask_to_stop(child)
        self._advance()

    def _advance(self) -> None:
        """Do all that can be done now."""
        while self._step():
            pass

    def _step(self) -> bool:
        """Do the next thing in order; False when something must be waited for."""
        if self._operation is not None:
            return self._go_on(self._operation)
        if self._due:
            child = self._children.get(self._due.pop(0))
            if child is not None and child.status is ChildStatus.STOPPED:
                self._restart(child)
            return True
        if self._asked:
            child = self._children.get(self._asked.pop(0))
            if child is not None and child.starters and not child.alive:
                self._children.start(child)
            return True
        return False

    def _go_on(self, operation: Operation) -> bool:
        if operation.to_stop:
            child = self._children.get(operation.to_stop[0])
            if child is not None and child.alive:
                self._children.ask_to_stop(child)
                return False
            operation.to_stop.pop(0)
        elif operation.to_start:
            child = self._children.get(operation.to_start[0])
            if child is not None and child.status is not ChildStatus.RUNNING:
                if not child.alive:
                    self._children.start(child)
                return False
            operation.to_start.pop(0)
        else:
            self._done(operation)
        return True

    def _done(self, operation: Operation) -> None:
        self._operation = None
        if operation.purpose is Purpose.INITIAL:
            self.announce_started()
        elif operation.purpose is Purpose.FINAL:
            self.finish(self._final_reason)


class Supervisor(RestartingActor):
    """An OTP supervisor, as an actor.

    Subclasses may use its methods in its own thread; everyone else sends the messages of the same
    names. A call that is asked and cannot be carried out raises in the asker, and is harmless here.
    """

    def child(self, child_id: str) -> ChildInfo | None:
        """Return one child, None where there is none."""
        child = self._children.get(child_id)
        return child.info() if child is not None else None

    def children(self) -> tuple[ChildInfo, ...]:
        """Return all children in start order (OTP: ``which_children/1``)."""
        return tuple(child.info() for child in self._children)

    def tell_child(self, child_id: str, message: object) -> bool:
        """Put ``message`` into a child's inbox; False when it is not alive."""
        child = self._children.get(child_id)
        return child is not None and child.ref is not None and tell(child.ref, message)

    def receive(self, message: object) -> object:  # noqa: PLR0911 - one return a call
        """Handle OTP's calls; notices and timers beneath."""
        match message:
            case StartChild(spec):
                return self.start_child(spec)
            case TerminateChild(child_id):
                return self.terminate_child(child_id)
            case RestartChild(child_id):
                return self.restart_child(child_id)
            case DeleteChild(child_id):
                self.delete_child(child_id)
                return None
            case WhichChildren():
                return self.children()
            case CountChildren():
                return self._children.counts()
            case _:
                return super().receive(message)

    def start_child(self, spec: ChildSpec) -> Future[ChildInfo]:
        """Add and start a child (OTP: ``start_child/2``).

        The future fails with ``RuntimeError`` when the start does; nothing is kept then, except under
        a supervisor that parks, which goes on trying.

        Raises:
            InvalidSpec: the specification cannot be right, or its id is taken.
            RuntimeError: this supervisor is ending.
        """
        check_spec(spec)
        self._refuse_when_ending()
        return self._start_and_wait(self._children.add(spec))

    def restart_child(self, child_id: str) -> Future[ChildInfo]:
        """Start a stopped or parked child (OTP: ``restart_child/2``); its restarts are counted anew.

        The future fails with ``RuntimeError`` when the start does; the specification is kept.

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to.
            RuntimeError: this supervisor is ending.
        """
        self._refuse_when_ending()
        child = self._at_rest(child_id)
        self._unpark(child)
        child.log = RestartLog(self._spec.limit)
        child.fresh = False
        return self._start_and_wait(child)

    def terminate_child(self, child_id: str) -> Future[ChildInfo]:
        """Stop a child and keep its specification, a temporary one's not (OTP: ``terminate_child/2``).

        Raises:
            LookupError: there is no such child.
        """
        child = self._children.known(child_id)
        self._unpark(child)
        self._leave_out(child)
        child.fail_starters(f"{child_id} was terminated before it had started")
        future: Future[ChildInfo] = Future()
        child.stoppers.append(future)
        if child.alive:
            self._children.ask_to_stop(child)
        else:
            self._children.set(child, ChildStatus.STOPPED)
            self._stopped(child)
        return future

    def delete_child(self, child_id: str) -> None:
        """Forget a child that is stopped or parked (OTP: ``delete_child/2``).

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to: terminate it first.
        """
        child = self._at_rest(child_id)
        self._unpark(child)
        self._children.remove(child)

    def _start_and_wait(self, child: Child) -> Future[ChildInfo]:
        future: Future[ChildInfo] = Future()
        child.starters.append(future)
        if self._operation is not None and self._spec.strategy is not Strategy.ONE_FOR_ONE:
            # OTP: a call waits until the ordered restart that is under way is through.
            self._asked.append(child.spec.id)
        else:
            self._children.start(child)
        return future

    def _at_rest(self, child_id: str) -> Child:
        """Return a child that neither lives nor is about to; else raise."""
        child = self._children.known(child_id)
        if child.alive:
            raise InvalidSpec(f"child {child_id!r} is running")
        if child_id in self._due or child.starters or self._to_be_started(child):
            raise InvalidSpec(f"child {child_id!r} is about to be started")
        return child

    def _leave_out(self, child: Child) -> None:
        """Take a child out of everything that would start it."""
        if child.spec.id in self._due:
            self._due.remove(child.spec.id)
        if self._operation is not None:
            self._operation.leave_out(child.spec.id)

    def _refuse_when_ending(self) -> None:
        if self._operation is not None and self._operation.purpose is Purpose.FINAL:
            raise RuntimeError("the supervisor is ending")
