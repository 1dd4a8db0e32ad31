"""Routes of operators (role admin): summary, supervision tree, restart by hand, settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import falcon
import structlog
from pydantic import Field

from streamwarden.auth.users import User
from streamwarden.clock import Clock
from streamwarden.errors import NotFound, Unavailable
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.relay_file import read_answer
from streamwarden.http.api.stream_routes import KEY, MAX_S, MIN_S, StreamService, segment_seconds
from streamwarden.http.middleware import name_request
from streamwarden.http.models import BodyInteger, Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import body_of, user_of
from streamwarden.http.wire import (
    CauseCount,
    ChildState,
    DiskModel,
    IndexModel,
    RetentionWaitModel,
    RoleSummary,
    Supervision,
)
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.recording_index import CoverageRepository
from streamwarden.storage.streams import SettingsRepository, StreamRepository

log = structlog.get_logger(__name__)
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_SHORTEST: Final = timedelta(hours=1)
KEPT_S: Final = 15.0
"""Lifetime of the sums: they read a day's rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Bytes recorded in the last day, and the time of the oldest recording."""

    bytes_last_day: int
    oldest: datetime | None

    def bytes_per_day(self, now: datetime) -> int:
        """Return the bytes per day, extrapolated from at least an hour if there is less than a day."""
        if self.oldest is None:
            return 0
        age = min(max(now - self.oldest, _SHORTEST), _DAY)
        return round(self.bytes_last_day * (_DAY / age))


def full_at(
    growth: Growth, *, now: datetime, free_bytes: int, reserve_bytes: int, keep_for: timedelta
) -> datetime | None:
    """Return when the reserve will be reached, None where retention deletes before that."""
    per_day = growth.bytes_per_day(now)
    if per_day <= 0 or growth.oldest is None:
        return None
    deleted_from = growth.oldest + keep_for
    left_days = max(0, free_bytes - reserve_bytes) / per_day
    # Compared as days: the date of an empty disk may be beyond the last datetime.
    if left_days >= (deleted_from - now) / _DAY:
        return None
    return now + timedelta(days=left_days)


class CauseSum(Model):
    """Missing seconds of one cause."""

    cause: str
    seconds: float


class Window(Model):
    """Recorded and missing time of all cameras."""

    recorded_seconds: float
    missing_seconds: float
    causes: list[CauseSum]


class Reachable(Model):
    """``reachable`` is false while the streaming role does not answer."""

    reachable: bool


class CameraCounts(Model):
    """Numbers of cameras; ``by_state`` is null while the streaming role does not answer."""

    total: int
    active: int
    by_state: dict[str, int] | None


class DiskForecast(Model):
    """The disk, and the time its reserve will be reached; null where retention comes first.

    ``floor_reached``: less than the reserve is free, and what is left is younger than RETENTION_MIN.
    """

    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    bytes_per_day: int
    full_at: Timestamp | None
    floor_reached: bool


class SummaryModel(Model):
    """Null parts are the streaming role's, while it does not answer."""

    at: Timestamp
    streaming: Reachable
    cameras: CameraCounts
    respawns: int | None
    respawn_causes: list[CauseCount] | None
    hour: Window
    day: Window
    disk: DiskForecast | None
    index: IndexModel | None
    retention_waits: list[RetentionWaitModel] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coverage:
    hour: Window
    day: Window
    cameras: Mapping[str, int]
    growth: Growth


class CoverageCache:
    """Sums over all cameras, cached for `KEPT_S`. Any thread; one query at a time."""

    def __init__(self, coverage: CoverageRepository, clock: Clock) -> None:
        self._coverage = coverage
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, _Coverage] | None = None

    def get(self) -> _Coverage:
        """Return the sums; raise Unavailable while Postgres is away."""
        with self._lock:
            now_s = self._clock.monotonic()
            if self._kept is None or now_s - self._kept[0] > KEPT_S:
                self._kept = (now_s, self._ask(self._clock.now()))
            return self._kept[1]

    def _ask(self, now: datetime) -> _Coverage:
        recorded = self._coverage.recorded(now - _DAY)
        return _Coverage(
            hour=self._window(now, _HOUR, self._coverage.recorded(now - _HOUR).seconds),
            day=self._window(now, _DAY, recorded.seconds),
            cameras=self._coverage.cameras(),
            growth=Growth(bytes_last_day=recorded.size_bytes, oldest=self._coverage.oldest()),
        )

    def _window(self, now: datetime, span: timedelta, recorded_s: float) -> Window:
        missing = self._coverage.missing(now - span, now)
        return Window(
            recorded_seconds=round(recorded_s, 3),
            missing_seconds=round(sum(one.seconds for one in missing), 3),
            causes=[CauseSum(cause=one.cause, seconds=round(one.seconds, 3)) for one in missing],
        )


class OpsSummary(Resource):
    """``GET /api/v1/ops/summary``."""

    def __init__(self, sums: CoverageCache, streaming: StreamingClient, clock: Clock) -> None:
        self._sums = sums
        self._streaming = streaming
        self._clock = clock

    @operation(
        "Cameras, coverage, disk and index at a glance",
        access=Access.BEARER,
        answers={200: SummaryModel},
        refusals=(403, 503),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the parts that are known, also without the streaming role."""
        require_admin(user_of(req))
        sums, role, now = self._sums.get(), self._role(), self._clock.now()
        respond(
            resp,
            SummaryModel(
                at=now,
                streaming=Reachable(reachable=role is not None),
                cameras=CameraCounts(
                    total=sum(sums.cameras.values()),
                    active=sums.cameras.get("active", 0),
                    by_state=role and _by_state(role, sum(sums.cameras.values())),
                ),
                respawns=role.respawns if role else None,
                respawn_causes=role.respawn_causes if role else None,
                hour=sums.hour,
                day=sums.day,
                disk=_forecast(role.disk, sums.growth, now) if role else None,
                index=role.index if role else None,
                retention_waits=role.retention_waits if role else None,
            ),
        )

    def _role(self) -> RoleSummary | None:
        try:
            return read_answer(RoleSummary, self._streaming.summary())
        except Unavailable:
            log.info("summary_without_streaming")
            return None


def _by_state(role: RoleSummary, total: int) -> dict[str, int]:
    """Return cameras by state; those without a recorder are stopped."""
    known = sum(role.by_state.values())
    stopped = role.by_state.get("stopped", 0) + max(0, total - known)
    return role.by_state | ({"stopped": stopped} if stopped else {})


class OpsTree(Resource):
    """``GET /api/v1/ops/supervision``."""

    def __init__(self, streaming: StreamingClient) -> None:
        self._streaming = streaming

    @operation(
        "The supervision tree",
        access=Access.BEARER,
        answers={200: Supervision},
        refusals=(403, 503),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with every child, its status and its incarnation."""
        require_admin(user_of(req))
        respond(resp, read_answer(Supervision, self._streaming.supervision()))


class OpsRestart(Resource):
    """``POST /api/v1/ops/supervision/{child}/restart``."""

    def __init__(self, streaming: StreamingClient) -> None:
        self._streaming = streaming

    @operation(
        "Restart a child by hand",
        access=Access.BEARER,
        answers={200: ChildState},
        refusals=(403, 404, 409, 503),
        about=(
            "A parked recorder is started, a running one's FFmpeg replaced by make before break. "
            "404 `child_not_found`, 409 `not_restartable` for what is no recorder."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, child: str) -> None:
        """Answer with the child after the restart."""
        user = user_of(req)
        require_admin(user)
        found = self._streaming.restart_child(child, request_id=name_request(req))
        log.info("child_restarted_by_hand", child=child, by=user.sub)
        respond(resp, read_answer(ChildState, found))


def _forecast(disk: DiskModel, growth: Growth, now: datetime) -> DiskForecast:
    return DiskForecast(
        total_bytes=disk.total_bytes,
        free_bytes=disk.free_bytes,
        reserve_bytes=disk.reserve_bytes,
        bytes_per_day=growth.bytes_per_day(now),
        full_at=full_at(
            growth,
            now=now,
            free_bytes=disk.free_bytes,
            reserve_bytes=disk.reserve_bytes,
            keep_for=timedelta(days=disk.keep_days),
        ),
        floor_reached=disk.floor_reached,
    )


class SettingNotFound(NotFound):
    """No setting of this name."""

    code = "setting_not_found"


class SettingBody(Model):
    """The new value."""

    value: BodyInteger = Field(ge=MIN_S, le=MAX_S)


class Setting(Model):
    """A setting and the value in force."""

    key: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingService:
    """Reads and changes settings, and sends them to the running streams."""

    settings: SettingsRepository
    cameras: CameraRepository
    desired: StreamRepository
    streams: StreamService

    def put(self, value: int, *, request_id: str) -> None:
        """Set the length of segments; wanted streams adopt it, make before break.

        The first call without an answer ends the round: the streaming role reads the setting itself
        when it reconciles.
        """
        self.settings.put(KEY, value)
        wanted = {stream.camera_id for stream in self.desired.all() if stream.wanted}
        for camera in self.cameras.all_active():
            if camera.id in wanted and not self.streams.hand_over(camera, request_id):
                return


class SettingItem(Resource):
    """``/api/v1/settings/{key}``."""

    def __init__(self, service: SettingService) -> None:
        self._service = service

    @operation("A setting", access=Access.BEARER, answers={200: Setting}, refusals=(403, 404, 503))
    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Answer with the value in force; role admin."""
        _admit(user_of(req), key)
        respond(resp, Setting(key=KEY, value=segment_seconds(self._service.settings)))

    @operation(
        "Change a setting",
        access=Access.BEARER,
        body=SettingBody,
        answers={200: Setting},
        refusals=(403, 404, 503),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Answer with the new value; role admin."""
        _admit(user_of(req), key)
        value = body_of(req, SettingBody).value
        self._service.put(value, request_id=name_request(req))
        respond(resp, Setting(key=KEY, value=value))


def _admit(user: User, key: str) -> None:
    require_admin(user)
    if key != KEY:
        raise SettingNotFound("there is no such setting")
