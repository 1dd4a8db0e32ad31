"""The media server's paths, watched while recorders pause because no stream comes.

A recorder pauses for up to half a minute between its attempts, and MediaMTX for 5 s between its own at
a camera that it pulls. A camera that is back at once would wait for both. This loop reads the list of
paths while a recorder pauses, ends the pause as soon as the path is ready, and has MediaMTX call a
pulled camera again early in an outage. While the control API does not answer, the pauses hold.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.control_api import MediaMtxClient, PathState

log = structlog.get_logger(__name__)

EVERY_S: Final = 0.5
SELDOM_S: Final = 1.0
"""For recorders all of which have waited longer than `LONG_S`."""
LONG_S: Final = 60.0
IDLE_S: Final = 3600.0
CALLS_WITHIN_S: Final = 10.0
"""From the beginning of an outage; later MediaMTX's own attempts, every 5 s, are often enough."""
CALL_DISTANCE_S: Final = 2.0
"""A new call ends one that is under way: a slow camera is given this time, and after each call twice it."""
CALLS_A_MINUTE: Final = 6
WAKES_A_MINUTE: Final = 6
"""For a camera whose path is ready again and again, and which sends nothing to record."""
CALLS_A_TURN: Final = 4
"""MediaMTX reads its whole configuration anew for each call."""
_MINUTE_S: Final = 60.0
_STOP_WITHIN_S: Final = 5.0
_EVENTS: Final = LoopEvents(
    failed="path_states_not_read", recovered="path_states_read_again", bug="path_watch_failed"
)

Wake = Callable[[], None]


class Budget:
    """At most ``most`` events in a minute of the monotonic clock."""

    def __init__(self, most: int) -> None:
        self._times_s: deque[float] = deque(maxlen=most)

    def left(self, now_s: float) -> bool:
        """Return whether one more is allowed."""
        times_s = self._times_s
        return len(times_s) < (times_s.maxlen or 0) or now_s - times_s[0] >= _MINUTE_S

    def spend(self, now_s: float) -> None:
        """Note one."""
        self._times_s.append(now_s)

    @property
    def last_s(self) -> float | None:
        """When the last one was, None for never."""
        return self._times_s[-1] if self._times_s else None


@dataclass(slots=True)
class Outage:
    """One camera that is without a stream, or was.

    ``wake`` ends the recorder's pause; None while it does not pause. ``woken_for`` is when the path for
    which it was last woken had become ready: one wake for each time that it becomes so.
    """

    path: str
    since_s: float
    wake: Wake | None = None
    woken_for: str | None = None
    wakes: Budget = field(default_factory=lambda: Budget(WAKES_A_MINUTE))
    calls: Budget = field(default_factory=lambda: Budget(CALLS_A_MINUTE))
    distance_s: float = 0.0
    """How long after the last call the next one may follow."""
    over: bool = False

    def may_call(self, now_s: float) -> bool:
        """Return whether MediaMTX is to call the camera before its own pause has ended."""
        last_s = self.calls.last_s
        return (
            now_s - self.since_s <= CALLS_WITHIN_S
            and (last_s is None or now_s - last_s >= self.distance_s)
            and self.calls.left(now_s)
        )

    def call(self, now_s: float) -> None:
        """Note a call."""
        self.calls.spend(now_s)
        self.distance_s = max(CALL_DISTANCE_S, 2 * self.distance_s)


class PathWatch:
    """The loop, on a thread of its own. Without ``server`` nothing is watched. Any thread may call."""

    def __init__(self, server: MediaMtxClient | None, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._outages: dict[UUID, Outage] = {}
        self._failed = False
        self._thread = ReconcileLoop(
            "paths", self.turn, events=_EVENTS, on_failure=self._note, stops_within_s=_STOP_WITHIN_S
        )

    def start(self) -> None:
        """Start the thread."""
        if self._server is not None:
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        if self._server is not None:
            self._thread.stop()
            self._server.close()

    def lost(self, camera_id: UUID, path: str, wake: Wake | None = None) -> None:
        """Watch a path whose stream was lost. ``wake`` ends the recorder's pause, where it pauses."""
        if self._server is None:
            return
        now_s = self._clock.monotonic()
        with self._lock:
            outage = self._outages.get(camera_id)
            if outage is None or outage.path != path:
                outage = self._outages[camera_id] = Outage(path, now_s)
            if outage.over:
                outage.over, outage.since_s, outage.distance_s = False, now_s, 0.0
            outage.wake = wake
        self._thread.wake()

    def tried(self, camera_id: UUID) -> None:
        """The recorder's pause has ended by itself."""
        with self._lock:
            if (outage := self._outages.get(camera_id)) is not None:
                outage.wake = None

    def recording(self, camera_id: UUID) -> None:
        """The camera is recorded: its outage is over."""
        with self._lock:
            if (outage := self._outages.get(camera_id)) is not None:
                outage.wake, outage.over = None, True

    def forget(self, camera_id: UUID) -> None:
        """The camera is no longer wanted."""
        with self._lock:
            self._outages.pop(camera_id, None)

    def turn(self) -> float:
        """Read the list of paths once, if a recorder waits for one; return the pause.

        Raises:
            MediaServerUnavailable: the list is not known.
        """
        now_s = self._clock.monotonic()
        waiting = self._waiting(now_s)
        if self._server is None or (not waiting and not self._failed):
            return IDLE_S
        states = {state.name: state for state in self._server.path_states()}
        self._failed = False
        took_s = self._clock.monotonic() - now_s
        self._end_pauses(states)
        self._call_cameras(states, now_s)
        if not waiting:
            return IDLE_S
        seldom = all(now_s - outage.since_s > LONG_S for outage in waiting)
        return pause_s(SELDOM_S if seldom else EVERY_S, took_s=took_s)

    def _note(self) -> None:
        self._failed = True

    def _waiting(self, now_s: float) -> list[Outage]:
        with self._lock:
            return [
                outage
                for outage in self._outages.values()
                if outage.wake is not None
                or (not outage.over and now_s - outage.since_s <= CALLS_WITHIN_S)
            ]

    def _end_pauses(self, states: Mapping[str, PathState]) -> None:
        now_s = self._clock.monotonic()
        due: list[tuple[UUID, Outage, Wake]] = []
        with self._lock:
            for camera_id, outage in self._outages.items():
                state = states.get(outage.path)
                if outage.wake is None or state is None or state.ready_since is None:
                    continue
                if outage.woken_for == state.ready_since or not outage.wakes.left(now_s):
                    continue
                outage.woken_for = state.ready_since
                outage.wakes.spend(now_s)
                due.append((camera_id, outage, outage.wake))
                outage.wake = None
        for camera_id, outage, wake in due:
            log.info("pause_ended", camera=str(camera_id), path=outage.path)
            wake()

    def _call_cameras(self, states: Mapping[str, PathState], now_s: float) -> None:
        if self._server is None:
            return
        with self._lock:
            due = [
                outage
                for outage in self._outages.values()
                if not outage.over and _is_pulled(states.get(outage.path))
                if outage.may_call(now_s)
            ][:CALLS_A_TURN]
            for outage in due:
                outage.call(now_s)
        for outage in due:
            self._server.call_again(outage.path)


def _is_pulled(state: PathState | None) -> bool:
    """Return whether this is a path whose camera MediaMTX does not receive now."""
    return state is not None and state.pulled and state.ready_since is None
