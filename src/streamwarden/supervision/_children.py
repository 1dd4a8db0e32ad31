"""All children of a supervisor: the one place that starts, stops and forgets one.

A supervisor's record of one child.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pykka
import structlog

from streamwarden.supervision._actor import Link, describe, tell
from streamwarden.supervision._messages import (
    ChildCounts,
    ChildExited,
    ChildInfo,
    ChildStatus,
    ExitKind,
    ExitReason,
    Shutdown,
)
from streamwarden.supervision._spec import (
    BRUTAL_KILL,
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    InvalidSpec,
    RestartLog,
    Scheduler,
)
from streamwarden.timers import Timer

ALIVE = frozenset({ChildStatus.STARTING, ChildStatus.RUNNING, ChildStatus.STOPPING})
"""An incarnation is there, and its one exit notice is still to come."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One child: its specification and, while it lives, its current incarnation.

    ``starters`` and ``stoppers`` are the callers to be answered once the child is up or has ended;
    ``fresh`` holds until it has been up once, or was asked for by ``restart_child``.
    """

    spec: ChildSpec
    log: RestartLog
    status: ChildStatus = ChildStatus.STOPPED
    incarnation: int = 0
    restarts: int = 0
    fresh: bool = True
    ref: pykka.ActorRef[Any] | None = None
    timer: Timer | None = None
    starters: list[Future[ChildInfo]] = field(default_factory=list)
    stoppers: list[Future[ChildInfo]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether an incarnation is starting, running or stopping."""
        return self.status in ALIVE

    def info(self) -> ChildInfo:
        """Return what others may know."""
        return ChildInfo(
            child_id=self.spec.id,
            type=self.spec.type,
            status=self.status,
            incarnation=self.incarnation,
            restarts=self.restarts,
        )

    def answer_starters(self) -> None:
        """Tell those who asked for the child that it is up."""
        waiting, self.starters = self.starters, []
        _answer(waiting, self.info())

    def answer_stoppers(self) -> None:
        """Tell those who asked for its end that it has ended."""
        waiting, self.stoppers = self.stoppers, []
        _answer(waiting, self.info())

    def fail_starters(self, text: str) -> None:
        """Tell those who asked for the child why it did not come up."""
        waiting, self.starters = self.starters, []
        _answer(waiting, RuntimeError(text))

    def fail_stoppers(self, text: str) -> None:
        """Tell those who asked for its end that nobody will see it."""
        waiting, self.stoppers = self.stoppers, []
        _answer(waiting, RuntimeError(text))

    def cancel_timer(self) -> None:
        """Forget the stop deadline or the retry of a parked child."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _answer(waiting: list[Future[ChildInfo]], answer: ChildInfo | Exception) -> None:
    for future in waiting:
        if not future.set_running_or_notify_cancel():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StopExpired:
    """A child has had its shutdown time."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class RetryParked:
    """A parked child has waited long enough."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A subclass's ``child_changed`` has raised."""

    error: Exception


class Children:
    """The children in start order. Used only in the supervisor's thread; nothing in it blocks."""

    def __init__(
        self,
        *,
        limit: Intensity,
        timers: Scheduler,
        notify: Callable[[object], None],
        changed: Callable[[ChildInfo], None],
    ) -> None:
        self._limit = limit
        self._timers = timers
        self._notify = notify
        self._changed = changed
        self._by_id: dict[str, Child] = {}
        # No child that was forgotten had a higher one: an id that comes back must not take its
        # predecessor's notices for its own.
        self._highest_incarnation = 0

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def get(self, child_id: str) -> Child | None:
        """Return the child, if there is one."""
        return self._by_id.get(child_id)

    def known(self, child_id: str) -> Child:
        """Return the child; ``LookupError`` when there is none (OTP: ``not_found``)."""
        if (child := self._by_id.get(child_id)) is None:
            raise LookupError(f"no child {child_id!r}")
        return child

    def current(self, child_id: str, incarnation: int) -> Child | None:
        """Return the child if its present incarnation is meant and lives; else None, for a late notice."""
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
        """Append a child; ``InvalidSpec`` when the id is taken (OTP: ``already_started``, ``-present``)."""
        if spec.id in self._by_id:
            raise InvalidSpec(f"child id {spec.id!r} is already there")
        child = Child(spec=spec, log=RestartLog(self._limit), incarnation=self._highest_incarnation)
        self._by_id[spec.id] = child
        return child

    def remove(self, child: Child) -> None:
        """Forget a child that has ended."""
        self._highest_incarnation = max(self._highest_incarnation, child.incarnation)
        del self._by_id[child.spec.id]

    def set(self, child: Child, status: ChildStatus) -> None:
        """Change a child's status and say so; a hook that raises ends the supervisor."""
        child.status = status
        try:
            self._changed(child.info())
        except Exception as error:  # noqa: BLE001 - whatever a subclass's bug raises
            # In an ask pykka would give it to the asker and leave the child half started for ever.
            self._notify(HookFailed(error))

    def start(self, child: Child) -> None:
        """Start the next incarnation; a notice tells later whether it came up."""
        child.cancel_timer()
        child.incarnation += 1
        self.set(child, ChildStatus.STARTING)
        link = Link(child.spec.id, child.incarnation, self._notify)
        try:
            child.ref = _checked_ref(child.spec.start(link))
        except BaseException as error:  # noqa: BLE001 - OTP: whatever start raises is a failed start
            # A notice like any other, so that a failed start takes the one path that there is.
            reason = ExitReason(ExitKind.START_FAILED, describe(error))
            link.notify(ChildExited(link.child_id, link.incarnation, reason))

    def ask_to_stop(self, child: Child) -> None:
        """Begin the stop of a live child; its exit notice or its deadline ends it."""
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
        """Note that the present incarnation has ended, or is regarded as if it had."""
        child.ref = None
        child.cancel_timer()
        self.set(child, ChildStatus.STOPPED)

    def later(self, delay_s: float, message: object) -> Timer:
        """Send the supervisor ``message`` after ``delay_s`` seconds."""
        return self._timers.after(delay_s, lambda: self._notify(message))


def _checked_ref(ref: object) -> pykka.ActorRef[Any]:
    if not isinstance(ref, pykka.ActorRef):
        raise TypeError(f"start must return an actor's ref, not {ref!r}")
    return ref
