"""Which state each camera's recorder is in, as one series a state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

STATES: Final = ("starting", "running", "stalled", "backoff", "stopping", "stopped", "parked")
"""The states of a recorder; exactly one of a camera's series is 1."""

_NAME: Final = "streamwarden_recorder_state"


class RecorderStates(Collector):
    """Holds the states; any thread may call.

    The client library's ``Gauge`` would hold each of a camera's series, half of all that there are,
    for itself, and take several times as long to show them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}

    def set(self, camera: str, state: str) -> None:
        """Show that the camera's recorder is in ``state``; raise ValueError if that is none."""
        if state not in STATES:
            raise ValueError(f"unknown recorder state {state!r}")
        with self._lock:
            self._states[camera] = state

    def forget(self, camera: str) -> None:
        """Show nothing of the camera any more."""
        with self._lock:
            self._states.pop(camera, None)

    def collect(self) -> Iterator[Metric]:
        """Yield every camera's series."""
        with self._lock:
            states = list(self._states.items())
        family = GaugeMetricFamily(_NAME, "1 for the state a recorder is in.")
        family.samples = [
            Sample(_NAME, {"camera": camera, "state": each}, 1.0 if each == state else 0.0)
            for camera, state in states
            for each in STATES
        ]
        yield family
