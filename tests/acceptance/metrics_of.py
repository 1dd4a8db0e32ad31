"""Metrics as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.calls import Caller


def metric_value(base: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels; 0 where there are none."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(exposition(base))
        for sample in family.samples
        if sample.name == f"streamwarden_{name}" and labels.items() <= sample.labels.items()
    )


def exposition(base: str) -> str:
    """Return what is scraped."""
    answer = Caller(base).get("/metrics")
    assert answer.status == 200, answer
    return answer.body.decode()
