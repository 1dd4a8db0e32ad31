"""How a recorder comes to its next run: URL, audio, probe, and the pause after losses.

When the next FFmpeg follows a lost one, as pure functions of the cause and of how often it failed.

A respawn is ordinary life: it goes on for ever, with a capped, jittered, exponential pause that only a
closed segment resets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from streamwarden.actors.ports import CameraArchive, ReadTokens, SpawnOrder
from streamwarden.clock import Clock
from streamwarden.model import Cause

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


FRESH_FOR_S: Final = 20.0
"""A token that ends sooner than this is not worth a spawn."""


PROBE_S: Final = 1.0
"""How long FFmpeg probes: 0.1 s failed one start in six with "dimensions not set"."""


PROBE_LONGER_S: Final = 5.0


AUDIO_WAYS: Final = ("copy", "aac", "none")
"""What is tried with the sound, in this order, until MP4 takes it."""


class Spawning:
    """What the next run is to be like. Only ``preparation``'s result runs in a worker thread."""

    def __init__(
        self,
        *,
        camera_id: UUID,
        archive: CameraArchive,
        tokens: ReadTokens,
        token_expiry: Callable[[str], float | None],
        clock: Clock,
        backoff: Backoff,
        chance: Callable[[], float],
    ) -> None:
        self._camera_id = camera_id
        self._archive = archive
        self._tokens = tokens
        self._token_expiry = token_expiry
        self._clock = clock
        self._backoff = backoff
        self._chance = chance
        self._url: str | None = None
        self._losses = Losses()
        self._rested = True
        self._audio = 0
        self._probe_s = PROBE_S

    def offer(self, url: str | None) -> None:
        """Keep a URL whose token may serve the next spawn."""
        self._url = url or self._url

    def preparation(self, segment_seconds: int) -> Callable[[], SpawnOrder]:
        """Return what a worker is to do before a spawn: a fresh token, a run number."""
        offered, self._url = self._usable(self._url), None
        audio, probe_s = AUDIO_WAYS[self._audio], self._probe_s
        camera_id, tokens, archive = self._camera_id, self._tokens, self._archive

        def prepare() -> SpawnOrder:
            url = offered or tokens.fetch(camera_id)
            folder, run = archive.next_run()
            return SpawnOrder(
                run=run,
                url=url,
                segment_seconds=segment_seconds,
                folder=folder,
                audio=audio,
                probe_s=probe_s,
            )

        return prepare

    def lost(self, cause: Cause, *, recorded: bool) -> float:
        """Learn from the loss of a run that had ``recorded`` or not; return the pause in seconds."""
        self._losses = self._losses.add(cause, recorded=recorded and self._rested)
        self._rested = False
        if cause is Cause.UNSUPPORTED_MEDIA:
            self._audio = min(self._audio + 1, len(AUDIO_WAYS) - 1)
        elif cause is Cause.STARTING:
            self._probe_s = PROBE_LONGER_S
        return pause_s(cause, self._losses, backoff=self._backoff, chance=self._chance)

    def recorded(self) -> None:
        """A run has closed a segment: the pause begins anew."""
        self._losses = Losses()
        self._rested = True

    def _usable(self, url: str | None) -> str | None:
        if url is None:
            return None
        expiry = self._token_expiry(url)
        if expiry is not None and expiry - self._clock.now().timestamp() < FRESH_FOR_S:
            return None
        return url
