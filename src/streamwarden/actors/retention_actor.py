"""The RetentionActor: when retention sweeps, so that recording goes on.

It only keeps the pace. What is deleted, and in which order of steps, is in ``recordings.retention``,
which blocks and so works in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from streamwarden.errors import in_full
from streamwarden.supervision import Link, SupervisedActor
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


SWEEP_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class SweepDue:
    """Time for the next sweep."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep has ended: whether there is more to delete (a bool), or an exception."""

    result: object


class RetentionActor(SupervisedActor):
    """One sweep at a time; the next one at once while there is more to delete.

    ``sweep`` blocks; it returns whether there is more to delete.
    """

    def __init__(
        self, *, link: Link, sweep: Callable[[], bool], workers: WorkerPool, timers: Timers
    ) -> None:
        super().__init__(link=link)
        self._sweep = sweep
        self._workers = workers
        self._timers = timers
        self._failure = ""

    def init(self) -> None:
        """Sweep at the start: a deletion that a crash interrupted is completed."""
        self._tell_self(SweepDue())

    def receive(self, message: object) -> object:
        """Handle the timer and the end of a sweep."""
        match message:
            case SweepDue():
                self._workers.run(self._sweep, lambda result: self._tell_self(Swept(result)))
            case Swept(result):
                self._swept(result)
            case _:
                return super().receive(message)
        return None

    def _swept(self, result: object) -> None:
        failure = in_full(result) if isinstance(result, Exception) else ""
        if failure and failure != self._failure:
            log.warning("retention_failed", error=failure, again_in_s=SWEEP_EVERY_S)
        elif self._failure and not failure:
            log.info("retention_recovered")
        self._failure = failure
        # Also after a failure: meanwhile the disk may have come to its reserve.
        self._timers.after(0.0 if result is True else SWEEP_EVERY_S, self._due)

    def _due(self) -> None:
        self._tell_self(SweepDue())
