"""The part of a supervisor that keeps its children up: notices, restarts, ordered stop and start.

It never blocks: a start is over when the child says so, a stop when its exit notice or its deadline
comes. One ordered operation is carried through before another begins; what ends meanwhile is noted at
once and restarted afterwards, and what is asked for meanwhile is started afterwards, as if both had
waited in the mailbox of an OTP supervisor.
"""

from __future__ import annotations

import structlog

from streamwarden.clock import Clock
from streamwarden.supervision._actor import Link, SupervisedActor, tell
from streamwarden.supervision._child import Child
from streamwarden.supervision._children import Children, HookFailed, RetryParked, StopExpired
from streamwarden.supervision._flags import Observer, Scheduler, SupervisorSpec
from streamwarden.supervision._intensity import RestartLog
from streamwarden.supervision._messages import (
    SHUTDOWN,
    ChildExited,
    ChildInfo,
    ChildStarted,
    ChildStatus,
    Exit,
    ExitKind,
    ExitReason,
)
from streamwarden.supervision._operation import Operation, Purpose, restart_operation
from streamwarden.supervision._spec import Restart, Strategy

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
            limit=spec.limit, timers=timers, notify=self._notify, changed=self.child_changed
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

    def _notify(self, message: object) -> None:
        # A supervisor that has ended needs no notice.
        tell(self.actor_ref, message)

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
