"""What was decided about stream tokens, and until when their keys are good."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge


class AuthMetrics:
    """Decisions by action and outcome; both come from the closed sets of ``auth``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "streamwarden_stream_auth_total",
            "Decisions about stream tokens that a media server asked for.",
            ["action", "outcome"],
            registry=registry,
        )
        self._expiry = Gauge(
            "streamwarden_stream_token_key_expiry_timestamp_seconds",
            "When a stream token key stops being accepted; +Inf where no end is set.",
            ["kid"],
            registry=registry,
        )

    def decided(self, action: str, outcome: str) -> None:
        """Count one decision."""
        self._decisions.labels(action, outcome).inc()

    def key_expiry(self, kid: str, timestamp: float | None) -> None:
        """Show when the key ``kid`` expires, in seconds since the epoch; None means never."""
        self._expiry.labels(kid).set(math.inf if timestamp is None else timestamp)
