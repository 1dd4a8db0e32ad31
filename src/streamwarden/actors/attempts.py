"""A recorder's attempts at a run: one at a time, and an answer or a pause of an earlier one is void."""

from __future__ import annotations

from collections.abc import Callable

from streamwarden.actors.messages import RespawnDue, SpawnPrepared
from streamwarden.actors.ports import Scheduler, Workers
from streamwarden.actors.spawning import Spawning


class Attempts:
    """Counts attempts; every message that comes back names the one it belongs to."""

    def __init__(
        self,
        *,
        spawning: Spawning,
        callers: Workers,
        timers: Scheduler,
        tell: Callable[[object], None],
    ) -> None:
        self._spawning = spawning
        self._callers = callers
        self._timers = timers
        self._tell = tell
        self._number = 0
        self.preparing = False

    @property
    def begun(self) -> bool:
        """Whether there has been one."""
        return self._number > 0

    def prepare(self, segment_seconds: int) -> None:
        """Get a token and a run number; ``SpawnPrepared`` follows."""
        self._number += 1
        self.preparing = True
        number = self._number
        self._callers.run(
            self._spawning.preparation(segment_seconds),
            lambda result: self._tell(SpawnPrepared(number, result)),
        )

    def answered(self, prepared: SpawnPrepared) -> bool:
        """Return whether the answer is the one that is waited for."""
        current = prepared.attempt == self._number
        self.preparing = self.preparing and not current
        return current

    def wait(self, wait_s: float) -> None:
        """Begin a pause; ``RespawnDue`` follows."""
        self._number += 1
        due = RespawnDue(self._number)
        self._timers.after(wait_s, lambda: self._tell(due))

    def is_due(self, attempt: int) -> bool:
        """Return whether the pause that is over is the present one."""
        return attempt == self._number and not self.preparing
