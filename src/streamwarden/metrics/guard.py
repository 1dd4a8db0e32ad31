"""What was revoked and whom it hit, and how the audit trail fares."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

_USES = ("record", "view", "publish")


class GuardMetrics:
    """Rules, kicked sessions and audit events; every label is from a closed set."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rules = Gauge(
            "streamwarden_denials",
            "Rules of the deny list that this process holds.",
            registry=registry,
        )
        self._read_at = Gauge(
            "streamwarden_denials_read_timestamp_seconds",
            "When the deny list was last known to be current; 0: never.",
            registry=registry,
        )
        self._kicked = Counter(
            "streamwarden_sessions_kicked_total",
            "Sessions of the media server that were ended, by their token's use and the reason.",
            ["use", "reason"],
            registry=registry,
        )
        self._failed = Counter(
            "streamwarden_session_sweeps_failed_total",
            "Sweeps over the media server's sessions that it did not answer.",
            registry=registry,
        )
        self._waiting = Gauge(
            "streamwarden_audit_waiting",
            "Audit events that are not yet in Postgres.",
            registry=registry,
        )
        self._dropped = Counter(
            "streamwarden_audit_dropped_total",
            "Audit events that went into the log instead of Postgres.",
            registry=registry,
        )
        for use in _USES:
            self._kicked.labels(use, "user_blocked")

    def denials(self, rules: int, read_at_s: float) -> None:
        """Show how many rules there are, and when they were known to be all."""
        self._rules.set(rules)
        self._read_at.set(read_at_s)

    def kicked(self, use: str, reason: str) -> None:
        """Count a session that was ended."""
        self._kicked.labels(use, reason).inc()

    def sweep_failed(self) -> None:
        """Count a sweep that came to nothing."""
        self._failed.inc()

    def audit_waiting(self, events: int) -> None:
        """Show how many events wait."""
        self._waiting.set(events)

    def audit_dropped(self, events: int) -> None:
        """Count events that Postgres will never have."""
        self._dropped.inc(events)
