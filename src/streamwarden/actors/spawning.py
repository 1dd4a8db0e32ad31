"""How a recorder comes to its next run: URL, audio, probe, and the pause after losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from streamwarden.actors.ports import CameraArchive, ReadTokens, SpawnOrder
from streamwarden.actors.respawn import Backoff, Losses, pause_s
from streamwarden.causes import Cause
from streamwarden.clock import Clock

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
