"""When the next FFmpeg follows a lost one, as pure functions of the cause and of how often it failed.

A respawn is ordinary life: it goes on for ever, with a capped, jittered, exponential pause that only a
closed segment resets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamwarden.causes import Cause

AT_ONCE: Final = {Cause.UNAUTHORIZED: 1, Cause.STARTING: 1, Cause.UNSUPPORTED_MEDIA: 2}
"""How often a run may follow at once, until one has recorded: a new token, a longer probe, or another
way with the audio (there are two) may be all that it takes."""

DISK: Final = frozenset({Cause.DISK_FULL, Cause.NOT_WRITABLE})
"""These wait for the disk: it is looked at every ``DISK_LOOK_S``, and nothing is spawned before."""

DISK_LOOK_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """``base_s`` doubles with each loss up to ``cap_s``; half of every pause is chance."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def pause_s(self, losses: int, chance: Callable[[], float]) -> float:
        """Return the pause after ``losses`` losses in a row; ``chance`` gives 0 to 1.

        0 losses mean a run that had recorded: its successor follows at once, for every second
        counts, and the spawning pace keeps many at once apart.
        """
        if losses <= 0:
            return 0.0
        full = min(self.cap_s, self.base_s * 2.0 ** min(losses - 1, 16))
        return full * (0.5 + 0.5 * chance())


def pause_s(
    cause: Cause, losses: Losses, *, backoff: Backoff, chance: Callable[[], float]
) -> float:
    """Return how long to wait after ``losses``, the last one for ``cause``."""
    if losses.may_follow_at_once(cause):
        return 0.0
    if cause in DISK:
        return min(DISK_LOOK_S, backoff.cap_s)
    return backoff.pause_s(losses.total, chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The losses since a run last recorded; ``total`` does not count the run that did.

    ``tried`` holds the causes of ``AT_ONCE`` that there have been, each once more than is allowed at
    most: two that take turns must not respawn without a pause for ever.
    """

    total: int = 0
    tried: tuple[Cause, ...] = ()

    def add(self, cause: Cause, *, recorded: bool) -> Losses:
        """Return the losses with one more, of a run that had ``recorded`` or not."""
        first = recorded and self.total == 0
        tried = (*self.tried, cause) if self.may_follow_at_once(cause) else self.tried
        return Losses(total=0 if first else self.total + 1, tried=tried)

    def may_follow_at_once(self, cause: Cause) -> bool:
        """Whether ``cause`` has not yet been met more often than it may be at once."""
        return self.tried.count(cause) <= AT_ONCE.get(cause, -1)
