"""Messages of the streaming role's actors, and what HTTP may ask of them.

Imperatives ask (``StartStream``), past participles report (``SegmentClosed``). Every report names the
run it speaks of; a report about a run that is no longer the actor's own is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.model import Cause, DesiredStream, LastSegment
from streamwarden.supervision import ActorRef, tell


class RecorderState(StrEnum):
    """What a recorder is doing, judged by its own output."""

    STARTING = "starting"
    """A run has been asked for and has not yet written media."""
    WAITING_FOR_KEY_FRAME = "waiting_for_key_frame"
    """A run receives packets, and has had no key frame yet with which a file can begin."""
    RUNNING = "running"
    """The open segment's file is growing."""
    STALLED = "stalled"
    """The run lives and its file no longer grows: it is being killed, or its disk does not answer."""
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


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A user's request behind a recorder's first incarnation: its URL, its id, its time (monotonic)."""

    url: str | None = field(default=None, repr=False)
    request_id: str | None = None
    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The desired state as the database had it at one moment, with the segment length that is set.

    ``gone`` are stopped cameras that no longer exist.
    """

    streams: tuple[DesiredStream, ...]
    segment_seconds: int
    gone: frozenset[UUID] = frozenset()


# Reports of the watcher to a recorder


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
class SegmentClosed:
    """FFmpeg's list says that a segment is complete."""

    segment: ClosedSegment


@dataclass(frozen=True, slots=True)
class RunStalled:
    """The run's file no longer grows; it is being killed."""

    run: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """Packets have arrived since ``since``, and no key frame with which a file can begin."""

    run: int
    since: datetime


@dataclass(frozen=True, slots=True)
class RunDiskHangs:
    """The disk does not answer; what the run wrote until ``since`` was seen on it."""

    run: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The machine's clock was set while the run went on by the old one."""

    run: int
    by_s: float


@dataclass(frozen=True, slots=True)
class ClockWasSet:
    """The machine's clock was set while a gap is open."""


@dataclass(frozen=True, slots=True)
class SegmentOverdue:
    """The run's file grows, but its segment does not come to its end."""

    run: int


@dataclass(frozen=True, slots=True)
class StampsJumped:
    """The camera's time stamps jumped ahead by so many seconds during a run."""

    run: int
    by_s: float


@dataclass(frozen=True, slots=True)
class SoundJudged:
    """The camera's sound flowed when the run began to record (or, while it listens, now), or did not."""

    order: RunOrder
    flows: bool


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run's process has ended."""

    run_exit: RunExit


@dataclass(frozen=True, slots=True)
class RunsAdopted:
    """All open events of the camera's runs have been repeated to this incarnation."""


# Answers of workers and timers to a recorder


@dataclass(frozen=True, slots=True)
class FolderOpened:
    """The camera's folder is open (``OpenedFolder``), or not (an exception)."""

    result: object


@dataclass(frozen=True, slots=True)
class SoundDue:
    """The pause before the sound is tried again is over."""


@dataclass(frozen=True, slots=True)
class SpawnPrepared:
    """A ``Prepared`` is ready, or an exception; ``attempt`` lets late answers be dropped."""

    attempt: int
    result: object


@dataclass(frozen=True, slots=True)
class SegmentStored:
    """The first segment in the queue is stored, or not.

    ``result`` is a ``StoredSegment``, None where a torn segment held nothing, or an exception.
    """

    result: object


@dataclass(frozen=True, slots=True)
class LedgerWritten:
    """The ledger could not be written, or ``final``, which ends the recorder, has been."""

    final: bool
    result: object


@dataclass(frozen=True, slots=True)
class RespawnDue:
    """A pause is over."""

    attempt: int


@dataclass(frozen=True, slots=True)
class RetryStore:
    """Store the first segment in the queue again, after a failure."""


# Requests to a recorder


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


# Messages to the manager


@dataclass(frozen=True, slots=True)
class StopStream:
    """Record this camera no longer. Harmless when repeated."""

    camera_id: UUID


@dataclass(frozen=True, slots=True)
class RestartStream:
    """Replace this camera's run by make before break; a parked recorder is started again."""

    camera_id: UUID


@dataclass(frozen=True, slots=True)
class DesiredRead:
    """The desired state as the database has it; ``asked_at_s`` is when reading began (monotonic)."""

    asked_at_s: float
    result: object


@dataclass(frozen=True, slots=True)
class ReconcileDue:
    """Time to compare what runs with the desired state."""


@dataclass(frozen=True, slots=True)
class ChildSettled:
    """A recorder has stopped: start it again if it is wanted after all, else forget it."""

    camera_id: UUID


class InboxListener:
    """Turns the watcher's callbacks into messages for one incarnation of a recorder."""

    def __init__(self, ref: ActorRef) -> None:
        self._ref = ref

    def spawned(self, run: int, at: datetime) -> None:
        """A process has been started."""
        tell(self._ref, RunSpawned(run, at))

    def recording(self, run: int, at: datetime) -> None:
        """The first fragment is on disk."""
        tell(self._ref, RunRecording(run, at))

    def segment_closed(self, segment: ClosedSegment) -> None:
        """A segment is complete."""
        tell(self._ref, SegmentClosed(segment))

    def stalled(self, run: int, at: datetime) -> None:
        """The file no longer grows."""
        tell(self._ref, RunStalled(run, at))

    def waiting(self, run: int, since: datetime) -> None:
        """Packets arrive, and no key frame."""
        tell(self._ref, RunWaiting(run, since))

    def disk_hangs(self, run: int, since: datetime) -> None:
        """The disk does not answer."""
        tell(self._ref, RunDiskHangs(run, since))

    def clock_stepped(self, run: int, by_s: float) -> None:
        """The machine's clock was set."""
        tell(self._ref, ClockStepped(run, by_s))

    def overdue(self, run: int) -> None:
        """The open segment should have ended long ago."""
        tell(self._ref, SegmentOverdue(run))

    def stamps_jumped(self, run: int, by_s: float) -> None:
        """The camera's time stamps jumped ahead."""
        tell(self._ref, StampsJumped(run, by_s))

    def sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        """The camera's sound flows, or does not."""
        tell(self._ref, SoundJudged(order, flows))

    def ended(self, run_exit: RunExit) -> None:
        """The process has ended."""
        tell(self._ref, RunEnded(run_exit))

    def adopted(self) -> None:
        """All open events have been repeated."""
        tell(self._ref, RunsAdopted())
