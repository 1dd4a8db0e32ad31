"""When the next FFmpeg follows a lost one, as pure functions of the cause and of how often it failed.

A respawn is ordinary life: it goes on for ever, with a capped, jittered, exponential pause that only a
closed segment resets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamwarden.causes import Cause

AT_ONCE: Final = frozenset(
    # A new token, another way with the audio, or a longer probe may be all that it takes.
    {Cause.UNAUTHORIZED, Cause.UNSUPPORTED_MEDIA, Cause.STARTING}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """``base_s`` doubles with each loss up to ``cap_s``; half of every pause is chance."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def pause_s(self, losses: int, chance: Callable[[], float]) -> float:
        """Return the pause after ``losses`` losses in a row; ``chance`` gives 0 to 1.

        The first respawn follows at once: every second counts, and the spawning pace keeps many at
        once apart.
        """
        if losses <= 1:
            return 0.0
        full = min(self.cap_s, self.base_s * 2.0 ** min(losses - 2, 16))
        return full * (0.5 + 0.5 * chance())


def pause_s(
    cause: Cause, *, losses: int, same: int, backoff: Backoff, chance: Callable[[], float]
) -> float:
    """Return how long to wait; ``same`` counts the losses in a row for this very cause."""
    if cause in AT_ONCE and same <= 1:
        return 0.0
    return backoff.pause_s(losses, chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The losses in a row since the last closed segment."""

    total: int = 0
    same: int = 0
    cause: Cause | None = None

    def add(self, cause: Cause) -> Losses:
        """Return the losses with one more."""
        same = self.same + 1 if cause is self.cause else 1
        return Losses(total=self.total + 1, same=same, cause=cause)
