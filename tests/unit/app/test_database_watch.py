from __future__ import annotations

import threading

import pytest

from streamwarden import loops
from streamwarden.app.database_watch import DatabaseWatch
from streamwarden.errors import Unavailable
from streamwarden.metrics.http_metrics import DatabaseMetrics, new_registry

PATIENCE_S = 30.0


def test_a_database_that_goes_and_returns_shows_in_the_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "_RETRY_DELAYS_S", (0.01,))
    registry = new_registry()
    metrics = DatabaseMetrics(registry)
    answers = iter([False, False, True])
    shown: list[float | None] = []
    back = threading.Event()

    def check() -> None:
        if not next(answers):
            raise Unavailable("the database does not answer")

    def on_result(answered: bool) -> None:
        metrics.up(answered)
        shown.append(registry.get_sample_value("streamwarden_database_up"))
        if answered:
            back.set()

    watch = DatabaseWatch(check, on_result)
    watch.start()
    assert back.wait(PATIENCE_S)
    watch.stop()
    assert shown == [0.0, 0.0, 1.0]
