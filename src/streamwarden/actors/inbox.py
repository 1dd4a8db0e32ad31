"""A recorder's ear: the watching thread's calls become messages in its inbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import pykka

from streamwarden.actors.messages import (
    ClockStepped,
    OpenTail,
    RunEnded,
    RunRecording,
    RunsAdopted,
    RunSpawned,
    RunStalled,
    SegmentListed,
    SegmentOverdue,
)
from streamwarden.causes import Cause
from streamwarden.supervision import tell


class Finished(Protocol):
    """A segment with its times, as the watcher reports it."""

    @property
    def number(self) -> int:
        """Its number in the run, from 0."""

    @property
    def started_at(self) -> datetime:
        """When it began, by the run's clock."""

    @property
    def ended_at(self) -> datetime:
        """When it ended."""


class End(Protocol):
    """A run's end, as the watcher reports it."""

    @property
    def at(self) -> datetime:
        """When it was seen."""

    @property
    def cause(self) -> Cause | None:
        """Why; None when it was asked to."""

    @property
    def message(self) -> str:
        """The same for people."""

    @property
    def recorded(self) -> bool:
        """Whether it had written media."""

    @property
    def tail(self) -> Finished | None:
        """The segment that was open."""


class RunInbox:
    """Tells one incarnation of a recorder what its runs do; one that has ended misses nothing."""

    def __init__(self, ref: pykka.ActorRef[Any]) -> None:
        self._ref = ref

    def spawned(self, run: int, at: datetime) -> None:
        """A process has been started."""
        tell(self._ref, RunSpawned(run, at))

    def recording(self, run: int, at: datetime) -> None:
        """The first fragment is on disk."""
        tell(self._ref, RunRecording(run, at))

    def listed(self, run: int, segment: Finished) -> None:
        """A segment is complete."""
        tell(self._ref, SegmentListed(run, segment.number, segment.started_at, segment.ended_at))

    def stalled(self, run: int, at: datetime) -> None:
        """The file no longer grows."""
        tell(self._ref, RunStalled(run, at))

    def clock_stepped(self, run: int, by_s: float) -> None:
        """The machine's clock was set."""
        tell(self._ref, ClockStepped(run, by_s))

    def overdue(self, run: int) -> None:
        """The open segment should have ended long ago."""
        tell(self._ref, SegmentOverdue(run))

    def ended(self, run: int, end: End) -> None:
        """The process has ended."""
        message = RunEnded(
            run=run,
            at=end.at,
            cause=end.cause,
            message=end.message,
            recorded=end.recorded,
            tail=_open_tail(end.tail),
        )
        tell(self._ref, message)

    def adopted(self) -> None:
        """Everything known has been told."""
        tell(self._ref, RunsAdopted())


def _open_tail(tail: Finished | None) -> OpenTail | None:
    if tail is None:
        return None
    return OpenTail(number=tail.number, started_at=tail.started_at, ended_at=tail.ended_at)
