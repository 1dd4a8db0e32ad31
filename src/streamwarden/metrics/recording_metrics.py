"""What the streaming role recorded, lost and restarted.

Which state each camera's recorder is in, as one series a state.

How sealing fares. Without a key there are no such series.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from streamwarden.metrics.http_metrics import ReadFfmpeg, ReadInboxes, ReadIndex, ScrapeCollector

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


class SealMetrics:
    """Seals made, and when all that was due was last sealed. Any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._made = Counter("streamwarden_seals_total", "Seals made.", registry=registry)
        self._failed = Counter(
            "streamwarden_seals_failed_total",
            "Attempts to seal a camera's footage, or to sign its removal, that failed.",
            registry=registry,
        )
        self._last = Gauge(
            "streamwarden_sealed_timestamp_seconds",
            "Up to when all that had to be sealed is; 0: not since the start.",
            registry=registry,
        )

    def made(self, seals: int) -> None:
        """Count seals."""
        self._made.inc(seals)

    def failed(self) -> None:
        """Count an attempt that came to nothing."""
        self._failed.inc()

    def sealed_until(self, timestamp_s: float) -> None:
        """Show up to when everything due is sealed."""
        self._last.set(timestamp_s)


_SEGMENT_BUCKETS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1800, 3600)


_FIRST_SEGMENT_BUCKETS_S = (0.5, 1, 2, 3, 5, 8, 15, 30, 45, 60, 120, 300, 900, 3600)


_CAMERA = ("camera",)


_BY_CAUSE = ("camera", "cause")


_BY_ACTOR = ("actor", "camera")


class RecordingMetrics:
    """One method an event; each may be called from any thread.

    ``camera`` is the camera's id as text, empty where an event belongs to none.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._per_camera: list[MetricWrapperBase] = []
        self._registry = registry
        self._declare_recording()
        self._declare_trouble()
        self._declare_store()
        self._watched = ScrapeCollector()
        registry.register(self._watched)

    def _declare_recording(self) -> None:
        self._states = RecorderStates()
        self._registry.register(self._states)
        self._segments = self._counter("segments_total", "Segments stored and indexed.")
        self._bytes = self._counter("segment_bytes_total", "Bytes of the segments stored.")
        self._recorded = self._counter(
            "recorded_seconds_total", "Wall-clock seconds covered by the segments stored."
        )
        self._last = self._gauge(
            "last_segment_timestamp_seconds", "When the newest stored segment ended."
        )
        self._duration = Histogram(
            "streamwarden_segment_duration_seconds",
            "Media duration of the segments stored.",
            buckets=_SEGMENT_BUCKETS_S,
            registry=self._registry,
        )
        self._first = Histogram(
            "streamwarden_connect_to_first_segment_seconds",
            "Time from a start request to the first segment of the camera on disk.",
            buckets=_FIRST_SEGMENT_BUCKETS_S,
            registry=self._registry,
        )

    def _declare_trouble(self) -> None:
        self._gaps = self._counter(
            "gap_seconds_total", "Wanted seconds that were not recorded, by cause.", _BY_CAUSE
        )
        self._respawns = self._counter(
            "ffmpeg_respawns_total", "FFmpeg processes started again, by cause.", _BY_CAUSE
        )
        self._restarts = self._counter(
            "actor_restarts_total", "Actors restarted after a bug.", _BY_ACTOR
        )
        self._abandoned = self._counter(
            "actor_abandoned_total", "Actors that outlasted their shutdown time.", _BY_ACTOR
        )
        self._parked = self._gauge(
            "actor_parked", "1 while an actor is parked after too many bugs.", _BY_ACTOR
        )

    def _declare_store(self) -> None:
        self._deleted = self._counter(
            "segments_deleted_total", "Segments deleted by retention, by reason.", ("reason",)
        )
        self._deleted_bytes = self._counter(
            "segment_deleted_bytes_total", "Bytes deleted by retention, by reason.", ("reason",)
        )
        self._free = self._plain_gauge(
            "record_root_free_bytes", "Bytes free where recordings are kept."
        )

    def camera_added(self, camera: str) -> None:
        """Show the camera's counters from 0, so that the first event is seen as an increase."""
        for counter in (self._segments, self._bytes, self._recorded):
            counter.labels(camera)
        self.actor_added("recorder", camera)

    def actor_added(self, actor: str, camera: str) -> None:
        """Show that an actor is neither restarted nor parked, before it first is."""
        for metric in (self._restarts, self._abandoned, self._parked):
            metric.labels(actor, camera)

    def state(self, camera: str, state: str) -> None:
        """Show that the camera's recorder is in ``state``, one of `states.STATES`."""
        self._states.set(camera, state)

    def segment_stored(
        self, camera: str, media_s: float, wall_s: float, size_bytes: int, ended_at_ts: float
    ) -> None:
        """Count a segment that is on disk and in the index.

        ``media_s`` is its media duration, ``wall_s`` the wall-clock time that it covers (with the
        gaps, these add up to what was wanted), ``ended_at_ts`` seconds since the epoch.
        """
        self._segments.labels(camera).inc()
        self._bytes.labels(camera).inc(size_bytes)
        self._recorded.labels(camera).inc(max(wall_s, 0.0))  # a stepped clock can give less
        self._last.labels(camera).set(ended_at_ts)
        self._duration.observe(media_s)

    def gap(self, camera: str, cause: str, seconds: float) -> None:
        """Add ``seconds`` to what the camera lost to ``cause``."""
        self._gaps.labels(camera, cause).inc(max(seconds, 0.0))

    def respawned(self, camera: str, cause: str) -> None:
        """Count an FFmpeg that follows one lost to ``cause``."""
        self._respawns.labels(camera, cause).inc()

    def first_segment(self, seconds: float) -> None:
        """Record how long a start took to give its first segment."""
        self._first.observe(seconds)

    def actor_restarted(self, actor: str, camera: str) -> None:
        """Count a restart of the kind ``actor``."""
        self._restarts.labels(actor, camera).inc()

    def actor_parked(self, actor: str, camera: str, *, parked: bool) -> None:
        """Show whether an actor is parked."""
        self._parked.labels(actor, camera).set(1 if parked else 0)

    def actor_abandoned(self, actor: str, camera: str) -> None:
        """A child outlasted its shutdown time; its thread was left behind."""
        self._abandoned.labels(actor, camera).inc()

    def deleted(self, reason: str, segments: int, size_bytes: int) -> None:
        """Retention deletes so many segments."""
        self._deleted.labels(reason).inc(segments)
        self._deleted_bytes.labels(reason).inc(size_bytes)

    def free_bytes(self, n: int) -> None:
        """Show what is free where recordings are kept."""
        self._free.set(n)

    def watch_inboxes(self, read: ReadInboxes) -> None:
        """Read the depths of the actors' inboxes from ``read`` at each scrape."""
        self._watched.watch_inboxes(read)

    def watch_ffmpeg(self, read: ReadFfmpeg) -> None:
        """Read CPU seconds and resident bytes of the FFmpegs from ``read`` at each scrape."""
        self._watched.watch_ffmpeg(read)

    def watch_index(self, read: ReadIndex) -> None:
        """Read what waits for the index, and for how long, from ``read`` at each scrape."""
        self._watched.watch_index(read)

    def sealing(self) -> SealMetrics:
        """Show how sealing fares, from now on; once."""
        return SealMetrics(self._registry)

    def forget(self, camera: str) -> None:
        """Remove every series of a camera that no longer exists."""
        self._states.forget(camera)
        for metric in self._per_camera:
            metric.remove_by_labels({"camera": camera})

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = _CAMERA) -> Counter:
        counter = Counter(f"streamwarden_{name}", text, labels, registry=self._registry)
        if "camera" in labels:  # the others have nothing to forget, and refuse to
            self._per_camera.append(counter)
        return counter

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = _CAMERA) -> Gauge:
        gauge = Gauge(f"streamwarden_{name}", text, labels, registry=self._registry)
        self._per_camera.append(gauge)
        return gauge

    def _plain_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"streamwarden_{name}", text, registry=self._registry)
