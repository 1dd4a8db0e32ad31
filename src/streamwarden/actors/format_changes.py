"""Whether a run must be replaced because the camera's parameter sets have changed in mid-stream.

FFmpeg writes the header that it began with into all files of a run. A new run reads the session
description anew, and its header is right, if the media server has the new parameter sets there. Some
cameras describe other sets than they send, for ever: for those a new run changes nothing.
"""

from __future__ import annotations

from typing import Final

from streamwarden.mp4.formats import SetsAtEnd

_AT_ONCE: Final = 3

_ONE_IN_S: Final = 60.0
"""A camera that changes for ever is replaced so often: three times at once, then once a minute."""

_REMEMBERED: Final = 64


class FormatChanges:
    """The changes of one camera's parameter sets. Pure; ``now_s`` is the monotonic clock.

    A set that a new run did not get into its header is not tried again, until a run has a right header.
    """

    def __init__(self) -> None:
        self._tried: dict[bytes, int] = {}
        """By fingerprint, the run that was to be replaced."""
        self._tokens = float(_AT_ONCE)
        self._filled_at_s: float | None = None

    def replaces(self, run: int, seen: SetsAtEnd, now_s: float) -> bool:
        """Take what a segment of ``run`` ends with; return whether the run is to be replaced."""
        if seen.in_header:
            self._tried = {sets: at for sets, at in self._tried.items() if at >= run}
            return False
        if seen.fingerprint in self._tried or not self._spend(now_s):
            return False
        if len(self._tried) >= _REMEMBERED:
            del self._tried[next(iter(self._tried))]
        self._tried[seen.fingerprint] = run
        return True

    def _spend(self, now_s: float) -> bool:
        if self._filled_at_s is not None:
            self._tokens += (now_s - self._filled_at_s) / _ONE_IN_S
        self._filled_at_s = now_s
        self._tokens = min(self._tokens, float(_AT_ONCE))
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
