"""Everything that the metrics say of one camera, chosen by the variable ``camera``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from fleet import STATE_COLOURS, Section
from panels import NONE_IS_GOOD, About, Look, Query, bars, lines, number, states

_ONE: Final = 'camera="$camera"'
_RECORDED: Final = f"streamwarden_recorded_seconds_total{{{_ONE}}}"
_BYTES: Final = f"streamwarden_segment_bytes_total{{{_ONE}}}"
_SEGMENTS: Final = f"streamwarden_segments_total{{{_ONE}}}"
_GAPS: Final = f"streamwarden_gap_seconds_total{{{_ONE}}}"
_RESPAWNS: Final = f"streamwarden_ffmpeg_respawns_total{{{_ONE}}}"


def sections() -> list[Section]:
    """Return the dashboard's rows of panels."""
    return [("Now", _now()), ("State and losses", _losses()), ("Segments", _segments())]


def _now() -> Iterable[Builder[Panel]]:
    yield number(
        About(title="Last segment ended", unit="s", width=4, height=4,
              steps=((None, "green"), (120, "orange"), (300, "red")),
              text="How long ago the newest segment on disk ended."),
        Query(f"time() - max(streamwarden_last_segment_timestamp_seconds{{{_ONE}}})", "ago"),
    )  # fmt: skip
    yield number(
        About(title="Recorded of what was wanted", unit="percentunit", width=4, height=4,
              decimals=3, steps=((None, "red"), (0.999, "green")),
              text="Over the time shown. The budget is 99.9 %."),
        Query(f"sum(increase({_RECORDED}[$__range])) / (sum(increase({_RECORDED}[$__range]))"
              f" + (sum(increase({_GAPS}[$__range])) or vector(0)))", "recorded"),
    )  # fmt: skip
    yield number(
        About(title="Missing", unit="s", width=4, height=4, decimals=1,
              text="Seconds wanted and not recorded, in the time shown."),
        Query(f"sum(increase({_GAPS}[$__range])) or vector(0)", "missing"),
    )  # fmt: skip
    yield number(
        About(title="FFmpeg respawns", unit="short", width=4, height=4, decimals=0,
              text="FFmpegs started again in the time shown."),
        Query(f"sum(increase({_RESPAWNS}[$__range])) or vector(0)", "respawns"),
    )  # fmt: skip
    yield number(
        About(title="Recorder restarts", unit="short", width=4, height=4, decimals=0,
              steps=NONE_IS_GOOD,
              text="Restarts of this camera's actor in the time shown: each is a bug of streamwarden."),
        Query(f"sum(increase(streamwarden_actor_restarts_total{{{_ONE}}}[$__range]))", "restarts"),
    )  # fmt: skip
    yield number(
        About(title="Parked", unit="bool_yes_no", width=4, height=4, steps=NONE_IS_GOOD,
              text="Whether the actor has failed too often and rests. Runbook: Actor parked."),
        Query(f"max(streamwarden_actor_parked{{{_ONE}}})", "parked"),
    )  # fmt: skip


def _losses() -> Iterable[Builder[Panel]]:
    yield states(
        About(title="State", unit="short", width=24, height=6,
              text="The state that the recorder was in. Only running records."),
        Query(f"max by (state) (streamwarden_recorder_state{{{_ONE}}} == 1)", "{{state}}"),
        STATE_COLOURS,
    )  # fmt: skip
    yield lines(
        About(title="Missing by cause", unit="percentunit",
              text="Lost share of each second, by cause."),
        Query(f"sum by (cause) (rate({_GAPS}[5m]))", "{{cause}}"),
        look=Look(stacked=True, maximum=1),
    )  # fmt: skip
    yield bars(
        About(title="Missing in the time shown", unit="s", text="Seconds lost, by cause."),
        Query(f"sort_desc(sum by (cause) (increase({_GAPS}[$__range])))", "{{cause}}"),
    )  # fmt: skip
    yield lines(
        About(title="FFmpeg respawns by cause", unit="short",
              text="FFmpegs started again in five minutes, by why the one before was lost."),
        Query(f"sum by (cause) (increase({_RESPAWNS}[5m]))", "{{cause}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield lines(
        About(title="Gap budget", unit="percentunit", width=24,
              steps=((None, "green"), (0.006, "orange"), (0.0144, "red")),
              text="Missing share over four windows. Alerts: 1.44 % over an hour and 5 minutes, "
                   "0.6 % over six hours and 30 minutes. Runbook: Gap budget."),
        *(
            Query(f"streamwarden:missing_ratio:rate{window}{{{_ONE}}}", words)
            for window, words in (
                ("5m", "5 minutes"), ("30m", "30 minutes"), ("1h", "1 hour"), ("6h", "6 hours"),
            )
        ),
        look=Look(limits=True),
    )  # fmt: skip


def _segments() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Recorded share", unit="percentunit",
              text="Seconds recorded in each second over five minutes. It rises in steps, as segments "
                   "are stored."),
        Query(f"sum(rate({_RECORDED}[5m]))", "recorded"),
        look=Look(maximum=1.2),
    )  # fmt: skip
    yield lines(
        About(title="Bit rate", unit="bps", text="Bits stored for each recorded second."),
        Query(f"8 * sum(rate({_BYTES}[5m])) / sum(rate({_RECORDED}[5m]))", "bit rate"),
    )  # fmt: skip
    yield lines(
        About(title="Segments", unit="s",
              text="Their mean length by the wall clock, and how many are stored in a minute."),
        Query(f"sum(rate({_RECORDED}[5m])) / sum(rate({_SEGMENTS}[5m]))", "mean length"),
        Query(f"60 * sum(rate({_SEGMENTS}[5m]))", "a minute"),
        look=Look(right=("a minute", "short")),
    )  # fmt: skip
