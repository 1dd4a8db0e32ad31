"""A supervisor's record of one child, and the order in which children are stopped and started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import pykka

from streamwarden.supervision._intensity import RestartLog
from streamwarden.supervision._messages import ChildInfo, ChildStatus
from streamwarden.supervision._spec import ChildSpec, Restart, Strategy
from streamwarden.timers import Timer


@dataclass(slots=True, kw_only=True)
class Child:
    """One child: its specification and, while it lives, its current incarnation.

    ``waiting`` are the callers to be answered once the child has started or stopped; ``fresh`` holds
    until it has been up once.
    """

    spec: ChildSpec
    log: RestartLog
    status: ChildStatus = ChildStatus.STOPPED
    incarnation: int = 0
    restarts: int = 0
    fresh: bool = True
    ref: pykka.ActorRef[Any] | None = None
    timer: Timer | None = None
    waiting: list[Future[ChildInfo]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether an incarnation is starting, running or stopping."""
        return self.ref is not None

    def info(self) -> ChildInfo:
        """Return what others may know."""
        return ChildInfo(
            child_id=self.spec.id,
            type=self.spec.type,
            status=self.status,
            incarnation=self.incarnation,
            restarts=self.restarts,
        )

    def answer(self, error: Exception | None = None) -> None:
        """Resolve every waiting caller."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.set_running_or_notify_cancel():
                continue
            if error is None:
                future.set_result(self.info())
            else:
                future.set_exception(error)

    def cancel_timer(self) -> None:
        """Forget the stop deadline or the retry of a parked child."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


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


def affected_by(strategy: Strategy, order: Sequence[str], failed: str) -> list[str]:
    """Return the children that a restart of ``failed`` concerns, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(order)
        case Strategy.REST_FOR_ONE:
            return list(order[order.index(failed) :])


def restart_operation(
    strategy: Strategy, children: Iterable[Child], failed: str
) -> tuple[Operation, list[str]]:
    """Return the operation that restarts ``failed``, and the temporary children that it removes.

    OTP: stopped from right to left, started from left to right; temporary children are stopped and
    not started again.
    """
    by_id = {child.spec.id: child for child in children}
    affected = affected_by(strategy, list(by_id), failed)
    temporary = [id_ for id_ in affected if by_id[id_].spec.restart is Restart.TEMPORARY]
    operation = Operation(
        Purpose.RESTART,
        to_stop=[id_ for id_ in reversed(affected) if id_ != failed],
        to_start=[id_ for id_ in affected if id_ not in temporary],
    )
    return operation, temporary
