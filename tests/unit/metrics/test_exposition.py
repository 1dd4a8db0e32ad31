from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry, render
from streamwarden.metrics.recording_metrics import RecordingMetrics

PROMTOOL = shutil.which("promtool")


def _everything() -> CollectorRegistry:
    registry = new_registry()
    recording = RecordingMetrics(registry)
    recording.camera_added("cam")
    recording.state("cam", "running")
    recording.segment_stored("cam", 30.0, 30.1, 1_000, 1_700_000_000.0)
    recording.gap("cam", "source_offline", 2.5)
    recording.respawned("cam", "timeout")
    recording.first_segment(31.0)
    recording.actor_restarted("recorder", "cam")
    recording.actor_parked("recorder", "cam", parked=True)
    recording.watch_inboxes(lambda: {"recorder": 3})
    recording.watch_ffmpeg(lambda: (1.5, 2_000))
    recording.watch_index(lambda: (0, 0.0))
    HttpMetrics(registry).observe(
        role="api", route="unmatched", method="GET", status=404, seconds=0.1
    )
    auth = AuthMetrics(registry)
    auth.decided("read", "allowed")
    auth.key_expiry("k1", None)
    return registry


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) is not installed")
def test_promtool_has_no_complaint() -> None:
    body, _ = render(_everything())
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_no_created_series_are_exposed() -> None:
    body, content_type = render(_everything())
    assert b"_created" not in body
    assert content_type.startswith("text/plain; version=0.0.4")


def test_every_name_of_the_contract_is_there() -> None:
    body = render(_everything())[0].decode()
    names = (
        "recorder_state segments_total segment_bytes_total segment_duration_seconds_bucket "
        "recorded_seconds_total gap_seconds_total last_segment_timestamp_seconds "
        "ffmpeg_respawns_total ffmpeg_cpu_seconds_total ffmpeg_resident_bytes "
        "connect_to_first_segment_seconds_bucket actor_restarts_total actor_parked "
        "actor_inbox_depth index_journal_segments index_lag_seconds record_root_free_bytes "
        "stream_auth_total stream_token_key_expiry_timestamp_seconds http_requests_total "
        "http_request_duration_seconds_bucket"
    )
    lines = body.splitlines()
    missing = [
        n for n in names.split() if not any(ln.startswith(f"streamwarden_{n}") for ln in lines)
    ]
    assert missing == []


def test_the_process_shows_its_own_figures() -> None:
    assert b"process_resident_memory_bytes" in render(new_registry())[0]


def test_the_text_says_what_the_library_would_say() -> None:
    registry = new_registry()
    AuthMetrics(registry).decided('a "quoted"\\', "two\nlines")
    RecordingMetrics(registry).segment_stored("cam", 1.25, 2e9, 3, 1_700_000_000.125)
    official = text_string_to_metric_families(generate_latest(registry).decode())
    ours = text_string_to_metric_families(render(registry)[0].decode())
    # The process's own figures are other ones a moment later.
    assert [_said(metric) for metric in ours if "streamwarden" in metric.name] == [
        _said(metric) for metric in official if "streamwarden" in metric.name
    ]


def _said(metric: Metric) -> tuple[object, ...]:
    return metric.name, metric.type, metric.documentation, metric.samples
