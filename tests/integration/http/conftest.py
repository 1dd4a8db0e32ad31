"""Real servers on free ports, and a client for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import urllib3
from prometheus_client import CollectorRegistry

from streamwarden.http.falcon_app import AppContext
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.metrics.http_metrics import HttpMetrics, render

INTERNAL_TOKEN = "internal-token-for-tests"

Serve = Callable[[WsgiApp], str]


@pytest.fixture
def shared() -> AppContext:
    registry = CollectorRegistry()
    return AppContext(
        role="test",
        metrics=HttpMetrics(registry),
        render=lambda: render(registry),
        internal_token=INTERNAL_TOKEN,
    )


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start an app on a server of its own; returns the base URL."""
    with ExitStack() as stack:

        def start(app: WsgiApp) -> str:
            server = HttpServer(app, "127.0.0.1", 0, threads=4, name="test")
            server.start()
            stack.callback(server.stop, 5)
            return f"http://127.0.0.1:{server.port}"

        yield start


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=5) as manager:
        yield manager
