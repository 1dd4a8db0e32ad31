"""A supervisor's record of one child."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pykka

from streamwarden.supervision._intensity import RestartLog
from streamwarden.supervision._messages import ChildInfo, ChildStatus
from streamwarden.supervision._spec import ChildSpec
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
