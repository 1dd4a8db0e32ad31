from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streamwarden.metrics.api_metrics import AccessMetrics, AuthMetrics, SourceMetrics
from streamwarden.metrics.http_metrics import (
    DatabaseMetrics,
    DumpMetrics,
    HttpMetrics,
    new_registry,
)
from streamwarden.metrics.recording_metrics import RecordingMetrics

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH: install Debian's prometheus"
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(PROMTOOL), *arguments]
    return subprocess.run(argv, cwd=RULES, capture_output=True, text=True, check=False, timeout=240)


@needs_promtool
@pytest.mark.parametrize("file", ["prometheus.yml", "compose.yml"])
def test_prometheus_takes_the_scrape_configuration_and_the_rules(file: str, tmp_path: Path) -> None:
    """``promtool`` wants the file with MediaMTX's secret, which no checkout has."""
    shutil.copytree(RULES, tmp_path, dirs_exist_ok=True)
    secret = tmp_path / "mediamtx.token"
    secret.write_text("x\n")
    text = (RULES / file).read_text()
    named, count = re.subn(r"credentials_file: \S+", f"credentials_file: {secret}", text)
    assert count == 1
    (tmp_path / file).write_text(named)
    checked = promtool("check", "config", str(tmp_path / file))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alertmanager_takes_its_example() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("no amtool: install Debian's prometheus-alertmanager")
    argv = [amtool, "check-config", str(RULES / "alertmanager.yml")]
    checked = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_job_that_an_alert_looks_at_is_scraped_and_every_inhibited_alert_exists() -> None:
    rules = (RULES / "alerts.yml").read_text()
    jobs = set(re.findall(r'job="([\w-]+)"', rules))
    for file in ("prometheus.yml", "compose.yml"):
        assert jobs == set(re.findall(r"job_name: ([\w-]+)", (RULES / file).read_text())), file
    example = (RULES / "alertmanager.yml").read_text()
    inhibit = example.split("inhibit_rules:")[1].split("receivers:")[0]
    patterns = re.findall(r'alertname =~? "([^"]+)"', inhibit)
    for pattern in patterns:
        for part in re.split(r"\|(?![^(]*\))", pattern):
            assert any(re.fullmatch(part, alert) for alert in alerts()), part


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text())


def test_each_alert_is_shown_firing_in_the_rules_tests() -> None:
    tests = (RULES / "alerts_test.yml").read_text()
    for alert in alerts():
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", tests), alert


def test_each_alert_has_its_paragraph_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "operating.md").read_text()
    headings = {
        line[4:].lower().replace(" ", "-") for line in runbook.splitlines() if line[:4] == "### "
    }
    links = re.findall(r"runbook: docs/operating\.md#([\w-]+)", (RULES / "alerts.yml").read_text())
    assert len(links) == len(alerts())
    assert set(links) <= headings


def test_the_rules_ask_only_for_metrics_that_there_are() -> None:
    registry = new_registry()
    for instruments in (
        *(HttpMetrics, DatabaseMetrics, DumpMetrics),
        *(AuthMetrics, AccessMetrics, SourceMetrics),
    ):
        instruments(registry)
    recording = RecordingMetrics(registry)
    recording.sealing()
    recording.watch_inboxes(dict)
    recording.watch_ffmpeg(lambda: (0.0, 0))
    recording.watch_index(lambda: (0, 0.0))
    known = {
        f"{metric.name}{ending}"
        for metric in registry.collect()
        for ending in ("", "_total", "_sum", "_count", "_bucket")
    }
    for file in ("recording.yml", "alerts.yml"):
        for name in re.findall(r"\bstreamwarden_\w+", (RULES / file).read_text()):
            assert name in known, name
