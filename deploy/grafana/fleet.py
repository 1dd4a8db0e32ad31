"""The first dashboard an operator opens: is everything recorded, and for how long still?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from panels import NONE_IS_GOOD, About, Look, Query, bars, lines, number, rows

Section = tuple[str, Iterable[Builder[Panel]]]

STATE_COLOURS: Final = {
    "running": "green",
    "starting": "light-blue",
    "waiting_for_key_frame": "blue",
    "stalled": "orange",
    "backoff": "red",
    "parked": "dark-red",
    "stopping": "blue",
    "stopped": "text",
}
HOOK: Final = '{route="/api/v1/m2m/check-stream-pwd"}'
_FREE: Final = "streamwarden_record_root_free_bytes"
_YEAR_S: Final = 365 * 86400


def sections() -> list[Section]:
    """Return the dashboard's rows of panels, most urgent first."""
    return [
        ("Now", _now()),
        ("Cameras", _cameras()),
        ("Recorded and missing", _losses()),
        ("Segments", _segments()),
        ("Disk and index", _store()),
        ("Media server's questions", _hook()),
    ]


def _now() -> Iterable[Builder[Panel]]:
    yield number(
        About(title="Wanted", unit="short", width=4, height=4,
              text="Cameras that somebody wants recorded."),
        Query("streamwarden:cameras:wanted", "wanted"),
    )  # fmt: skip
    yield number(
        About(title="Recording", unit="short", width=4, height=4,
              text="Cameras whose open segment grows."),
        Query("streamwarden:cameras:recording", "recording"),
    )  # fmt: skip
    yield number(
        About(title="Not recording", unit="short", width=4, height=4, steps=NONE_IS_GOOD,
              text="Wanted and starting, waiting, stalled, between two tries, or parked. "
                   "Runbook: Camera not recording."),
        Query("streamwarden:cameras:not_recording", "not recording"),
    )  # fmt: skip
    yield number(
        About(title="Alerts firing", unit="short", width=4, height=4, steps=NONE_IS_GOOD,
              text="Alerts of deploy/prometheus/alerts.yml; the table below names them."),
        Query('count(ALERTS{alertname=~"Streamwarden.+",alertstate="firing"}) or vector(0)',
              "firing"),
    )  # fmt: skip
    yield number(
        About(title="Recorded of what was wanted", unit="percentunit", width=4, height=4,
              decimals=3, steps=((None, "red"), (0.999, "green")),
              text="Over the time shown. The budget is 99.9 %. A segment counts when it is stored."),
        Query(_recorded_share(), "recorded"),
    )  # fmt: skip
    yield number(
        About(title="Disk full in", unit="s", width=4, height=4, decimals=1,
              steps=((None, "red"), (86400, "orange"), (7 * 86400, "green")),
              text="At the rate of the last 6 hours; a year means later, or never. Retention begins "
                   "to delete once less than the reserve is free. Runbook: Disk full."),
        Query(f"clamp_max(min({_FREE} / clamp_min(-deriv({_FREE}[6h]), 1)), {_YEAR_S})", "full in"),
    )  # fmt: skip


def _recorded_share() -> str:
    recorded = "sum(increase(streamwarden_recorded_seconds_total[$__range]))"
    missing = "sum(increase(streamwarden_gap_seconds_total[$__range]))"
    return f"{recorded} / ({recorded} + ({missing} or vector(0)))"


def _cameras() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Cameras by state", unit="short", width=12,
              text="Each camera is in one state. Only running records."),
        Query("sum by (state) (streamwarden_recorder_state)", "{{state}}"),
        look=Look(stacked=True, colours=STATE_COLOURS),
    )  # fmt: skip
    yield rows(
        About(title="Wanted and not recording", unit="short", width=12,
              text="Empty is good. A camera's name leads to its own dashboard."),
        Query('streamwarden_recorder_state{state=~"starting|waiting_for_key_frame|stalled|backoff|parked"}'
              " == 1",
              "{{camera}}"),
        hidden=["Value"], of_cameras=True,
    )  # fmt: skip
    yield bars(
        About(title="Oldest last segments", unit="s", width=12,
              steps=((None, "green"), (120, "orange"), (300, "red")),
              text="How long ago the newest segment of each wanted camera ended: the ten oldest. "
                   "Up to the segment length and a second is as it should be."),
        Query("topk(10, max by (camera) (time() - streamwarden_last_segment_timestamp_seconds) "
              'and on (camera) streamwarden_recorder_state{state="stopped"} == 0)', "{{camera}}"),
        of_cameras=True,
    )  # fmt: skip
    yield rows(
        About(title="Alerts", unit="short", width=12,
              text="What fires or is about to. Each has its paragraph in docs/operating.md."),
        Query('sum by (alertname, alertstate, severity, camera) (ALERTS{alertname=~"Streamwarden.+"})',
              "{{alertname}}"),
        hidden=["Value"], of_cameras=True,
    )  # fmt: skip


def _losses() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Recorded and missing", unit="short",
              text="Camera-seconds recorded and missing in each second: in cameras, on average. "
                   "Together they are what was wanted."),
        Query("sum(rate(streamwarden_recorded_seconds_total[5m]))", "recorded"),
        Query("sum(rate(streamwarden_gap_seconds_total[5m]))", "missing"),
        look=Look(stacked=True, colours={"recorded": "green", "missing": "red"}),
    )  # fmt: skip
    yield lines(
        About(title="Missing by cause", unit="short",
              text="Camera-seconds lost in each second, by cause. docs/architecture.md explains them."),
        Query("sum by (cause) (rate(streamwarden_gap_seconds_total[5m]))", "{{cause}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield bars(
        About(title="Missing in the time shown", unit="s", text="Camera-seconds lost, by cause."),
        Query("sort_desc(sum by (cause) (increase(streamwarden_gap_seconds_total[$__range])))",
              "{{cause}}"),
    )  # fmt: skip
    yield lines(
        About(title="Gap budget, last hour", unit="percentunit", width=12,
              steps=((None, "green"), (0.0144, "red")),
              text="Missing share of the last hour, the ten worst cameras. Above 1.44 % a month's "
                   "budget is gone in two days. Runbook: Gap budget."),
        Query("topk(10, streamwarden:missing_ratio:rate1h)", "{{camera}}"),
        look=Look(limits=True, of_cameras=True),
    )  # fmt: skip
    yield lines(
        About(title="FFmpeg respawns by cause", unit="short", width=12,
              text="FFmpegs started again in five minutes, by why the one before was lost."),
        Query("sum by (cause) (increase(streamwarden_ffmpeg_respawns_total[5m]))", "{{cause}}"),
        look=Look(stacked=True),
    )  # fmt: skip


def _segments() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Segments", unit="cps", text="Segments stored and indexed in each second."),
        Query("sum(rate(streamwarden_segments_total[5m]))", "segments"),
    )  # fmt: skip
    yield lines(
        About(title="Bytes", unit="Bps", text="What recording writes, now and over an hour."),
        Query("sum(rate(streamwarden_segment_bytes_total[5m]))", "5 minutes"),
        Query("streamwarden:bytes:rate1h", "1 hour"),
    )  # fmt: skip
    yield lines(
        About(title="Segment length", unit="s",
              text="Media duration of the segments stored. Short ones come of lost runs."),
        *_quantiles("streamwarden_segment_duration_seconds_bucket[5m]"),
    )  # fmt: skip
    yield lines(
        About(title="From connect to the first segment", unit="s", width=24,
              text="From the click to the first segment on disk, over an hour. One segment length "
                   "and about two seconds is as it should be."),
        *_quantiles("streamwarden_connect_to_first_segment_seconds_bucket[1h]"),
    )  # fmt: skip


def _store() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Free disk", unit="bytes",
              text="Free where recordings are kept, and what the last 6 hours foretell for tomorrow."),
        Query(f"min({_FREE})", "free"),
        Query(f"clamp_min(min(predict_linear({_FREE}[6h], 86400)), 0)", "in 24 hours"),
    )  # fmt: skip
    yield lines(
        About(title="Deleted by retention", unit="Bps", text="Bytes deleted, by reason."),
        Query("sum by (reason) (rate(streamwarden_segment_deleted_bytes_total[5m]))", "{{reason}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield lines(
        About(title="Index", unit="s", steps=((None, "green"), (60, "red")),
              text="Age of the oldest segment that is on disk and not in Postgres, and how many wait. "
                   "Recording does not depend on it. Runbook: Index lag."),
        Query("max(streamwarden_index_lag_seconds)", "lag"),
        Query("sum(streamwarden_index_journal_segments)", "waiting"),
        look=Look(limits=True, right=("waiting", "short"), colours={"lag": "blue", "waiting": "text"}),
    )  # fmt: skip


def _hook() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Decisions", unit="reqps",
              text="What the hook answered to publishers and readers. Anything but allowed is a "
                   "refusal and names its reason."),
        Query("sum by (action, outcome) (rate(streamwarden_stream_auth_total[$__rate_interval]))",
              "{{action}} {{outcome}}"),
    )  # fmt: skip
    yield lines(
        About(title="Latency of the hook", unit="s", text="Until the answer was ready. It asks nobody."),
        *_quantiles(f"streamwarden_http_request_duration_seconds_bucket{HOOK}[5m]"),
    )  # fmt: skip
    yield number(
        About(title="Signing keys end in", unit="s", decimals=1,
              steps=((None, "red"), (14 * 86400, "green")),
              text="The first of STREAM_TOKEN_KEYS to end; ten years means that no end is set. "
                   "Runbook: Signing key."),
        Query("clamp_max(min(streamwarden_stream_token_key_expiry_timestamp_seconds) - time(), "
              f"{10 * _YEAR_S})", "ends in"),
    )  # fmt: skip


def _quantiles(buckets: str) -> list[Query]:
    return [
        Query(f"histogram_quantile({share}, sum by (le) (rate({buckets})))", name)
        for share, name in ((0.5, "half"), (0.9, "9 in 10"), (0.99, "99 in 100"))
    ]
