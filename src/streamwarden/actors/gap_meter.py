"""The counter ``gap_seconds_total`` while gaps are open.

A gap ends where the first segment after it starts, which is known only when that segment is stored.
A counter cannot be taken back, so counting lags by 2 s, pauses once frames arrive again, and adds the
exact rest when the gap is closed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.recordings.gap_ledger import GapChange
from streamwarden.timers import Timers

_LAG_S: Final = 2.0
_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _Metered:
    camera: str
    cause: str
    started_at: datetime
    counted_s: float = 0.0
    until: datetime | None = None


class GapMeter:
    """Counts the seconds of all open gaps once a second. Any thread."""

    def __init__(self, *, metrics: RecordingMetrics, clock: Clock, timers: Timers) -> None:
        self._metrics = metrics
        self._clock = clock
        self._timers = timers
        self._open: dict[UUID, _Metered] = {}
        self._lock = threading.Lock()
        self._timer = timers.after(_EVERY_S, self._tick)

    def changed(self, camera_id: UUID, change: GapChange) -> None:
        """Count a gap that was opened, renamed or closed."""
        if change.remainder:
            return
        with self._lock:
            metered = self._open.setdefault(
                change.id, _Metered(str(camera_id), change.cause, change.started_at)
            )
            metered.cause = change.cause
            if change.ended_at is not None:
                del self._open[change.id]
                if not change.retracted:
                    self._count_to(metered, change.ended_at)

    def frames_again(self, camera_id: UUID, at: datetime) -> None:
        """Frames have arrived since ``at``: stop counting there unless the run is lost."""
        self._set_until(camera_id, at)

    def lost_again(self, camera_id: UUID) -> None:
        """The run was lost before it stored a segment: go on counting."""
        self._set_until(camera_id, None)

    def close(self) -> None:
        """Stop counting."""
        self._timer.cancel()

    def _set_until(self, camera_id: UUID, until: datetime | None) -> None:
        camera = str(camera_id)
        with self._lock:
            for metered in self._open.values():
                if metered.camera == camera:
                    metered.until = until

    def _tick(self) -> None:
        now = self._clock.now()
        with self._lock:
            for metered in self._open.values():
                self._count_to(metered, metered.until or now, lag_s=_LAG_S)
        self._timer = self._timers.after(_EVERY_S, self._tick)

    def _count_to(self, metered: _Metered, end: datetime, *, lag_s: float = 0.0) -> None:
        total_s = (end - metered.started_at).total_seconds() - lag_s
        if total_s > metered.counted_s:
            self._metrics.gap(metered.camera, metered.cause, total_s - metered.counted_s)
            metered.counted_s = total_s
