"""How many cameras are to be pulled, and how many the media server has been told of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

REASONS: Final = ("not_allowed", "unresolved", "credentials", "refused", "invalid")


class SourceMetrics:
    """Sources and what is wrong with them; every label is from a closed set."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._wanted = Gauge(
            "streamwarden_sources_wanted",
            "Active cameras that are to be pulled.",
            registry=registry,
        )
        self._set = Gauge(
            "streamwarden_sources_set",
            "Of these, those whose path the media server has as it should be.",
            registry=registry,
        )
        self._faults = Gauge(
            "streamwarden_source_faults",
            "Cameras that are to be pulled and about which something is wrong, by the reason.",
            ["reason"],
            registry=registry,
        )
        self._failed = Counter(
            "streamwarden_source_sweeps_failed_total",
            "Comparisons of paths that the media server or Postgres did not answer.",
            registry=registry,
        )
        for reason in REASONS:
            self._faults.labels(reason)

    def show(self, *, wanted: int, are_set: int, faults: Mapping[str, int]) -> None:
        """Show what a sweep found."""
        self._wanted.set(wanted)
        self._set.set(are_set)
        for reason in REASONS:
            self._faults.labels(reason).set(faults.get(reason, 0))

    def sweep_failed(self) -> None:
        """Count a sweep that came to nothing."""
        self._failed.inc()
