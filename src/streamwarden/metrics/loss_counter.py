"""A counter of losses, each series of which is first shown at 0.

A loss may come in one piece, such as the outage of the server itself, before anything has read the counter.
``increase()`` sees it only between two samples: so the first sample of a series is 0, whatever was counted
by then, and the following ones are what was counted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry


class LossCounter(Collector):
    """Seconds by camera and cause. Any thread."""

    def __init__(self, name: str, text: str, *, registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, str], float] = {}
        self._shown: set[tuple[str, str]] = set()
        registry.register(self)

    def add(self, camera: str, cause: str, seconds: float = 0.0) -> None:
        """Count seconds; 0 makes the series known before its first loss."""
        key = camera, cause
        with self._lock:
            self._counted[key] = self._counted.get(key, 0.0) + seconds

    def forget(self, camera: str) -> None:
        """Remove the series of a camera."""
        with self._lock:
            for key in [each for each in self._counted if each[0] == camera]:
                del self._counted[key]
                self._shown.discard(key)

    def collect(self) -> Iterator[Metric]:
        """Yield all series."""
        family = CounterMetricFamily(self._name, self._text, labels=("camera", "cause"))
        with self._lock:
            for key, seconds in self._counted.items():
                family.add_metric(key, seconds if key in self._shown else 0.0)
            self._shown.update(self._counted)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Yield the metric without series."""
        yield CounterMetricFamily(self._name, self._text, labels=("camera", "cause"))
