"""Figures that are read when Prometheus asks, not pushed when they change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

Inboxes = Callable[[], Mapping[str, int]]
"""Returns, for each kind of actor, how many messages wait in the deepest inbox of that kind."""
Ffmpeg = Callable[[], tuple[float, int]]
"""Returns the CPU seconds of every FFmpeg so far, and the bytes resident in those that live."""

Index = Callable[[], tuple[int, float]]
"""Returns how many rows wait for the index, and the age of the oldest in seconds, 0 for none."""


class WatchedFigures(Collector):
    """Calls what it watches at each scrape; one that fails is left out and logged once."""

    def __init__(self) -> None:
        self._inboxes: Inboxes | None = None
        self._ffmpeg: Ffmpeg | None = None
        self._index: Index | None = None
        self._reported: set[str] = set()

    def watch_inboxes(self, read: Inboxes) -> None:
        """Take the depths of inboxes from ``read``."""
        self._inboxes = read

    def watch_ffmpeg(self, read: Ffmpeg) -> None:
        """Take the figures of the FFmpeg processes from ``read``."""
        self._ffmpeg = read

    def watch_index(self, read: Index) -> None:
        """Take what waits for the index from ``read``."""
        self._index = read

    def collect(self) -> Iterator[Metric]:
        """Yield what could be read. Runs on the thread that serves the scrape."""
        depths = self._read("inboxes", self._inboxes)
        if depths is not None:
            yield _inbox_depth(depths)
        used = self._read("ffmpeg", self._ffmpeg)
        if used is not None:
            yield from _ffmpeg_use(*used)
        waiting = self._read("index", self._index)
        if waiting is not None:
            yield from _waiting(*waiting)

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without reading them, so that a clash of names shows at the start."""
        yield _inbox_depth({})
        yield from _ffmpeg_use(0.0, 0)
        yield from _waiting(0, 0.0)

    def _read(self, name: str, read: Callable[[], _T] | None) -> _T | None:
        if read is None:
            return None
        try:
            return read()
        except Exception:  # noqa: BLE001 - an edge: one failing figure must not cost the others
            if name not in self._reported:
                self._reported.add(name)
                _LOG.exception("a figure could not be read; metrics go on without it: %s", name)
            return None


def _inbox_depth(depths: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(
        "streamwarden_actor_inbox_depth",
        "Messages waiting in the deepest inbox of each kind of actor.",
        labels=["actor"],
    )
    for actor, depth in depths.items():
        family.add_metric([actor], depth)
    return family


def _ffmpeg_use(cpu_s: float, resident_bytes: int) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "streamwarden_ffmpeg_cpu_seconds",
        "CPU time used by every FFmpeg, those that have ended included.",
        value=cpu_s,
    )
    yield GaugeMetricFamily(
        "streamwarden_ffmpeg_resident_bytes",
        "Memory resident in the FFmpeg processes that live.",
        value=resident_bytes,
    )


def _waiting(rows: int, lag_s: float) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "streamwarden_index_journal_segments",
        "Segments on disk that still wait for the index.",
        value=rows,
    )
    yield GaugeMetricFamily(
        "streamwarden_index_lag_seconds",
        "Age of the oldest segment that waits for the index.",
        value=lag_s,
    )
