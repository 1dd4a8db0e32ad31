from __future__ import annotations

import math

from prometheus_client import CollectorRegistry

from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.metrics.http_metrics import HttpMetrics


def test_a_request_is_counted_by_its_route_template() -> None:
    registry = CollectorRegistry()
    labels = {"role": "api", "route": "/api/v1/camera/{camera_id}", "method": "GET"}
    HttpMetrics(registry).observe(**labels, status=200, seconds=0.02)
    count = registry.get_sample_value(
        "streamwarden_http_requests_total", {**labels, "status": "200"}
    )
    assert count == 1
    assert (
        registry.get_sample_value("streamwarden_http_request_duration_seconds_sum", labels) == 0.02
    )


def test_a_made_up_method_gets_no_label_of_its_own() -> None:
    registry = CollectorRegistry()
    HttpMetrics(registry).observe(
        role="api", route="unmatched", method="BREW", status=405, seconds=0
    )
    found = {s.labels["method"] for m in registry.collect() for s in m.samples}
    assert found == {"other"}


def test_decisions_and_key_expiry_are_shown() -> None:
    registry = CollectorRegistry()
    metrics = AuthMetrics(registry)
    metrics.decided("read", "expired")
    metrics.key_expiry("k1", 1_800_000_000)
    metrics.key_expiry("k2", None)
    sample = registry.get_sample_value
    assert sample("streamwarden_stream_auth_total", {"action": "read", "outcome": "expired"}) == 1
    expiry = "streamwarden_stream_token_key_expiry_timestamp_seconds"
    assert sample(expiry, {"kid": "k1"}) == 1_800_000_000
    assert sample(expiry, {"kid": "k2"}) == math.inf
