"""The time for which a run may be silent: by its camera's usual distance, and by the packets that arrive.

Pure functions and small states of numbers. A camera that sends a picture every ten seconds is not stalled
after eight; one whose next key frame is minutes away is not dead while packets come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

_REMEMBERED: Final = 9
_TIMES: Final = 2.5
"""So many usual distances may pass; the next picture is then overdue by more than one."""
MAX_SILENCE_S: Final = 60.0
MAX_WAIT_S: Final = 1800.0
"""Cameras leave up to ten minutes between key frames. A run that waits longer is replaced."""

_CONTROL_BYTES_A_S: Final = 30.0
"""RTCP reports of two tracks, and the answers to FFmpeg's keep-alives: no media."""
_PACKETS_BYTES: Final = 400.0
"""So many bytes more are at least a picture."""


@dataclass(slots=True)
class UsualSilence:
    """How long a camera is usually silent between two pictures; remembered across its runs."""

    _distances: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def add(self, distance_s: float) -> None:
        """Take in the time between two arrivals or two growths of a file."""
        self._distances.append(distance_s)

    @property
    def seconds(self) -> float:
        """Return the second largest of the last distances: one outlier is no habit. 0 if unknown."""
        if len(self._distances) < 2:  # noqa: PLR2004 - one is an outlier or none
            return 0.0
        return sorted(self._distances)[-2]


def silence_limit_s(setting_s: float, usual_s: float) -> float:
    """Return how long a file may not grow: ``setting_s``, or more for a camera of few pictures."""
    return max(setting_s, min(_TIMES * usual_s, MAX_SILENCE_S))


@dataclass(slots=True)
class Arrivals:
    """When packets have arrived for a run that has not recorded yet, by the bytes that FFmpeg has read."""

    usual: UsualSilence
    first_s: float | None = None
    last_s: float | None = None
    _read_bytes: int | None = None
    _at_s: float = 0.0
    _extra_bytes: float = 0.0

    @property
    def connected(self) -> bool:
        """Whether the server has answered: it has described the stream, at least."""
        return self._read_bytes is not None and self._read_bytes >= _PACKETS_BYTES

    def note(self, read_bytes: int, now: float) -> None:
        """Take in how much FFmpeg has read from its connection so far."""
        if self._read_bytes is not None and read_bytes >= self._read_bytes:
            control = _CONTROL_BYTES_A_S * (now - self._at_s)
            extra = self._extra_bytes + (read_bytes - self._read_bytes) - control
            self._extra_bytes = max(0.0, extra)
        else:
            # The description of the stream and the answers to SETUP and PLAY; or another connection.
            self._extra_bytes = 0.0
        self._read_bytes, self._at_s = read_bytes, now
        if self._extra_bytes >= _PACKETS_BYTES:
            self._extra_bytes = 0.0
            self._arrived(now)

    def postpone(self, by_s: float) -> None:
        """Leave out a time in which nobody looked."""
        self._at_s += by_s
        if self.last_s is not None:
            self.last_s += by_s

    def _arrived(self, now: float) -> None:
        if self.last_s is not None:
            self.usual.add(now - self.last_s)
        self.first_s = now if self.first_s is None else self.first_s
        self.last_s = now
