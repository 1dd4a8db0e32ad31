"""What the actors need of the world, as Protocols; the composition root brings the real things.

Everything that blocks (disk, token, SQL) is called in a worker thread, never in an actor.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from streamwarden.actors.messages import LastSegment
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import GapChange, Ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOrder:
    """What a run needs to begin; ``audio`` is ``copy``, ``aac`` or ``none``."""

    run: int
    url: str
    segment_seconds: int
    folder: Path
    audio: str
    probe_s: float

    def __repr__(self) -> str:
        return f"SpawnOrder(run={self.run})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSegment:
    """A segment that FFmpeg has finished with, still in ``.live``.

    ``torn`` when no line said so; ``started_at`` None means its media's length before its end.
    """

    run: int
    number: int
    started_at: datetime | None
    ended_at: datetime
    torn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """A segment in its final place, with its row in the journal."""

    started_at: datetime
    ended_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFolder:
    """A camera's folder as found at the start of its recorder.

    ``first_time`` since the server's start; ``alive_until`` is when the server before this one was
    last known to be alive. ``rebuilt`` when the ledger could not be read, after a loss of power for
    instance: it then reaches to the end of the last stored segment, whoever wanted that.
    """

    ledger: Ledger
    last_segment: LastSegment | None
    last_run: int
    first_time: bool
    alive_until: datetime | None
    rebuilt: bool = False


class CannotStore(Exception):
    """A segment, a folder or the ledger could not be written; nothing is lost, try again."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class CameraArchive(Protocol):
    """One camera's files. Blocking: call it in a worker thread."""

    def open(self, live_runs: Collection[int]) -> OpenedFolder:
        """Make the folder, store what earlier runs have left, and read the ledger.

        Raises:
            CannotStore: the disk refuses.
        """

    def books(self) -> Ledger:
        """Read the ledger, and touch nothing.

        Raises:
            CannotStore: the disk refuses.
        """

    def next_run(self) -> tuple[Path, int]:
        """Return the folder to record in and the next run's number, already noted on disk.

        Raises:
            CannotStore: the disk refuses.
        """

    def store(self, segment: FinishedSegment) -> StoredSegment | None:
        """Sync, rename and journal a segment; None when a torn one holds no whole fragment.

        Raises:
            CannotStore: the disk refuses.
        """

    def note(self, ledger: Ledger, changes: Sequence[GapChange]) -> None:
        """Write the ledger and hand changed gaps to the journal.

        Raises:
            CannotStore: the disk refuses.
        """


class CameraRuns(Protocol):
    """What the holder of a camera may do with its runs."""

    def stop(self, run: int) -> None:
        """End a run in order; its end is told."""

    def settled(self, run: int, number: int) -> None:
        """A listed segment need not be told again."""

    def forget(self, run: int) -> None:
        """An ended run has been dealt with."""

    def spawn(self, order: SpawnOrder) -> None:
        """Start a run."""


class ReadTokens(Protocol):
    """Where a respawn gets a URL with a fresh token. Blocking: call it in a worker thread."""

    def fetch(self, camera_id: UUID) -> str:
        """Return the RTSP URL to read from.

        Raises:
            CannotRead: none can be had.
        """


class CannotRead(Exception):
    """No read token: the API is away, or says that this camera is not to be recorded."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def reason(error: object) -> tuple[Cause, str]:
    """Return the cause that an error of these ports carries, and its text; others are our defect."""
    if isinstance(error, CannotStore | CannotRead):
        return error.cause, str(error)
    return Cause.INTERNAL, f"{type(error).__name__}: {error}"[:300]


class RecordingInstruments(Protocol):
    """The metrics that recorders move."""

    def state(self, camera: str, state: str) -> None:
        """The recorder's state is now this one."""

    def respawned(self, camera: str, cause: str) -> None:
        """A lost run is being replaced."""

    def first_segment(self, seconds: float) -> None:
        """So long after the wish the first segment was stored."""

    def gap(self, camera: str, cause: str, seconds: float) -> None:
        """So many more seconds are missing."""

    def camera_added(self, camera: str) -> None:
        """This camera's counters begin at 0."""

    def forget(self, camera: str) -> None:
        """This camera's series go."""
