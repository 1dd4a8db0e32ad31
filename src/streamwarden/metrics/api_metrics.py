"""Metrics of the API role: stream tokens, revocation, the audit trail, and pulled cameras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from streamwarden.model import SourceTrouble


class AuthMetrics:
    """Decisions about stream tokens by action and outcome (closed sets of ``auth``), and key expiry."""

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
        """Set when the key ``kid`` expires, in seconds since the epoch; None: never."""
        self._expiry.labels(kid).set(math.inf if timestamp is None else timestamp)


_USES = ("record", "view", "publish")


class AccessMetrics:
    """Deny list, kicked sessions and audit trail; all labels are from closed sets."""

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
        """Set the number of rules, and when the list was last known to be complete."""
        self._rules.set(rules)
        self._read_at.set(read_at_s)

    def kicked(self, use: str, reason: str) -> None:
        """Count a kicked session."""
        self._kicked.labels(use, reason).inc()

    def sweep_failed(self) -> None:
        """Count a failed pass of the loop."""
        self._failed.inc()

    def audit_waiting(self, events: int) -> None:
        """Set the number of events that wait for Postgres."""
        self._waiting.set(events)

    def audit_dropped(self, events: int) -> None:
        """Count events that were written to the log instead of Postgres."""
        self._dropped.inc(events)


REASONS: Final = ("not_allowed", "unresolved", "credentials", "refused", "invalid")


class SourceMetrics:
    """Pulled cameras and their faults; all labels are from closed sets."""

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
        self._troubles = Gauge(
            "streamwarden_source_troubles",
            "Cameras that are pulled and give no stream, by what they answered.",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:
            self._faults.labels(reason)
        self.troubles({})

    def show(self, *, wanted: int, are_set: int, faults: Mapping[str, int]) -> None:
        """Set the result of a pass."""
        self._wanted.set(wanted)
        self._set.set(are_set)
        for reason in REASONS:
            self._faults.labels(reason).set(faults.get(reason, 0))

    def troubles(self, found: Mapping[str, int]) -> None:
        """Set why cameras give no stream."""
        for reason in SourceTrouble:
            self._troubles.labels(reason).set(found.get(reason, 0))

    def sweep_failed(self) -> None:
        """Count a failed pass of the loop."""
        self._failed.inc()
