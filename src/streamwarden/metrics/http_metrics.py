"""Metrics of HTTP servers and of the database, values that are read at each scrape, the text format."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with their own label; any other is counted as ``other``."""


_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Requests by route template, never by the actual path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "streamwarden_http_requests_total",
            "HTTP requests answered.",
            ["role", "route", "method", "status"],
            registry=registry,
        )
        self._duration = Histogram(
            "streamwarden_http_request_duration_seconds",
            "Time from a request's dispatch until its answer was ready to be sent.",
            ["role", "route", "method"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def observe(self, *, role: str, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer. ``route`` is the template, ``unmatched`` if no route matched."""
        known = method if method in METHODS else "other"
        self._requests.labels(role, route, known, str(status)).inc()
        self._duration.labels(role, route, known).observe(seconds)


class DatabaseMetrics:
    """Whether Postgres answers the role. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "streamwarden_database_up",
            "1 if Postgres has answered this role's last check, which is made every 5 s.",
            registry=registry,
        )

    def up(self, answered: bool) -> None:  # noqa: FBT001 - the one value of a gauge
        """Set whether the last check was answered."""
        self._up.set(answered)


class DumpMetrics:
    """When the database was last dumped. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._dumped = Gauge(
            "streamwarden_database_dumped_timestamp_seconds",
            "When the last dump by deploy/backup-database was complete; 0 where none is known.",
            registry=registry,
        )

    def dumped(self, at_s: float | None) -> None:
        """Set when the last dump was complete, None where none is known."""
        self._dumped.set(at_s or 0)


_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


_LABELS_KEPT = 1 << 15
"""Size of the cache of formatted label sets: enough for 2,000 cameras."""


def new_registry() -> CollectorRegistry:
    """Return a new registry for one role, with the process's metrics (``process_*``)."""
    # Without it each counter has a second series, ``_created``.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def render(registry: Collector) -> tuple[bytes, str]:
    """Return the metrics in Prometheus's text format 0.0.4, and the content type.

    For hundreds of cameras ``generate_latest`` takes several times as long.
    """
    lines = [line for metric in registry.collect() for line in _metric(metric)]
    return "".join(lines).encode(), CONTENT_TYPE_PLAIN_0_0_4


def _metric(metric: Metric) -> Iterator[str]:
    name = metric.name + "_total" if metric.type == "counter" else metric.name
    yield f"# HELP {name} {metric.documentation.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {name} {metric.type}\n"
    for sample in metric.samples:
        yield f"{sample.name}{_labels(*sample.labels.items())} {_number(sample.value)}\n"


@lru_cache(_LABELS_KEPT)
def _labels(*labels: tuple[str, str]) -> str:
    """Return the formatted labels of a sample."""
    if not labels:
        return ""
    text = ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels)
    return f"{{{text}}}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


log = logging.getLogger(__name__)


_T = TypeVar("_T")


ReadInboxes = Callable[[], Mapping[str, int]]
"""Returns the length of the longest inbox of each kind of actor."""


ReadFfmpeg = Callable[[], tuple[float, int]]
"""Returns the CPU seconds of all FFmpegs so far, and the resident bytes of those running."""


ReadIndex = Callable[[], tuple[int, float]]
"""Returns the number of rows waiting for the index, and the age of the oldest in seconds, 0 if none."""


class ScrapeCollector(Collector):
    """Values that are read at each scrape; one whose function fails is omitted, and logged once."""

    def __init__(self) -> None:
        self._inboxes: ReadInboxes | None = None
        self._ffmpeg: ReadFfmpeg | None = None
        self._index: ReadIndex | None = None
        self._reported: set[str] = set()

    def watch_inboxes(self, read: ReadInboxes) -> None:
        """Read the inbox lengths from ``read``."""
        self._inboxes = read

    def watch_ffmpeg(self, read: ReadFfmpeg) -> None:
        """Read the usage of the FFmpeg processes from ``read``."""
        self._ffmpeg = read

    def watch_index(self, read: ReadIndex) -> None:
        """Read the index's backlog from ``read``."""
        self._index = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that could be read. Runs on the thread of the scrape."""
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
        """Yield the metrics without values, so that duplicate names fail at registration."""
        yield _inbox_depth({})
        yield from _ffmpeg_use(0.0, 0)
        yield from _waiting(0, 0.0)

    def _read(self, name: str, read: Callable[[], _T] | None) -> _T | None:
        if read is None:
            return None
        try:
            return read()
        except Exception:  # one failing value must not prevent the others
            if name not in self._reported:
                self._reported.add(name)
                log.exception("a figure could not be read; metrics go on without it: %s", name)
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
