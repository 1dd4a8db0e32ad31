"""What the program itself does: actors, HTTP, the processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from fleet import Section
from panels import NONE_IS_GOOD, About, Look, Query, lines, number, rows

_JOBS: Final = '{job=~"streamwarden-.+"}'
_REQUESTS: Final = "streamwarden_http_requests_total"
_DURATION: Final = "streamwarden_http_request_duration_seconds_bucket"


def sections() -> list[Section]:
    """Return the dashboard's rows of panels."""
    return [
        ("Now", _now()),
        ("Supervision", _supervision()),
        ("HTTP", _http()),
        ("Process", _process()),
        ("FFmpeg", _ffmpeg()),
    ]


def _now() -> Iterable[Builder[Panel]]:
    yield number(
        About(title="Roles up", unit="short", width=4, height=4,
              steps=((None, "red"), (1, "green")),
              text="Roles that Prometheus reaches, of those it is told to scrape."),
        Query(f"sum(up{_JOBS})", "up"),
    )  # fmt: skip
    yield number(
        About(title="Up since", unit="dateTimeFromNow", width=4, height=4,
              text="When the youngest of the processes began."),
        Query(f"1000 * max(process_start_time_seconds{_JOBS})", "since"),
    )  # fmt: skip
    yield number(
        About(title="Parked", unit="short", width=4, height=4, steps=NONE_IS_GOOD,
              text="Actors that failed too often and rest. Runbook: Actor parked."),
        Query("sum(streamwarden_actor_parked)", "parked"),
    )  # fmt: skip
    yield number(
        About(title="Restarts", unit="short", width=4, height=4, decimals=0, steps=NONE_IS_GOOD,
              text="Actors restarted in the time shown: each is a bug of streamwarden."),
        Query("sum(increase(streamwarden_actor_restarts_total[$__range]))", "restarts"),
    )  # fmt: skip
    yield number(
        About(title="Abandoned", unit="short", width=4, height=4, decimals=0, steps=NONE_IS_GOOD,
              text="Actors that outlasted their time to stop; each leaves a thread behind."),
        Query("sum(increase(streamwarden_actor_abandoned_total[$__range]))", "abandoned"),
    )  # fmt: skip
    yield number(
        About(title="Deepest inbox", unit="short", width=4, height=4,
              steps=((None, "green"), (100, "orange"), (1000, "red")),
              text="Messages that wait for one actor."),
        Query("max(streamwarden_actor_inbox_depth)", "messages"),
    )  # fmt: skip


def _supervision() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Restarts by kind of actor", unit="short",
              text="Actors restarted in five minutes. Five within a minute park a recorder and end "
                   "the role of any other actor."),
        Query("sum by (actor) (increase(streamwarden_actor_restarts_total[5m]))", "{{actor}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield lines(
        About(title="Parked by kind of actor", unit="short",
              text="Tried again once an hour, or at once by hand."),
        Query("sum by (actor) (streamwarden_actor_parked)", "{{actor}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield lines(
        About(title="Inboxes", unit="short", text="Messages in the deepest inbox of each kind of actor."),
        Query("max by (actor) (streamwarden_actor_inbox_depth)", "{{actor}}"),
    )  # fmt: skip
    yield rows(
        About(title="Most restarted", unit="short", width=24,
              text="The actors with the most restarts since the process began; camera is empty where "
                   "an actor belongs to none."),
        Query("topk(10, sum by (actor, camera) (streamwarden_actor_restarts_total))", "{{actor}}"),
        of_cameras=True,
    )  # fmt: skip


def _http() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="Requests by role", unit="reqps", text="Answers in each second."),
        Query(f"sum by (role) (rate({_REQUESTS}[$__rate_interval]))", "{{role}}"),
    )  # fmt: skip
    yield lines(
        About(title="Requests by route", unit="reqps", text="The ten most asked for."),
        Query(f"topk(10, sum by (role, method, route) (rate({_REQUESTS}[$__rate_interval])))",
              "{{role}} {{method}} {{route}}"),
    )  # fmt: skip
    yield lines(
        About(title="Answers by status", unit="reqps",
              text="4xx is the caller's affair, 5xx is ours or a role that is away."),
        Query(f"sum by (status) (rate({_REQUESTS}[$__rate_interval]))", "{{status}}"),
        look=Look(stacked=True),
    )  # fmt: skip
    yield lines(
        About(title="Latency by role", unit="s", width=12,
              text="95 of 100 answers were ready within this. Files count until their first byte."),
        Query(f"histogram_quantile(0.95, sum by (le, role) (rate({_DURATION}[5m])))", "{{role}}"),
    )  # fmt: skip
    yield lines(
        About(title="Slowest routes", unit="s", width=12,
              text="95 of 100 answers of a route were ready within this: the ten slowest."),
        Query("topk(10, histogram_quantile(0.95, "
              f"sum by (le, role, method, route) (rate({_DURATION}[5m]))) >= 0)",
              "{{role}} {{method}} {{route}}"),
    )  # fmt: skip


def _process() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="CPU", unit="short",
              text="Cores that each role's process uses, FFmpeg not included. Roles of one process "
                   "each show the whole."),
        Query(f"rate(process_cpu_seconds_total{_JOBS}[$__rate_interval])", "{{job}}"),
    )  # fmt: skip
    yield lines(
        About(title="Memory", unit="bytes", text="Resident in each role's process."),
        Query(f"process_resident_memory_bytes{_JOBS}", "{{job}}"),
    )  # fmt: skip
    yield lines(
        About(title="Open files", unit="percentunit", steps=((None, "green"), (0.8, "red")),
              text="Descriptors of what the system allows. A camera takes three."),
        Query(f"process_open_fds{_JOBS} / process_max_fds{_JOBS}", "{{job}}"),
        look=Look(limits=True, maximum=1),
    )  # fmt: skip


def _ffmpeg() -> Iterable[Builder[Panel]]:
    yield lines(
        About(title="CPU of all FFmpegs", unit="short", width=12,
              text="Cores, those that have ended included."),
        Query("rate(streamwarden_ffmpeg_cpu_seconds_total[$__rate_interval])", "{{job}}"),
    )  # fmt: skip
    yield lines(
        About(title="Memory of all FFmpegs", unit="bytes", width=12,
              text="Resident in those that live. About 50 MB each is as it should be."),
        Query("streamwarden_ffmpeg_resident_bytes", "{{job}}"),
    )  # fmt: skip
