"""The counter ``gap_seconds_total`` while gaps are open.

A gap ends where the first segment after it starts, which is known only when that segment is stored.
A counter cannot be taken back, so counting lags by 2 s, pauses once frames arrive again, and adds the
exact rest when the gap is closed.

No clock that is set moves the counter: an open gap is counted by the monotonic clock, ``clock_step`` is
no loss and not counted, and a gap that is heard of late, after a start, counts a day at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock
from streamwarden.ffmpeg.run import wall_offset_s
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause
from streamwarden.recordings.gap_ledger import GapChange
from streamwarden.timers import Timers

_LAG_S: Final = 2.0
_EVERY_S: Final = 1.0

_BEFORE_AT_MOST_S: Final = 86_400.0
"""An outage of the server is dated by two clocks, one of which may be wrong."""

_STEP_S: Final = 0.5


@dataclass(slots=True)
class _Metered:
    camera: str
    cause: str
    started_at: datetime
    before_s: float
    """Its seconds until it was heard of."""
    heard_s: float
    counted_s: float = 0.0
    until_s: float | None = None

    def lasted_s(self, monotonic_s: float) -> float:
        return self.before_s + monotonic_s - self.heard_s


class GapMeter:
    """Counts the seconds of all open gaps once a second. Any thread."""

    def __init__(self, *, metrics: RecordingMetrics, clock: Clock, timers: Timers) -> None:
        self._metrics = metrics
        self._clock = clock
        self._timers = timers
        self._open: dict[UUID, _Metered] = {}
        self._offset_s = wall_offset_s(clock)
        self._retracted: tuple[UUID, _Metered] | None = None
        """The gap that was retracted last: the next change may continue it."""
        self._clock_watchers: dict[UUID, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._timer = timers.after(_EVERY_S, self._tick)

    def changed(self, camera_id: UUID, change: GapChange) -> None:
        """Count a gap that was opened, renamed or closed."""
        if change.remainder or change.cause is Cause.CLOCK_STEP:
            return
        with self._lock:
            metered = self._open.get(change.id) or self._heard(camera_id, change)
            metered.cause = change.cause
            if change.ended_at is not None:
                del self._open[change.id]
                if not change.retracted:
                    self._end(metered, change.ended_at)
                else:
                    self._retracted = (change.id, metered)

    def continued(self, known_as: UUID, gap: GapChange) -> None:
        """Go on counting a gap under its own id, which was opened before the ledger could be read."""
        with self._lock:
            if (metered := self._open.pop(known_as, None)) is not None:
                metered.started_at = gap.started_at
                self._open[gap.id] = metered

    def frames_again(self, camera_id: UUID, at: datetime) -> None:
        """Frames have arrived since ``at``: stop counting there unless the run is lost."""
        self._set_until(camera_id, at)

    def lost_again(self, camera_id: UUID) -> None:
        """The run was lost before it stored a segment: go on counting."""
        self._set_until(camera_id, None)

    def watch_clock(self, camera_id: UUID, call: Callable[[], None] | None) -> None:
        """Call ``call`` when the clock was set while a gap of the camera is open; None ends that."""
        with self._lock:
            if call is None:
                self._clock_watchers.pop(camera_id, None)
            else:
                self._clock_watchers[camera_id] = call

    def close(self) -> None:
        """Stop counting."""
        self._timer.cancel()

    def _set_until(self, camera_id: UUID, until: datetime | None) -> None:
        camera = str(camera_id)
        with self._lock:
            ago_s = 0.0 if until is None else (self._clock.now() - until).total_seconds()
            for metered in self._open.values():
                if metered.camera == camera:
                    lasted_s = metered.lasted_s(self._clock.monotonic())
                    metered.until_s = None if until is None else lasted_s - ago_s

    def _tick(self) -> None:
        now_s, offset_s = self._clock.monotonic(), wall_offset_s(self._clock)
        calls: list[Callable[[], None]] = []
        with self._lock:
            for metered in self._open.values():
                lasted_s = metered.lasted_s(now_s)
                if metered.until_s is not None:
                    lasted_s = min(lasted_s, metered.until_s)
                self._count_to(metered, lasted_s - _LAG_S)
            if abs(offset_s - self._offset_s) > _STEP_S:
                self._offset_s = offset_s
                waiting = {metered.camera for metered in self._open.values()}
                watchers = self._clock_watchers.items()
                calls = [call for camera_id, call in watchers if str(camera_id) in waiting]
        for call in calls:
            call()
        self._timer = self._timers.after(_EVERY_S, self._tick)

    def _heard(self, camera_id: UUID, change: GapChange) -> _Metered:
        """Begin to count a gap, or go on with the one that it continues."""
        gap_id, before = self._retracted or (None, None)
        if before is not None and change.continues == gap_id:
            metered = replace(before, started_at=change.started_at)
        else:
            ago_s = (self._clock.now() - change.started_at).total_seconds()
            metered = _Metered(
                camera=str(camera_id),
                cause=change.cause,
                started_at=change.started_at,
                before_s=min(ago_s, _BEFORE_AT_MOST_S),
                heard_s=self._clock.monotonic(),
            )
        self._open[change.id] = metered
        return metered

    def _end(self, metered: _Metered, ended_at: datetime) -> None:
        most_s = self._clock.monotonic() - metered.heard_s + _BEFORE_AT_MOST_S
        self._count_to(metered, min((ended_at - metered.started_at).total_seconds(), most_s))

    def _count_to(self, metered: _Metered, total_s: float) -> None:
        if total_s > metered.counted_s:
            self._metrics.gap(metered.camera, metered.cause, total_s - metered.counted_s)
            metered.counted_s = total_s
