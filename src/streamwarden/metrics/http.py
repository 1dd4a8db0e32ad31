"""What a role's HTTP server did."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that get a label of their own; any other word a client sends is counted as ``other``."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Requests counted and timed by route template, never by the path that was asked for."""

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
        """Count one answer. ``route`` is the template, ``unmatched`` where there is none."""
        known = method if method in METHODS else "other"
        self._requests.labels(role, route, known, str(status)).inc()
        self._duration.labels(role, route, known).observe(seconds)
