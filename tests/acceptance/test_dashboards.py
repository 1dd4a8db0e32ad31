"""Grafana's dashboards against a real Prometheus that scrapes a running demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.acceptance.demo import DemoProgram
from tests.acceptance.prometheus import PROGRAM, Prometheus, prometheus
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import NotSeen, wait_for
from tests.unit.deploy.dashboards import queries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAM is None, reason="prometheus is not on PATH: install Debian's prometheus"
    ),
]


@pytest.fixture
def scraped(demo: DemoProgram, tmp_path: Path) -> Iterator[Prometheus]:
    with prometheus(tmp_path, demo.ready) as running:
        yield running


@pytest.fixture
def silent(demo: DemoProgram) -> Iterator[CameraUser]:
    """A camera that somebody wants and that never publishes: gaps, respawns, soon an alert."""
    body = {"name": "Silent", "owner": "demo", "path": f"demo/{uuid4().hex}"}
    answer = demo.api.post("/api/v1/camera", body)
    assert answer.status in {200, 201}, answer
    camera = CameraUser(demo.api, answer.json()["id"])
    assert camera.connect().status == 200
    yield camera
    assert demo.api.call("DELETE", camera.path).status in {200, 204}


def filled_in(expr: str, camera: CameraUser) -> str:
    """Return a query as Grafana would send it over the last five minutes."""
    times = {"$__rate_interval": "1m", "$__range": "5m"}
    for name, value in (*times.items(), ("$camera", camera.camera_id)):
        expr = expr.replace(name, value)
    assert "$" not in expr
    return expr


def test_every_query_of_every_dashboard_shows_something(
    demo: DemoProgram, scraped: Prometheus, silent: CameraUser
) -> None:
    first, second = demo.cameras
    wait_for("a scrape", lambda: scraped.shows("streamwarden_segments_total"))
    see_the_page(demo)
    lose_the_recorder(demo, first)
    # From here on a first segment is awaited, and Prometheus sees it come.
    second.disconnect()
    second.connect()
    silent.await_status(lambda status: status["respawns"] > 0)

    left = list(queries())

    def all_there() -> bool:
        names = scraped.names()
        left[:] = [
            query
            for query in left
            if not query.metrics <= names or not scraped.shows(filled_in(query.expr, first))
        ]
        return not left

    try:
        wait_for("a figure for every query", all_there)
    except NotSeen:
        pytest.fail("\n".join(f"{query.dashboard}, {query.panel}: {query.expr}" for query in left))


def see_the_page(demo: DemoProgram) -> None:
    """Ask through the page's own role, so that it has answered somebody."""
    webui = CameraUser.of(demo.ready["webui"], demo.ready["token"], "")
    assert webui.api.get("/bff/v1/camera").status == 200


def lose_the_recorder(demo: DemoProgram, camera: CameraUser) -> None:
    """End the camera's FFmpeg, and wait until another one records."""
    run = camera.await_status("running")["run"]
    recorder = demo.recorder_of(camera)
    assert recorder is not None
    recorder.kill()
    camera.await_status(lambda status: status["run"] > run and status["status"] == "running")
