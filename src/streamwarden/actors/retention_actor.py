"""The RetentionActor: deletes what is too old or too much, oldest first, so that recording goes on.

It only keeps the pace; what is deleted, and in which order of steps, is the sweeper's business, which
blocks and so works in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


SWEEP_EVERY_S: Final = 5.0


AFTER_FAILURE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class SweepDue:
    """It is time to look again."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep is over: whether there is more to do (a bool), or why it failed."""

    result: object


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionDeps:
    """What the actor works with. ``sweep`` blocks; True means that there is more to delete."""

    sweep: Callable[[], bool]
    workers: WorkerPool
    timers: Timers


class RetentionActor(SupervisedActor):
    """One sweep at a time; at once again while there is more to do."""

    def __init__(self, *, link: Link, deps: RetentionDeps) -> None:
        super().__init__(link=link)
        self._deps = deps

    def init(self) -> None:
        """Sweep at the start: a deletion that a crash has cut in half is carried through."""
        self._tell_self(SweepDue())

    def receive(self, message: object) -> object:
        """Handle the clock and the end of a sweep."""
        match message:
            case SweepDue():
                self._deps.workers.run(
                    self._deps.sweep, lambda result: self._tell_self(Swept(result))
                )
            case Swept(result):
                self._swept(result)
            case _:
                return super().receive(message)
        return None

    def _swept(self, result: object) -> None:
        if isinstance(result, Exception):
            log.warning("retention_failed", error=str(result), again_in_s=AFTER_FAILURE_S)
        pause_s = AFTER_FAILURE_S if isinstance(result, Exception) else SWEEP_EVERY_S
        self._deps.timers.after(0.0 if result is True else pause_s, self._due)

    def _due(self) -> None:
        self._tell_self(SweepDue())
