"""The supervisor: OTP's ``supervisor`` as an actor.

It never blocks: a start is over when the child's notice arrives, a stop when its exit notice or its
deadline does. One ordered operation runs at a time; exits and start requests that arrive meanwhile are
queued and handled after it, as they would wait in the mailbox of an OTP supervisor. Deviations from OTP:
``docs/design/0001-two-loops.md`` and ``docs/design/0002-exit-notices.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from streamwarden.clock import Clock
from streamwarden.supervision._actor import (
    SHUTDOWN,
    ChildExited,
    ChildStarted,
    Exit,
    ExitKind,
    ExitReason,
    Link,
    SupervisedActor,
    tell,
)
from streamwarden.supervision._children import (
    Child,
    ChildInfo,
    Children,
    ChildStatus,
    HookFailed,
    RetryParked,
    StopExpired,
)
from streamwarden.supervision._spec import (
    ChildSpec,
    InvalidSpec,
    Observer,
    Restart,
    RestartLog,
    Strategy,
    SupervisorSpec,
    check_spec,
)
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add a child and start it. Answer: a future of its ``ChildInfo`` (OTP: ``start_child/2``)."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child, keep its specification. Answer: a future of ``ChildInfo`` (``terminate_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a stopped or parked child again. Answer: a future of ``ChildInfo`` (``restart_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Remove a stopped child's specification (``delete_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Answer: a tuple of ``ChildInfo`` in start order (``which_children/1``)."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Answer: ``ChildCounts`` (``count_children/1``)."""


class Purpose(Enum):
    """The reason of an ordered operation: own start, a restart, own end."""

    INITIAL = auto()
    RESTART = auto()
    FINAL = auto()


@dataclass(slots=True)
class OrderedOperation:
    """Children to stop, then children to start, one after the other; both lists are consumed."""

    purpose: Purpose
    to_stop: list[str]
    to_start: list[str]

    def cancel_start(self, child_id: str) -> None:
        """Do not start this child: ``terminate_child`` was called for it."""
        if child_id in self.to_start:
            self.to_start.remove(child_id)


def affected_by(strategy: Strategy, order: Sequence[str], failed: str) -> list[str]:
    """Return the children that are restarted with ``failed``, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(order)
        case Strategy.REST_FOR_ONE:
            return list(order[order.index(failed) :])


def restart_operation(
    strategy: Strategy, specs: Iterable[ChildSpec], failed: str
) -> OrderedOperation:
    """Return the operation that restarts ``failed`` among ``specs``, which are in start order.

    OTP: stopped from right to left, started from left to right. Temporary children are stopped and
    not started again; all others are started, also those that had ended before.
    """
    by_id = {spec.id: spec for spec in specs}
    affected = affected_by(strategy, list(by_id), failed)
    return OrderedOperation(
        Purpose.RESTART,
        to_stop=[id_ for id_ in reversed(affected) if id_ != failed],
        to_start=[id_ for id_ in affected if by_id[id_].restart is not Restart.TEMPORARY],
    )


class Supervisor(SupervisedActor):
    """An OTP supervisor, as an actor: starts its children in order, restarts those that end.

    Its public methods are for subclasses, in the actor's own thread; others send the message of the same
    name. A call that cannot be carried out raises in its caller and changes nothing here.
    """

    def __init__(
        self,
        *,
        link: Link,
        spec: SupervisorSpec,
        timers: Timers,
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
        self._operation: OrderedOperation | None = None
        # Queued during an operation: children that ended, and children whose start was requested.
        self._to_restart: list[str] = []
        self._start_requests: list[str] = []
        self._final_reason = SHUTDOWN

    def child_changed(self, info: ChildInfo) -> None:
        """Hook, called after each change of a child's status; raising ends the supervisor."""

    # Hooks of the actor

    def init(self) -> None:
        """Prepare the operation that starts the static children; ``started`` begins it."""
        for spec in self._spec.children:
            self._children.add(spec)
        self._operation = OrderedOperation(
            Purpose.INITIAL, [], [spec.id for spec in self._spec.children]
        )

    def started(self) -> None:
        """Start the static children; the supervisor is announced after the last of them."""
        self._advance()

    def shutting_down(self) -> None:
        """Stop all children from right to left, then end."""
        self._stop_all(SHUTDOWN)

    def terminate(self, reason: ExitReason) -> None:
        """End the children that are still alive, and fail the calls that still wait."""
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

    def receive(self, message: object) -> object:  # noqa: PLR0911 - one case a message
        """Answer OTP's calls; handle the notices of children and timers."""
        match message:
            case StartChild(spec):
                return self.start_child(spec)
            case TerminateChild(child_id):
                return self.terminate_child(child_id)
            case RestartChild(child_id):
                return self.restart_child(child_id)
            case DeleteChild(child_id):
                self.delete_child(child_id)
            case WhichChildren():
                return self.children()
            case CountChildren():
                return self._children.counts()
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

    # Calls

    def child(self, child_id: str) -> ChildInfo | None:
        """Return one child, None if there is none."""
        child = self._children.get(child_id)
        return child.info() if child is not None else None

    def children(self) -> tuple[ChildInfo, ...]:
        """Return all children in start order (OTP: ``which_children/1``)."""
        return tuple(child.info() for child in self._children)

    def tell_child(self, child_id: str, message: object) -> bool:
        """Put ``message`` into a child's inbox; False when it is not alive."""
        child = self._children.get(child_id)
        return child is not None and child.ref is not None and tell(child.ref, message)

    def start_child(self, spec: ChildSpec) -> Future[ChildInfo]:
        """Add and start a child (OTP: ``start_child/2``).

        The future fails with ``RuntimeError`` when the start does. The specification is then removed,
        except by a supervisor that parks: it starts the child again.

        Raises:
            InvalidSpec: the specification is invalid, or its id is taken.
            RuntimeError: this supervisor is ending.
        """
        check_spec(spec)
        self._check_not_ending()
        return self._start_and_wait(self._children.add(spec))

    def restart_child(self, child_id: str) -> Future[ChildInfo]:
        """Start a stopped or parked child (OTP: ``restart_child/2``); its restart count begins at zero.

        The future fails with ``RuntimeError`` when the start does; the specification is kept.

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to be started.
            RuntimeError: this supervisor is ending.
        """
        self._check_not_ending()
        child = self._inactive(child_id)
        self._unpark(child)
        child.log = RestartLog(self._spec.limit)
        child.fresh = False
        return self._start_and_wait(child)

    def terminate_child(self, child_id: str) -> Future[ChildInfo]:
        """Stop a child; keep its specification unless temporary (OTP: ``terminate_child/2``).

        Raises:
            LookupError: there is no such child.
        """
        child = self._children.known(child_id)
        self._unpark(child)
        self._cancel_starts(child)
        child.fail_starters(f"{child_id} was terminated before it had started")
        future: Future[ChildInfo] = Future()
        child.stoppers.append(future)
        if child.alive:
            self._children.request_stop(child)
        else:
            self._children.set(child, ChildStatus.STOPPED)
            self._stopped(child)
        return future

    def delete_child(self, child_id: str) -> None:
        """Remove a child that is stopped or parked (OTP: ``delete_child/2``).

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to be started: terminate it first.
        """
        child = self._inactive(child_id)
        self._unpark(child)
        self._children.remove(child)

    def _start_and_wait(self, child: Child) -> Future[ChildInfo]:
        future: Future[ChildInfo] = Future()
        child.starters.append(future)
        if self._operation is not None and self._spec.strategy is not Strategy.ONE_FOR_ONE:
            # OTP: the call waits in the mailbox until the ordered restart is complete.
            self._start_requests.append(child.spec.id)
        else:
            self._children.start(child)
        return future

    def _inactive(self, child_id: str) -> Child:
        """Return a child that is neither alive nor about to be started; else raise."""
        child = self._children.known(child_id)
        if child.alive:
            raise InvalidSpec(f"child {child_id!r} is running")
        if child_id in self._to_restart or child.starters or self._to_be_started(child):
            raise InvalidSpec(f"child {child_id!r} is about to be started")
        return child

    def _cancel_starts(self, child: Child) -> None:
        """Remove a child from every queue that would start it."""
        if child.spec.id in self._to_restart:
            self._to_restart.remove(child.spec.id)
        if self._operation is not None:
            self._operation.cancel_start(child.spec.id)

    def _check_not_ending(self) -> None:
        if self._operation is not None and self._operation.purpose is Purpose.FINAL:
            raise RuntimeError("the supervisor is ending")

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
            self._exited_unasked(child, notice.reason)
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
        requested = bool(child.starters) and self._spec.parking is None
        child.fail_starters(f"{child.spec.id} did not start: {error}")
        if self._operation is not None and self._to_be_started(child):
            if self._operation.purpose is Purpose.INITIAL:
                # OTP: the children already started are stopped, and the supervisor's own start fails.
                self._stop_all(ExitReason(ExitKind.START_FAILED, error))
            else:
                # OTP: counts as one more restart, which begins with this child.
                self._operation = None
                self._restart(child)
        elif child.spec.restart is Restart.TEMPORARY or (requested and child.fresh):
            # OTP: start_child keeps no specification of a child that never ran.
            self._children.remove(child)
        elif not requested:
            self._restart(child)

    def _exited_unasked(self, child: Child, reason: ExitReason) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._children.remove(child)
        elif child.spec.restart is Restart.PERMANENT or reason.abnormal:
            self._to_restart.append(child.spec.id)

    # Restarts

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

    # Ordered operation

    def _stop_all(self, reason: ExitReason) -> None:
        self._final_reason = reason
        self._to_restart.clear()
        self._start_requests.clear()
        to_stop = [child.spec.id for child in self._children]
        self._operation = OrderedOperation(Purpose.FINAL, to_stop[::-1], [])
        if self._spec.stop_together:
            for child in self._children:
                if child.alive:
                    self._children.request_stop(child)
        self._advance()

    def _advance(self) -> None:
        """Take all steps that need not wait."""
        while self._step():
            pass

    def _step(self) -> bool:
        """Take the next step; False when there is none or it must wait for a notice."""
        if self._operation is not None:
            return self._continue(self._operation)
        if self._to_restart:
            child = self._children.get(self._to_restart.pop(0))
            if child is not None and child.status is ChildStatus.STOPPED:
                self._restart(child)
            return True
        if self._start_requests:
            child = self._children.get(self._start_requests.pop(0))
            if child is not None and child.starters and not child.alive:
                self._children.start(child)
            return True
        return False

    def _continue(self, operation: OrderedOperation) -> bool:
        if operation.to_stop:
            child = self._children.get(operation.to_stop[0])
            if child is not None and child.alive:
                self._children.request_stop(child)
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
            self._operation_done(operation)
        return True

    def _operation_done(self, operation: OrderedOperation) -> None:
        self._operation = None
        if operation.purpose is Purpose.INITIAL:
            self.announce_started()
        elif operation.purpose is Purpose.FINAL:
            self.finish(self._final_reason)
