from __future__ import annotations

import re
import subprocess
import sys

import pytest

from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry
from streamwarden.metrics.recording_metrics import RecordingMetrics
from tests.unit.deploy.dashboards import GRAFANA, PROMETHEUS, dashboards, panels, queries

PROMETHEUS_OWN = {"up", "ALERTS"}

pytestmark = pytest.mark.skipif(
    not GRAFANA.exists(), reason="needs the checkout, not an installed package"
)


def known_metrics() -> set[str]:
    registry = new_registry()
    recording = RecordingMetrics(registry)
    recording.watch_inboxes(dict)
    recording.watch_ffmpeg(lambda: (0.0, 0))
    recording.watch_index(lambda: (0, 0.0))
    HttpMetrics(registry)
    AuthMetrics(registry)
    names = {
        name
        for metric in registry.collect()
        for name in (metric.name, f"{metric.name}_total", f"{metric.name}_bucket")
    }
    recorded = re.findall(r"record: (\S+)", (PROMETHEUS / "recording.yml").read_text("utf-8"))
    return names | set(recorded) | PROMETHEUS_OWN


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    command = [sys.executable, str(GRAFANA / "dashboards.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_there_is_a_dashboard_for_the_fleet_a_camera_and_the_supervision_tree() -> None:
    uids = {dashboard["uid"] for dashboard in dashboards().values()}
    assert uids == {"streamwarden-fleet", "streamwarden-camera", "streamwarden-supervision"}


def test_every_query_asks_only_for_metrics_that_there_are() -> None:
    known = known_metrics()
    for query in queries():
        assert query.metrics, query
        assert query.metrics <= known, query


def test_every_panel_says_its_unit_and_what_it_shows() -> None:
    for dashboard, panel in panels():
        assert panel["fieldConfig"]["defaults"].get("unit"), (dashboard, panel["title"])
        assert panel.get("description"), (dashboard, panel["title"])
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], (dashboard, panel["title"])


def test_every_series_has_a_name_in_the_legend() -> None:
    assert [query for query in queries() if not query.legend] == []


def test_no_title_comes_twice_on_a_dashboard_and_none_is_empty() -> None:
    titles = [(dashboard, panel["title"]) for dashboard, panel in panels()]
    assert all(title for _, title in titles)
    assert len(titles) == len(set(titles))


def test_every_panel_asks_the_prometheus_that_the_viewer_has_chosen() -> None:
    for dashboard, panel in panels():
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, (
            dashboard,
            panel["title"],
        )


def test_no_panel_lies_on_another_or_reaches_over_the_edge() -> None:
    for name, dashboard in dashboards().items():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            columns = range(at.get("x", 0), at.get("x", 0) + at["w"])
            cells = {(x, at.get("y", 0) + y) for x in columns for y in range(at["h"])}
            assert columns[-1] < 24, (name, panel["title"])
            assert not cells & taken, (name, panel["title"])
            taken |= cells


def test_a_link_to_a_dashboard_leads_to_one() -> None:
    uids = {dashboard["uid"] for dashboard in dashboards().values()}
    texts = [path.read_text("utf-8") for path in (GRAFANA / "dashboards").glob("*.json")]
    linked = {uid for text in texts for uid in re.findall(r'"/d/([\w-]+)', text)}
    assert linked
    assert linked <= uids
