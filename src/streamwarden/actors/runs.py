"""A recorder's runs: which are alive, which one stays, which may go.

There are at most two: the second one during a make-before-break.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamwarden.clock import ClockLine
from streamwarden.model import Cause


@dataclass(slots=True)
class LiveRun:
    """One live run.

    ``leaving`` once it has been asked to stop; ``outdated`` when it uses a segment length, a clock or
    a header that no longer holds.
    """

    number: int
    recording: bool = False
    leaving: bool = False
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost run; ``covered`` when another one was recording and stayed.

    ``asked`` when the run was asked to stop, but not by this incarnation.
    """

    cause: Cause
    at: datetime
    covered: bool
    asked: bool = False
    run: int | None = None
    line: ClockLine | None = None
    """The clock of ``at``."""


class LiveRuns:
    """The live runs of one recorder, by number."""

    def __init__(self) -> None:
        self._runs: dict[int, LiveRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def newest(self) -> int:
        """The highest number of a live run, 0 for none."""
        return max(self._runs, default=0)

    @property
    def recording(self) -> bool:
        """Whether a run records and stays."""
        return any(run.recording and not run.leaving for run in self._runs.values())

    @property
    def staying(self) -> int | None:
        """The newest run that records and stays, None if there is none."""
        numbers = [run.number for run in self._runs.values() if run.recording and not run.leaving]
        return max(numbers, default=None)

    @property
    def leaving(self) -> bool:
        """Whether a run is about to end because it was asked to."""
        return any(run.leaving for run in self._runs.values())

    @property
    def outdated(self) -> bool:
        """Whether a run that stays should be replaced."""
        return any(run.outdated and not run.leaving for run in self._runs.values())

    @property
    def replaceable(self) -> bool:
        """Whether a successor may start: none is on its way, and none is being replaced."""
        return not self._runs or (len(self._runs) == 1 and self.recording)

    def spawned(self, number: int) -> None:
        """Add a run that has been ordered or found."""
        self._runs.setdefault(number, LiveRun(number))

    def records(self, number: int) -> list[int]:
        """Note that a run records; return its predecessors, which may go now."""
        self.spawned(number)
        self._runs[number].recording = True
        return self._leave([run for run in self._runs.values() if run.number < number])

    def all_leave(self) -> list[int]:
        """Return the runs that have not yet been asked to stop; regard them as asked."""
        return self._leave(list(self._runs.values()))

    def ended(self, number: int) -> bool:
        """Remove a run; return whether it was leaving."""
        run = self._runs.pop(number, None)
        return run is not None and run.leaving

    def has_successor(self, number: int) -> bool:
        """Whether a later run is there, or on its way, and stays."""
        return any(run.number > number and not run.leaving for run in self._runs.values())

    def stays(self, number: int) -> bool:
        """Whether the run lives and has not been asked to stop."""
        run = self._runs.get(number)
        return run is not None and not run.leaving

    def holds_only(self, number: int) -> bool:
        """Whether the run lives and no other one records."""
        return number in self._runs and not any(
            run.recording for run in self._runs.values() if run.number != number
        )

    def outdate(self, number: int | None = None) -> None:
        """Mark a run, or (None) every one, as outdated."""
        for run in self._runs.values():
            run.outdated = run.outdated or number in {None, run.number}

    def _leave(self, runs: list[LiveRun]) -> list[int]:
        going = [run for run in runs if not run.leaving]
        for run in going:
            run.leaving = True
        return [run.number for run in going]
