"""Metrics of the streaming role: recorders, segments, gaps, actors, disk and seals."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from streamwarden.metrics.http_metrics import ReadFfmpeg, ReadInboxes, ReadIndex, ScrapeCollector
from streamwarden.metrics.loss_counter import LossCounter
from streamwarden.model import Cause

STATES: Final = (
    *("starting", "waiting_for_key_frame", "running", "stalled", "backoff"),
    *("stopping", "stopped", "parked"),
)
"""The states of a recorder; exactly one of a camera's series is 1."""

IN_ONE_PIECE: Final = (
    Cause.SERVER_DOWN,
    Cause.SHUTDOWN,
    Cause.PICTURES_MISSING,
    Cause.ACTOR_PARKED,
)
"""Causes whose loss is known only when it is over; their series are there from the start."""


_NAME: Final = "streamwarden_recorder_state"


class RecorderStates(Collector):
    """The state of each camera's recorder, as one series per state. Thread-safe.

    A ``Gauge`` of the client library would store each series separately, half of all series, and take
    several times as long to collect them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}

    def set(self, camera: str, state: str) -> None:
        """Set the state of the camera's recorder; raise ValueError for an unknown one."""
        if state not in STATES:
            raise ValueError(f"unknown recorder state {state!r}")
        with self._lock:
            self._states[camera] = state

    def forget(self, camera: str) -> None:
        """Remove the camera's series."""
        with self._lock:
            self._states.pop(camera, None)

    def collect(self) -> Iterator[Metric]:
        """Yield all series."""
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
    """Number of seals, failures, and the time up to which everything due is sealed. Thread-safe."""

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
        """Count a failed attempt."""
        self._failed.inc()

    def sealed_until(self, timestamp_s: float) -> None:
        """Set the time up to which everything due is sealed."""
        self._last.set(timestamp_s)


_SEGMENT_BUCKETS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1800, 3600)


_FIRST_SEGMENT_BUCKETS_S = (0.5, 1, 2, 3, 5, 8, 15, 30, 45, 60, 120, 300, 900, 3600)


_CAMERA = ("camera",)


_BY_CAUSE = ("camera", "cause")


_BY_ACTOR = ("actor", "camera")


class RecordingMetrics:
    """One method per event. Thread-safe.

    ``camera`` is the camera's id as text, empty for an event without a camera.
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
        self._gaps = LossCounter(
            "streamwarden_gap_seconds",
            "Wanted seconds that were not recorded, by cause.",
            registry=self._registry,
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
        self._retention_waits = self._gauge(
            "retention_waits",
            "1 while a deletion waits for its grace time or an operator, by reason.",
            ("reason",),
        )
        self._retention_floor = self._plain_gauge(
            "retention_floor_reached",
            "1 while the reserve lacks space that only recordings kept in any case could give.",
        )
        self._free = self._plain_gauge(
            "record_root_free_bytes", "Bytes free where recordings are kept."
        )
        self._ffmpeg_usable = self._plain_gauge(
            "ffmpeg_usable", "1 if FFmpeg could last be started as a recorder starts it."
        )
        self._thread_silent = Gauge(
            "streamwarden_thread_silent_seconds",
            "For how long a thread on which everything depends has not answered.",
            ("thread",),
            registry=self._registry,
        )
        self._free_inodes = self._plain_gauge(
            "record_root_free_inodes",
            "Inodes, that is files, free where recordings are kept; +Inf where they are unlimited.",
        )
        self._free_inodes.set(math.inf)
        self._root_fault = Gauge(
            "streamwarden_record_root_fault",
            "1 for the cause for which the record root cannot be recorded into.",
            ("cause",),
            registry=self._registry,
        )
        self._quarantine_recording = self._plain_gauge(
            "quarantine_recording", "Cameras that are recorded into the quarantine folder."
        )
        self._quarantine_segments = self._plain_gauge(
            "quarantine_segments",
            "Segments in the quarantine folder, which the index does not have.",
        )
        self._other_role = self._plain_gauge(
            "other_streaming_role", "1 while another streaming role writes into the database."
        )
        self._not_indexed = Counter(
            "streamwarden_segments_not_indexed_total",
            "Segments whose id another row of the index has.",
            registry=self._registry,
        )

    def camera_added(self, camera: str) -> None:
        """Initialise the camera's counters to 0, so that the first event is an increase."""
        for counter in (self._segments, self._bytes, self._recorded):
            counter.labels(camera)
        for cause in IN_ONE_PIECE:
            self._gaps.add(camera, cause)
        self.actor_added("recorder", camera)

    def actor_added(self, actor: str, camera: str) -> None:
        """Initialise an actor's series to 0."""
        for metric in (self._restarts, self._abandoned, self._parked):
            metric.labels(actor, camera)

    def state(self, camera: str, state: str) -> None:
        """Set the state of the camera's recorder, one of `STATES`."""
        self._states.set(camera, state)

    def segment_stored(
        self, camera: str, media_s: float, wall_s: float, size_bytes: int, ended_at_ts: float
    ) -> None:
        """Count a segment that is on disk and in the index.

        ``media_s`` is its media duration, ``wall_s`` the wall-clock time it covers (together with the gaps
        the wanted time), ``ended_at_ts`` its end in seconds since the epoch.
        """
        self._segments.labels(camera).inc()
        self._bytes.labels(camera).inc(size_bytes)
        self._recorded.labels(camera).inc(max(wall_s, 0.0))  # a stepped clock can give less
        self._last.labels(camera).set(ended_at_ts)
        self._duration.observe(media_s)

    def gap(self, camera: str, cause: str, seconds: float) -> None:
        """Add ``seconds`` to the camera's missing time for ``cause``."""
        self._gaps.add(camera, cause, max(seconds, 0.0))

    def respawned(self, camera: str, cause: str) -> None:
        """Count a respawn after a run was lost to ``cause``."""
        self._respawns.labels(camera, cause).inc()

    def first_segment(self, seconds: float) -> None:
        """Observe the time from a start request to the first segment."""
        self._first.observe(seconds)

    def actor_restarted(self, actor: str, camera: str) -> None:
        """Count a restart of an actor."""
        self._restarts.labels(actor, camera).inc()

    def actor_parked(self, actor: str, camera: str, *, parked: bool) -> None:
        """Set whether an actor is parked."""
        self._parked.labels(actor, camera).set(1 if parked else 0)

    def actor_abandoned(self, actor: str, camera: str) -> None:
        """Count an actor that did not end within its shutdown time."""
        self._abandoned.labels(actor, camera).inc()

    def deleted(self, reason: str, segments: int, size_bytes: int) -> None:
        """Count segments that retention deletes."""
        self._deleted.labels(reason).inc(segments)
        self._deleted_bytes.labels(reason).inc(size_bytes)

    def retention_waits(self, reasons: Mapping[str, bool]) -> None:
        """Set which deletions wait."""
        for reason, waits in reasons.items():
            self._retention_waits.labels(reason).set(waits)

    def retention_floor(self, reached: bool) -> None:  # noqa: FBT001 - the one value of a gauge
        """Set whether only recordings are left that are not deleted for the reserve."""
        self._retention_floor.set(reached)

    def free_bytes(self, n: int) -> None:
        """Set the free space of the record root's file system."""
        self._free.set(n)

    def ffmpeg_usable(self, usable: bool) -> None:  # noqa: FBT001 - the one value of a gauge
        """Set whether FFmpeg can be started as a recorder starts it."""
        self._ffmpeg_usable.set(usable)

    def free_inodes(self, n: int | None) -> None:
        """Set the free inodes of the record root's file system; None where they are unlimited."""
        self._free_inodes.set(math.inf if n is None else n)

    def root_fault(self, cause: str | None, *, of: Iterable[str]) -> None:
        """Set the cause, out of the causes ``of``, for which the root cannot be used; None: it can."""
        for each in of:
            self._root_fault.labels(each).set(1 if each == cause else 0)

    def watch_quarantine(
        self, recording: Callable[[], float], segments: Callable[[], float]
    ) -> None:
        """Read at each scrape what is recorded into the quarantine, and what waits there."""
        self._quarantine_recording.set_function(recording)
        self._quarantine_segments.set_function(segments)

    def watch_other_role(self, read: Callable[[], bool]) -> None:
        """Read at each scrape whether another streaming role writes into the database."""
        self._other_role.set_function(read)

    def not_indexed(self, segments: int) -> None:
        """Count segments whose id belongs to another row."""
        self._not_indexed.inc(segments)

    def watch_inboxes(self, read: ReadInboxes) -> None:
        """Read the inbox lengths from ``read`` at each scrape."""
        self._watched.watch_inboxes(read)

    def watch_ffmpeg(self, read: ReadFfmpeg) -> None:
        """Read CPU seconds and resident bytes of the FFmpegs from ``read`` at each scrape."""
        self._watched.watch_ffmpeg(read)

    def watch_threads(self, silences: Mapping[str, Callable[[], float]]) -> None:
        """Read for how long each thread has been silent, at each scrape."""
        for thread, silent_s in silences.items():
            self._thread_silent.labels(thread).set_function(silent_s)

    def watch_index(self, read: ReadIndex) -> None:
        """Read the index's backlog from ``read`` at each scrape."""
        self._watched.watch_index(read)

    def sealing(self) -> SealMetrics:
        """Return the metrics of sealing; call once. Without a key there are no such series."""
        return SealMetrics(self._registry)

    def forget(self, camera: str) -> None:
        """Remove all series of a deleted camera."""
        self._states.forget(camera)
        self._gaps.forget(camera)
        for metric in self._per_camera:
            metric.remove_by_labels({"camera": camera})

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = _CAMERA) -> Counter:
        counter = Counter(f"streamwarden_{name}", text, labels, registry=self._registry)
        if "camera" in labels:  # remove_by_labels fails for a label that a metric does not have
            self._per_camera.append(counter)
        return counter

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = _CAMERA) -> Gauge:
        gauge = Gauge(f"streamwarden_{name}", text, labels, registry=self._registry)
        if "camera" in labels:
            self._per_camera.append(gauge)
        return gauge

    def _plain_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"streamwarden_{name}", text, registry=self._registry)
