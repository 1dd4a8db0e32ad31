"""The supervisor: an actor that starts, watches, restarts and stops other actors.

Semantics are those of Erlang/OTP's ``supervisor``; it never blocks: a start is over when the child
says so, a stop when its exit notice or its deadline comes, and whatever ends meanwhile is looked at
afterwards. Deviations are listed in ``docs/design/0002-exit-notices.md``.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from streamwarden.clock import Clock
from streamwarden.supervision._actor import Link, SupervisedActor, describe, tell
from streamwarden.supervision._child import Child, Operation, Purpose, restart_operation
from streamwarden.supervision._flags import Observer, Scheduler, SupervisorSpec
from streamwarden.supervision._intensity import RestartLog
from streamwarden.supervision._messages import (
    SHUTDOWN,
    ChildCounts,
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
    Shutdown,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from streamwarden.supervision._spec import (
    INFINITY,
    ChildSpec,
    ChildType,
    InvalidSpec,
    Restart,
    Strategy,
    check_spec,
)
from streamwarden.timers import Timer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _StopExpired:
    """A child has had its shutdown time."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class _RetryParked:
    """A parked child has waited long enough."""

    child_id: str
    incarnation: int


class Supervisor(SupervisedActor):
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
        self._timers = timers
        self._clock = clock
        self._observer = observer
        self._children: dict[str, Child] = {}
        # Kept when a child is deleted: an id that comes back must not take its predecessor's notices.
        self._incarnations: dict[str, int] = defaultdict(int)
        self._log = RestartLog(spec.limit)
        self._operation: Operation | None = None
        self._deferred: list[ChildExited] = []
        self._final_reason = SHUTDOWN

    # What a subclass may use

    def children(self) -> tuple[ChildInfo, ...]:
        """Return all children in start order."""
        return tuple(child.info() for child in self._children.values())

    def tell_child(self, child_id: str, message: object) -> bool:
        """Put ``message`` into a child's inbox; False when it is not alive."""
        child = self._children.get(child_id)
        return child is not None and child.ref is not None and tell(child.ref, message)

    def child_changed(self, info: ChildInfo) -> None:
        """Called after a child's status has changed; for subclasses."""

    # The actor's life

    def init(self) -> None:
        """Begin to start the static children; ``started`` waits for the last of them."""
        for spec in self._spec.children:
            self._add(spec)
        self._operation = Operation(Purpose.INITIAL, [], list(self._children))

    def started(self) -> None:
        """Announce this supervisor once its static children are up."""
        self._advance()

    def shutting_down(self) -> None:
        """Stop all children from right to left, then end."""
        self._stop_all(SHUTDOWN)

    def terminate(self, reason: ExitReason) -> None:
        """Leave no child behind: those still alive lose their supervisor and end."""
        del reason
        for child in self._children.values():
            child.cancel_timer()
            if child.ref is not None:
                tell(child.ref, Exit())
            child.answer(RuntimeError("the supervisor has ended"))

    def receive(self, message: object) -> object:
        """Handle notices, timers and OTP's calls."""
        match message:
            case ChildStarted():
                self._child_started(message)
            case ChildExited():
                self._child_exited(message)
            case _StopExpired():
                self._stop_expired(message)
            case _RetryParked():
                self._retry_parked(message)
            case _:
                return self._call(message)
        return None

    def _call(self, message: object) -> object:  # noqa: PLR0911 - one return a call
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
                return self._count()
            case _:
                return super().receive(message)

    # OTP's calls; also for subclasses, in this actor's own thread

    def start_child(self, spec: ChildSpec) -> Future[ChildInfo]:
        """Add and start a child; the future fails when the start does, and nothing is kept."""
        check_spec(spec)
        self._refuse_when_ending()
        if spec.id in self._children:
            raise InvalidSpec(f"child id {spec.id!r} is already there")
        return self._start_and_wait(self._add(spec))

    def restart_child(self, child_id: str) -> Future[ChildInfo]:
        """Start a stopped or parked child; its restarts are counted anew."""
        self._refuse_when_ending()
        child = self._known(child_id)
        if child.alive:
            raise InvalidSpec(f"child {child_id!r} is running")
        self._unpark(child)
        child.log = RestartLog(self._spec.limit)
        return self._start_and_wait(child)

    def terminate_child(self, child_id: str) -> Future[ChildInfo]:
        """Stop a child and keep its specification."""
        child = self._known(child_id)
        self._unpark(child)
        future: Future[ChildInfo] = Future()
        if child.status is not ChildStatus.STOPPING:
            child.answer(RuntimeError(f"{child_id} was terminated before it had started"))
        child.waiting.append(future)
        if child.alive:
            self._ask_to_stop(child)
        else:
            self._set(child, ChildStatus.STOPPED)
            child.answer()
        return future

    def delete_child(self, child_id: str) -> None:
        """Forget a stopped child."""
        child = self._known(child_id)
        if child.alive:
            raise InvalidSpec(f"child {child_id!r} is running: terminate it first")
        self._unpark(child)
        del self._children[child_id]

    def _count(self) -> ChildCounts:
        kinds = [child.spec.type for child in self._children.values()]
        return ChildCounts(
            specs=len(kinds),
            active=sum(child.alive for child in self._children.values()),
            supervisors=kinds.count(ChildType.SUPERVISOR),
            workers=kinds.count(ChildType.WORKER),
        )

    def _known(self, child_id: str) -> Child:
        if (child := self._children.get(child_id)) is None:
            raise LookupError(f"no child {child_id!r}")
        return child

    def _refuse_when_ending(self) -> None:
        if self._operation is not None and self._operation.purpose is Purpose.FINAL:
            raise RuntimeError("the supervisor is ending")

    # One child

    def _add(self, spec: ChildSpec) -> Child:
        child = Child(spec=spec, log=RestartLog(self._spec.limit))
        self._children[spec.id] = child
        return child

    def _set(self, child: Child, status: ChildStatus) -> None:
        child.status = status
        self.child_changed(child.info())

    def _start_and_wait(self, child: Child) -> Future[ChildInfo]:
        future: Future[ChildInfo] = Future()
        child.waiting.append(future)
        self._start(child)
        return future

    def _start(self, child: Child) -> None:
        child.cancel_timer()
        self._incarnations[child.spec.id] += 1
        child.incarnation = self._incarnations[child.spec.id]
        self._set(child, ChildStatus.STARTING)
        link = Link(child.spec.id, child.incarnation, self._notify)
        try:
            child.ref = child.spec.start(link)
        except Exception as error:  # noqa: BLE001 - any failure to start is a failed start
            # A notice like any other, so that a failed start takes the one path that there is.
            reason = ExitReason(ExitKind.START_FAILED, describe(error))
            link.notify(ChildExited(link.child_id, link.incarnation, reason))

    def _ask_to_stop(self, child: Child) -> None:
        if child.status is ChildStatus.STOPPING or child.ref is None:
            return
        self._set(child, ChildStatus.STOPPING)
        tell(child.ref, Shutdown())
        if child.spec.shutdown_s != INFINITY:
            expired = _StopExpired(child.spec.id, child.incarnation)
            child.timer = self._later(child.spec.shutdown_s, expired)

    def _later(self, delay_s: float, message: object) -> Timer:
        return self._timers.after(delay_s, lambda: self._notify(message))

    def _notify(self, message: object) -> None:
        # A supervisor that has ended needs no notice.
        tell(self.actor_ref, message)

    def _current(self, child_id: str, incarnation: int) -> Child | None:
        """Return the child if the notice speaks of its present incarnation; else drop the notice."""
        child = self._children.get(child_id)
        if child is None or child.incarnation != incarnation:
            log.info("late_notice_dropped", child=child_id, incarnation=incarnation)
            return None
        return child

    # Notices

    def _child_started(self, notice: ChildStarted) -> None:
        child = self._current(notice.child_id, notice.incarnation)
        if child is None or child.status is not ChildStatus.STARTING:
            return
        child.fresh = False
        self._set(child, ChildStatus.RUNNING)
        child.answer()
        self._advance()

    def _stop_expired(self, expired: _StopExpired) -> None:
        child = self._current(expired.child_id, expired.incarnation)
        if child is None or child.status is not ChildStatus.STOPPING or child.ref is None:
            return
        log.error("child_abandoned", child=child.spec.id, shutdown_s=child.spec.shutdown_s)
        tell(child.ref, Exit())
        self._observer.abandoned(child.spec.id)
        self._child_exited(ChildExited(child.spec.id, child.incarnation, SHUTDOWN))

    def _child_exited(self, notice: ChildExited) -> None:
        child = self._current(notice.child_id, notice.incarnation)
        if child is None or child.status in {ChildStatus.STOPPED, ChildStatus.PARKED}:
            return
        if child.status is ChildStatus.RUNNING and self._must_defer(child):
            self._deferred.append(notice)
            return
        before = child.status
        child.ref = None
        child.cancel_timer()
        if notice.reason.abnormal:
            log.error(
                "child_failed",
                child=child.spec.id,
                incarnation=child.incarnation,
                kind=notice.reason.kind,
                error=notice.reason.error,
            )
        if before is ChildStatus.STOPPING or self._being_stopped(child):
            self._child_stopped(child)
        elif before is ChildStatus.STARTING:
            self._start_failed(child, notice.reason)
        else:
            self._ended_by_itself(child, notice.reason)
        self._advance()

    def _must_defer(self, child: Child) -> bool:
        # An ordered stop and start is carried through before another one begins.
        return self._operation is not None and not self._being_stopped(child)

    def _being_stopped(self, child: Child) -> bool:
        return self._operation is not None and child.spec.id in self._operation.to_stop

    def _child_stopped(self, child: Child) -> None:
        self._set(child, ChildStatus.STOPPED)
        child.answer()
        if child.spec.restart is Restart.TEMPORARY:
            self._children.pop(child.spec.id, None)

    def _start_failed(self, child: Child, reason: ExitReason) -> None:
        self._set(child, ChildStatus.STOPPED)
        dynamic = bool(child.waiting)
        child.answer(RuntimeError(f"{child.spec.id} did not start: {reason.error}"))
        if self._operation is not None and self._operation.purpose is Purpose.INITIAL:
            # OTP: a failed start is rolled back, and the supervisor's own start has failed.
            self._stop_all(ExitReason(ExitKind.START_FAILED, reason.error))
        elif dynamic and self._spec.parking is None:
            # OTP: start_child keeps nothing of a child that never ran, restart_child its specification.
            if child.fresh:
                self._children.pop(child.spec.id, None)
        else:
            self._operation = None
            self._restart(child)

    def _ended_by_itself(self, child: Child, reason: ExitReason) -> None:
        self._set(child, ChildStatus.STOPPED)
        if child.spec.restart is Restart.TEMPORARY:
            self._children.pop(child.spec.id, None)
        elif child.spec.restart is Restart.PERMANENT or reason.abnormal:
            self._restart(child)

    # Restarting

    def _restart(self, child: Child) -> None:
        if self._intensity_exceeded(child):
            self._give_up(child)
            return
        child.restarts += 1
        self._observer.restarted(child.spec.id)
        children = list(self._children.values())
        operation, temporary = restart_operation(self._spec.strategy, children, child.spec.id)
        if self._spec.strategy is Strategy.ONE_FOR_ONE:
            self._start(child)
            return
        for child_id in temporary:
            if not self._children[child_id].alive:
                del self._children[child_id]
        self._operation = operation

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
        self._set(child, ChildStatus.PARKED)
        self._observer.parked(child.spec.id, parked=True)
        retry = _RetryParked(child.spec.id, child.incarnation)
        child.timer = self._later(self._spec.parking.retry_after_s, retry)

    def _retry_parked(self, retry: _RetryParked) -> None:
        child = self._current(retry.child_id, retry.incarnation)
        if child is not None and child.status is ChildStatus.PARKED:
            self._unpark(child)
            self._start(child)

    def _unpark(self, child: Child) -> None:
        if child.status is ChildStatus.PARKED:
            child.cancel_timer()
            self._observer.parked(child.spec.id, parked=False)

    # Ordered stop and start

    def _stop_all(self, reason: ExitReason) -> None:
        self._final_reason = reason
        self._deferred.clear()
        self._operation = Operation(Purpose.FINAL, list(reversed(self._children)), [])
        if self._spec.stop_together:
            for child in self._children.values():
                self._ask_to_stop(child)
        self._advance()

    def _advance(self) -> None:
        while self._operation is not None and self._step(self._operation):
            pass
        if self._operation is None and self._deferred:
            self._child_exited(self._deferred.pop(0))

    def _step(self, operation: Operation) -> bool:
        """Do the next thing in order; False when something must be waited for."""
        if operation.to_stop:
            child = self._children.get(operation.to_stop[0])
            if child is not None and child.alive:
                self._ask_to_stop(child)
                return False
            operation.to_stop.pop(0)
            return True
        if operation.to_start:
            return self._start_next(operation)
        self._operation = None
        if operation.purpose is Purpose.INITIAL:
            self.announce_started()
        elif operation.purpose is Purpose.FINAL:
            self.finish(self._final_reason)
        return False

    def _start_next(self, operation: Operation) -> bool:
        child = self._children.get(operation.to_start[0])
        if child is None or child.status is ChildStatus.RUNNING:
            operation.to_start.pop(0)
            return True
        if not child.alive and child.status is not ChildStatus.STARTING:
            self._unpark(child)
            self._start(child)
        return False
