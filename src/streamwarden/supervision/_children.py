"""The children of one supervisor: their records, their starts and stops, and the timers of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum

import pykka
import structlog

from streamwarden.supervision._actor import (
    ActorRef,
    ChildExited,
    ExitKind,
    ExitReason,
    Link,
    Shutdown,
    describe,
    tell,
)
from streamwarden.supervision._spec import (
    BRUTAL_KILL,
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    InvalidSpec,
    RestartLog,
)
from streamwarden.timers import Timer, Timers

log = structlog.get_logger(__name__)


class ChildStatus(StrEnum):
    """State of a child's current incarnation."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PARKED = "parked"


ALIVE = frozenset({ChildStatus.STARTING, ChildStatus.RUNNING, ChildStatus.STOPPING})
"""An incarnation exists and its exit notice has not arrived yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildInfo:
    """Public view of one child.

    ``incarnation`` rises by one with every start; a child id that is deleted and added again continues
    above its last one. ``restarts`` counts restarts after the child's own exits.
    """

    child_id: str
    type: ChildType
    status: ChildStatus
    incarnation: int
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCounts:
    """The counts of OTP's ``count_children/1``; ``active`` are those with a live incarnation."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(slots=True, kw_only=True)
class Child:
    """One child: its specification and, while it lives, its current incarnation.

    ``starters`` and ``stoppers`` are the futures to resolve once the child is running or has ended;
    ``fresh`` is true until the child has been running once or ``restart_child`` was called.
    """

    spec: ChildSpec
    log: RestartLog
    status: ChildStatus = ChildStatus.STOPPED
    incarnation: int = 0
    restarts: int = 0
    fresh: bool = True
    ref: ActorRef | None = None
    timer: Timer | None = None
    starters: list[Future[ChildInfo]] = field(default_factory=list)
    stoppers: list[Future[ChildInfo]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether an incarnation is starting, running or stopping."""
        return self.status in ALIVE

    def info(self) -> ChildInfo:
        """Return the public view."""
        return ChildInfo(
            child_id=self.spec.id,
            type=self.spec.type,
            status=self.status,
            incarnation=self.incarnation,
            restarts=self.restarts,
        )

    def answer_starters(self) -> None:
        """Resolve the futures that wait for the start."""
        waiting, self.starters = self.starters, []
        _resolve(waiting, self.info())

    def answer_stoppers(self) -> None:
        """Resolve the futures that wait for the end."""
        waiting, self.stoppers = self.stoppers, []
        _resolve(waiting, self.info())

    def fail_starters(self, text: str) -> None:
        """Fail the futures that wait for the start."""
        waiting, self.starters = self.starters, []
        _resolve(waiting, RuntimeError(text))

    def fail_stoppers(self, text: str) -> None:
        """Fail the futures that wait for the end."""
        waiting, self.stoppers = self.stoppers, []
        _resolve(waiting, RuntimeError(text))

    def cancel_timer(self) -> None:
        """Cancel the stop deadline or the retry of a parked child."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _resolve(waiting: list[Future[ChildInfo]], answer: ChildInfo | Exception) -> None:
    for future in waiting:
        if not future.set_running_or_notify_cancel():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


@dataclass(frozen=True, slots=True)
class StopExpired:
    """To the supervisor: a child's shutdown time is over."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class RetryParked:
    """To the supervisor: a parked child is due for another start."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class HookFailed:
    """To the supervisor: its subclass's ``child_changed`` has raised."""

    error: Exception


class Children:
    """The children in start order. Used only in the supervisor's thread; no method blocks."""

    def __init__(
        self,
        *,
        limit: Intensity,
        timers: Timers,
        notify: Callable[[object], None],
        changed: Callable[[ChildInfo], None],
    ) -> None:
        self._limit = limit
        self._timers = timers
        self._notify = notify
        self._changed = changed
        self._by_id: dict[str, Child] = {}
        # The maximum over all removed children: an id that is added again must not accept late notices
        # of its predecessor.
        self._highest_incarnation = 0

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def get(self, child_id: str) -> Child | None:
        """Return the child, None if there is none."""
        return self._by_id.get(child_id)

    def known(self, child_id: str) -> Child:
        """Return the child; ``LookupError`` when there is none (OTP: ``not_found``)."""
        if (child := self._by_id.get(child_id)) is None:
            raise LookupError(f"no child {child_id!r}")
        return child

    def current(self, child_id: str, incarnation: int) -> Child | None:
        """Return the child if this is its current, live incarnation; None for a late notice."""
        child = self._by_id.get(child_id)
        if child is None or child.incarnation != incarnation or not child.alive:
            log.info("late_notice_dropped", child=child_id, incarnation=incarnation)
            return None
        return child

    def counts(self) -> ChildCounts:
        """Return OTP's ``count_children/1``."""
        kinds = [child.spec.type for child in self]
        return ChildCounts(
            specs=len(kinds),
            active=sum(child.alive for child in self),
            supervisors=kinds.count(ChildType.SUPERVISOR),
            workers=kinds.count(ChildType.WORKER),
        )

    def add(self, spec: ChildSpec) -> Child:
        """Append a child; ``InvalidSpec`` if the id is taken (OTP: ``already_started``, ``-present``)."""
        if spec.id in self._by_id:
            raise InvalidSpec(f"child id {spec.id!r} is already there")
        child = Child(spec=spec, log=RestartLog(self._limit), incarnation=self._highest_incarnation)
        self._by_id[spec.id] = child
        return child

    def remove(self, child: Child) -> None:
        """Remove a child that has ended."""
        self._highest_incarnation = max(self._highest_incarnation, child.incarnation)
        del self._by_id[child.spec.id]

    def set(self, child: Child, status: ChildStatus) -> None:
        """Change a child's status and call the hook; a hook that raises ends the supervisor."""
        child.status = status
        try:
            self._changed(child.info())
        except Exception as error:  # noqa: BLE001 - a bug of the subclass
            # Raised here, during an ask, it would go to the caller and leave the child half started.
            self._notify(HookFailed(error))

    def start(self, child: Child) -> None:
        """Start the next incarnation; ``ChildStarted`` or ``ChildExited`` follows."""
        child.cancel_timer()
        child.incarnation += 1
        self.set(child, ChildStatus.STARTING)
        link = Link(child.spec.id, child.incarnation, self._notify)
        try:
            child.ref = _checked_ref(child.spec.start(link))
        except BaseException as error:  # noqa: BLE001 - OTP: an exception in start is a failed start
            # As a notice, so that every failed start is handled by the same code.
            reason = ExitReason(ExitKind.START_FAILED, describe(error))
            link.notify(ChildExited(link.child_id, link.incarnation, reason))

    def request_stop(self, child: Child) -> None:
        """Begin the stop of a live child; it is over with the exit notice or at the deadline."""
        if child.status is ChildStatus.STOPPING:
            return
        self.set(child, ChildStatus.STOPPING)
        expired = StopExpired(child.spec.id, child.incarnation)
        if child.spec.shutdown_within_s == BRUTAL_KILL:
            self._notify(expired)
            return
        if child.ref is not None:
            tell(child.ref, Shutdown())
        if child.spec.shutdown_within_s != INFINITY:
            child.timer = self.later(child.spec.shutdown_within_s, expired)

    def ended(self, child: Child) -> None:
        """Record that the current incarnation has ended, or is abandoned."""
        child.ref = None
        child.cancel_timer()
        self.set(child, ChildStatus.STOPPED)

    def later(self, delay_s: float, message: object) -> Timer:
        """Send the supervisor ``message`` after ``delay_s`` seconds."""
        return self._timers.after(delay_s, lambda: self._notify(message))


def _checked_ref(ref: object) -> ActorRef:
    if not isinstance(ref, pykka.ActorRef):
        raise TypeError(f"start must return an actor's ref, not {ref!r}")
    return ref
