"""The choice of the way in which a camera's next run takes its sound.

The picture never waits for the sound. Sound that only has to be copied is part of a run from its
beginning, until a run finds it silent, or a file has none. All other sound joins by make before break: a
run that listens has heard it, and goes on until its successor records. What fails is tried again after a
pause that doubles, so a microphone that comes and goes causes no stream of runs. Pure: times are given.
"""

from __future__ import annotations

from typing import Final

from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.model import Cause

PAUSE_S: Final = 15.0


LONGEST_PAUSE_S: Final = 900.0


_SETTLED_S: Final = 600.0
"""Sound that was recorded for so long has not failed: the pauses begin anew."""


_SUSPECT: Final = frozenset(
    {Cause.UNSUPPORTED_MEDIA, Cause.TIMEOUT, Cause.STALLED, Cause.FFMPEG_CRASHED, Cause.INTERNAL}
)
"""Causes of a run's loss that its sound may have had."""


_WITH_SOUND: Final = frozenset({SoundWay.COPY, SoundWay.AAC})


class SoundPlan:
    """What is known of one camera's sound."""

    def __init__(self) -> None:
        self.tracks: StreamTracks | None = None
        """What the stream held when it was last described."""
        self._flows: bool | None = None
        self._copied = True
        """Whether MP4 takes the sound as it is, as far as is known."""
        self._alone = False
        """Whether a run on its own does not even listen: the last one that did recorded nothing."""
        self._failures = 0
        self._again_s = 0.0
        self._listen_again_s = 0.0
        """Until then a run whose sound has stopped is kept: one that was to replace it was lost."""
        self._joined_s: float | None = None

    @property
    def _wanted(self) -> SoundWay:
        way = SoundWay.NONE if self.tracks is None else self.tracks.sound_way
        return SoundWay.AAC if way is SoundWay.COPY and not self._copied else way

    def described(self, tracks: StreamTracks | None) -> None:
        """Take in what the stream holds; None where it was not described."""
        self.tracks = tracks or self.tracks

    def way(self, now: float, *, beside: bool) -> SoundWay:
        """Return the way of a run that begins now; ``beside`` one that records meanwhile."""
        wanted = self._wanted
        if wanted is SoundWay.NONE or (self._alone and not beside):
            return SoundWay.NONE
        safe = beside or wanted is SoundWay.COPY
        known = self._flows is True or (wanted is SoundWay.COPY and self._flows is None)
        if safe and known and now >= self._again_s:
            return wanted
        if self._flows:
            self._flows = None  # the run that begins has to hear it
        return SoundWay.LISTEN

    def recording(self, way: SoundWay, now: float) -> None:
        """Take in that a run of this way has begun to record."""
        if way is SoundWay.LISTEN:
            self._alone = False
        elif self.tracks is None:
            self._failed(now)

    def judged(self, way: SoundWay, now: float, *, flows: bool) -> None:
        """Take in whether sound flows in a run of this way."""
        self._flows = flows
        if way in _WITH_SOUND:
            if flows:
                self._joined_s = now
            else:
                self._failed(now)

    def silent(self, way: SoundWay, now: float) -> bool:
        """Take in that such a run wrote a file without sound; return whether its sound has stopped."""
        stopped = way in _WITH_SOUND and self._flows is True
        if stopped:
            self.judged(way, now, flows=False)
        return stopped

    def lost(
        self, way: SoundWay, cause: Cause, now: float, *, recorded: bool, beside: bool
    ) -> None:
        """Take in the loss of a run that had ``recorded`` or not, ``beside`` one that goes on or not."""
        if way is SoundWay.LISTEN and not recorded:
            self._listen_again_s = now + PAUSE_S
        if cause not in _SUSPECT:
            return
        if way in _WITH_SOUND and (not recorded or cause is Cause.FFMPEG_CRASHED):
            # Beside it the predecessor still listens; what that has heard stands.
            self._flows = self._flows if beside else False
            if cause is Cause.UNSUPPORTED_MEDIA and way is SoundWay.COPY:
                self._copied = False
            elif recorded or beside:
                self._failed(now)
        elif way is SoundWay.LISTEN and not recorded:
            self._alone = True
            self._failed(now)
        elif way is SoundWay.NONE and not recorded:
            self._alone = False

    def wait_s(self, way: SoundWay, now: float) -> float | None:
        """Return when a run of this way is to be replaced, in seconds from now; None: it is not."""
        wait_s = max(0.0, self._again_s - now)
        if way in _WITH_SOUND:
            return max(0.0, self._listen_again_s - now) if self._flows is False else None
        if self._wanted is SoundWay.NONE and self.tracks is not None:
            return None
        return wait_s if way is SoundWay.NONE or self._flows else None

    def _failed(self, now: float) -> None:
        if self._joined_s is not None and now - self._joined_s > _SETTLED_S:
            self._failures = 0
        self._joined_s = None
        self._again_s = now + min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
