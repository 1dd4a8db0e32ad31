"""What the actors of the streaming role tell each other, and what the world may ask of them.

Imperatives ask (``StartStream``), past participles report (``SegmentListed``). Every report names the
run it speaks of; a report about a run that is no longer the actor's own is dropped.


A recorder's ear: the watching thread's calls become messages in its inbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import pykka

from streamwarden.model import Cause
from streamwarden.supervision import tell


class RecorderState(StrEnum):
    """What a recorder is doing, judged by its own output."""

    STARTING = "starting"
    """A run has been asked for and has not yet written media."""
    RUNNING = "running"
    """The open segment's file is growing."""
    STALLED = "stalled"
    """The run lives and its file no longer grows; it is being killed."""
    BACKOFF = "backoff"
    """No run; the next one follows after a pause."""
    STOPPING = "stopping"
    """Asked to stop; the last segment is being finished."""
    STOPPED = "stopped"
    """Nothing is wanted."""
    PARKED = "parked"
    """The actor has crashed too often; tried again once an hour, or by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """Why the last run ended, or why none could start."""

    cause: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSegment:
    """The newest segment on disk."""

    started_at: datetime
    ended_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One camera's recording as the HTTP contract shows it.

    ``run`` counts the camera's FFmpeg lives from 1 (0: none yet), ``respawns`` those that followed a
    loss, ``respawn_causes`` the same by what was lost to (not in the contract, for operators alone).
    ``segment_seconds`` is None where nothing was ever wanted.
    """

    camera_id: UUID
    status: RecorderState
    since: datetime
    run: int = 0
    respawns: int = 0
    respawn_causes: Mapping[Cause, int] = field(default_factory=dict, hash=False)
    restarts: int = 0
    segment_seconds: int | None = None
    last_error: LastError | None = None
    next_retry_at: datetime | None = None
    last_segment: LastSegment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStream:
    """Record this camera from now on. Harmless when repeated: a new URL is kept for the next spawn.

    ``rtsp_url`` holds a short-lived read token, so it stays out of the repr.
    """

    camera_id: UUID
    owner: str
    rtsp_url: str | None
    segment_seconds: int
    request_id: str | None = None

    def __repr__(self) -> str:
        return f"StartStream(camera_id={self.camera_id}, segment_seconds={self.segment_seconds})"


# What a recorder is told about its runs


@dataclass(frozen=True, slots=True)
class RunSpawned:
    """A process has been started."""

    run: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RunRecording:
    """The run's first fragment is on disk."""

    run: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SegmentListed:
    """FFmpeg's list says that a segment is complete."""

    run: int
    number: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RunStalled:
    """The run's file no longer grows; it is being killed."""

    run: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The machine's clock was set while the run went on by the old one."""

    run: int
    by_s: float


@dataclass(frozen=True, slots=True)
class SegmentOverdue:
    """The run's file grows, but its segment does not come to its end."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTail:
    """The segment that was open when a run ended."""

    number: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run's process has ended; ``cause`` is None when it was asked to.

    ``recorded`` when it had written media.
    """

    run: int
    at: datetime
    cause: Cause | None
    message: str
    recorded: bool
    tail: OpenTail | None


@dataclass(frozen=True, slots=True)
class RunsAdopted:
    """All that was known of the camera's runs has been told."""


# What a recorder's workers answer


@dataclass(frozen=True, slots=True)
class FolderOpened:
    """The camera's folder is there and its ledger read, or not (``CannotStore``)."""

    result: object


@dataclass(frozen=True, slots=True)
class SpawnPrepared:
    """A token and a run number are there, or not; ``attempt`` fences late answers."""

    attempt: int
    result: object


@dataclass(frozen=True, slots=True)
class SegmentStored:
    """The first segment in line is in its place (None: a torn one held nothing), or not."""

    result: object


@dataclass(frozen=True, slots=True)
class LedgerNoted:
    """The ledger has been written, or not; ``final`` ends the recorder."""

    final: bool
    result: object


@dataclass(frozen=True, slots=True)
class RespawnDue:
    """A pause is over."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StoreAgain:
    """Try once more to store the first segment in line, which the disk has refused."""


# What a recorder is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStream:
    """A new URL for the next spawn, a new segment length by make before break."""

    rtsp_url: str | None = field(repr=False)
    segment_seconds: int


@dataclass(frozen=True, slots=True)
class RestartRun:
    """Replace the run by make before break: no gap."""


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Nothing is wanted any more; a ``Shutdown`` follows."""

    at: datetime


# What the manager is asked


@dataclass(frozen=True, slots=True)
class StopStream:
    """Record this camera no longer. Harmless when repeated."""

    camera_id: UUID


@dataclass(frozen=True, slots=True)
class RestartStream:
    """Replace this camera's run by make before break; a parked recorder is started again."""

    camera_id: UUID


@dataclass(frozen=True, slots=True)
class WishesRead:
    """The wishes as the database has them; ``asked_at_s`` is when reading began (monotonic)."""

    asked_at_s: float
    result: object


@dataclass(frozen=True, slots=True)
class ReconcileDue:
    """It is time to compare with the wishes."""


@dataclass(frozen=True, slots=True)
class ChildSettled:
    """A recorder has stopped: start it again if it is wanted after all, else forget it."""

    camera_id: UUID


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
