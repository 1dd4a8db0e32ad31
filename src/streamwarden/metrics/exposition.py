"""The text that Prometheus scrapes, and the registry that it is made from."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


def new_registry() -> CollectorRegistry:
    """Return a role's own registry, which already tells the process's figures (``process_*``)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def render(registry: Collector) -> tuple[bytes, str]:
    """Return the exposition (text format 0.0.4) of ``registry`` and its content type."""
    return generate_latest(_WithoutCreated(registry)), CONTENT_TYPE_PLAIN_0_0_4


class _WithoutCreated(Collector):
    """Leave out the ``_created`` series: a third more samples, and nothing reads them.

    ``prometheus_client`` can only switch them off for the whole process.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric
