"""How sealing fares. Without a key there are no such series."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


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
