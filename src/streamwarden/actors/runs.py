"""A recorder's view of its runs: which of them live, which one stays, which may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from streamwarden.model import Cause


@dataclass(slots=True)
class RunView:
    """What the recorder knows of a run that lives.

    ``leaving`` once it has been asked to stop; ``outdated`` when it goes by a segment length or a
    clock that no longer holds.
    """

    run: int
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


class LiveRuns:
    """The runs that live: at most two, the second one during a make before break."""

    def __init__(self) -> None:
        self._views: dict[int, RunView] = {}

    def __len__(self) -> int:
        return len(self._views)

    @property
    def recording(self) -> bool:
        """Whether a run records and stays."""
        return any(view.recording and not view.leaving for view in self._views.values())

    @property
    def leaving(self) -> bool:
        """Whether a run is about to end because it was asked to."""
        return any(view.leaving for view in self._views.values())

    @property
    def outdated(self) -> bool:
        """Whether a run that stays should be replaced."""
        return any(view.outdated and not view.leaving for view in self._views.values())

    @property
    def replaceable(self) -> bool:
        """Whether a successor may be begun: none is on its way, and none is being replaced."""
        return not self._views or (len(self._views) == 1 and self.recording)

    def spawned(self, run: int) -> None:
        """A run has been ordered or found."""
        self._views.setdefault(run, RunView(run))

    def records(self, run: int) -> list[int]:
        """Note that a run records; return its predecessors, which may go now."""
        self.spawned(run)
        self._views[run].recording = True
        return self._leave(lambda view: view.run < run)

    def all_leave(self) -> list[int]:
        """Return the runs that have not yet been asked to stop; regard them as asked."""
        return self._leave(lambda _: True)

    def ended(self, run: int) -> bool:
        """Forget a run; return whether it was leaving."""
        view = self._views.pop(run, None)
        return view is not None and view.leaving

    def has_successor(self, run: int) -> bool:
        """Whether a later run is there, or on its way, and stays."""
        return any(view.run > run and not view.leaving for view in self._views.values())

    def holds_only(self, run: int) -> bool:
        """Whether ``run`` lives and no other one records."""
        return run in self._views and not any(
            view.recording for view in self._views.values() if view.run != run
        )

    def outdate(self, run: int | None = None) -> None:
        """A run, or every one, goes by what no longer holds."""
        for view in self._views.values():
            view.outdated = view.outdated or run in {None, view.run}

    def _leave(self, may_go: Callable[[RunView], bool]) -> list[int]:
        going = [view for view in self._views.values() if may_go(view) and not view.leaving]
        for view in going:
            view.leaving = True
        return [view.run for view in going]
