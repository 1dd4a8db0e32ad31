"""The demo: database, media server, cameras and all roles on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import UUID

import structlog

from streamwarden.clock import Clock, rfc3339
from streamwarden.devkit.api_client import ApiClient
from streamwarden.devkit.demo_ports import DemoPorts
from streamwarden.devkit.demo_secrets import DemoSecrets
from streamwarden.devkit.media_server import MediaServerPlan, MediaServerProcess, relay_plan
from streamwarden.devkit.mediamtx_program import MediaMtxMissing, find_mediamtx, mediamtx_plan
from streamwarden.devkit.video_source import RealCamera, TestPicture, VideoSource, source_from
from streamwarden.devkit.virtual_camera import VirtualCamera, stop_cameras
from streamwarden.errors import StreamwardenError, Unavailable

log = structlog.get_logger(__name__)


OWNER = "demo"
"""The user who owns the cameras. The token of the READY line is theirs."""


_HOST = "127.0.0.1"


_API_ANSWERS_WITHIN_S = 60.0


_FIRST_SEGMENT_WITHIN_S = 60.0
"""In addition to the length of three segments: probing, a key frame, a slow machine."""


_CAMERAS_PUBLISH_WITHIN_S = 10.0


_LOOK_EVERY_S = 0.2


_TONES_HZ = (440, 554, 659, 880)


class DemoFailed(StreamwardenError):
    """The demo cannot continue; the message gives the reason."""


class DemoStopped(Exception):
    """``stop`` was set before the demo was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of the command line."""

    data_dir: Path
    ports: DemoPorts
    cameras: int
    sources: Sequence[str] = field(default=(), repr=False)  # a camera's URL may hold a password
    segment_seconds: int


class DemoRoles(Protocol):
    """The product's roles, running in this process."""

    def stop(self, deadline_s: float) -> None:
        """Stop all roles in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoParts:
    """Functions and values that the command gives to the demo.

    ``start_roles`` takes the demo's settings, which override those of the environment; ``user_token``
    signs the demo user's token.
    """

    start_roles: Callable[[Mapping[str, object]], DemoRoles]
    user_token: Callable[[Mapping[str, object]], str]
    start_database: Callable[[], str]
    stop_database: Callable[[], None]
    ffmpeg: str
    clock: Clock
    environ: Mapping[str, str] = field(repr=False)
    stop_timeout_s: float
    source_networks: Sequence[str] = ()


class Demo:
    """One demo. Setting ``stop`` ends it, also while it starts."""

    def __init__(
        self, options: DemoOptions, secrets: DemoSecrets, parts: DemoParts, stop: threading.Event
    ) -> None:
        self._options = options
        self._secrets = secrets
        self._parts = parts
        self._stop = stop

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start everything, yield the READY line, and stop everything in the right order.

        The roles stop first, so that the recorders finish their segments while the cameras are
        still there; then the cameras, the media server and Postgres.
        """
        with ExitStack() as started:
            overrides = self._overrides(started)
            media = self._start_media(started)
            cameras: list[VirtualCamera] = []
            started.callback(lambda: stop_cameras(cameras))
            overrides |= {
                "whep_url": media.plan.whep_url,
                "mediamtx_api_url": media.plan.control_url,
            }
            roles = self._parts.start_roles(overrides)
            started.callback(lambda: roles.stop(self._parts.stop_timeout_s))
            token = self._parts.user_token(overrides)
            api = ApiClient(f"http://{_HOST}:{self._options.ports.api}", token)
            started.callback(api.close)
            ids = self._record(api, cameras, media)
            yield self._ready_line(ids, token, media.plan)

    def _overrides(self, started: ExitStack) -> dict[str, object]:
        started.callback(self._parts.stop_database)
        ports, secrets = self._options.ports, self._secrets
        rtsp_url = f"rtsp://{_HOST}:{ports.rtsp}"
        return {
            "database_url": self._parts.start_database(),
            "record_root": str(self._record_root),
            "host": _HOST,
            "webui_port": ports.webui,
            "api_port": ports.api,
            "streaming_port": ports.streaming,
            "internal_api_port": ports.internal_api,
            "internal_token": secrets.internal_token,
            "user_jwt_secret": secrets.user_jwt_secret,
            "stream_token_keys": secrets.stream_token_keys,
            "source_secret_keys": secrets.source_secret_keys,
            "rtsp_internal_url": rtsp_url,
            "rtsp_publish_url": rtsp_url,
            "source_networks": [*self._parts.source_networks, *self._camera_hosts()],
        }

    def _camera_hosts(self) -> list[str]:
        """Return the hosts that the command line names: the demo's user means them."""
        sources = map(source_from, self._options.sources)
        hosts = {source.host for source in sources if isinstance(source, RealCamera)}
        return sorted(hosts - set(self._parts.source_networks))

    @property
    def _record_root(self) -> Path:
        return self._options.data_dir / "recordings"

    def _start_media(self, started: ExitStack) -> MediaServerProcess:
        self._go_on()
        server = MediaServerProcess(self._media_plan())
        started.callback(server.stop)
        server.start()
        return server

    def _media_plan(self) -> MediaServerPlan:
        ports = self._options.ports
        hook_url = f"http://{_HOST}:{ports.internal_api}/api/v1/m2m/check-stream-pwd"
        environ, token = self._parts.environ, self._secrets.internal_token
        try:
            program = find_mediamtx(environ)
            return mediamtx_plan(
                program, ports.media, hook_url=hook_url, internal_token=token, environ=environ
            )
        except MediaMtxMissing as error:
            log.warning("relay_instead_of_mediamtx", cost="no WebRTC preview", reason=str(error))
            return relay_plan(ports.media, hook_url=hook_url, internal_token=token)

    def _record(
        self, api: ApiClient, cameras: list[VirtualCamera], media: MediaServerProcess
    ) -> list[UUID]:
        since = self._parts.clock.now()
        ids = self._prepare_cameras(api)
        for place, camera_id in enumerate(ids):
            source = self._source(place)
            # The media server pulls a real camera: its password is in no argument of a program.
            url: str | None = None
            login: tuple[str | None, str | None] = (None, None)
            if isinstance(source, RealCamera):
                url, login = source.address, source.login
            self._patiently(
                partial(api.set_source, camera_id, url, username=login[0], password=login[1])
            )
            if url is None:
                cameras.append(self._camera(api, camera_id, source))
                cameras[-1].start()
        self._await_cameras(media, len(ids))
        for camera_id in ids:
            self._patiently(partial(api.connect, camera_id))
        self._await_first_segments(api, ids, since)
        return ids

    def _prepare_cameras(self, api: ApiClient) -> list[UUID]:
        """Return the cameras of this demo; stop surplus cameras of an earlier one."""
        seconds = self._options.segment_seconds
        self._patiently(lambda: api.put_setting("video_segment_seconds", seconds))
        own = [UUID(one["id"]) for one in api.cameras() if one["owner"] == OWNER]
        for place in range(len(own), self._options.cameras):
            added = api.add_camera(name=f"Camera {place + 1}", owner=OWNER)
            own.append(UUID(added["id"]))
        for spare in own[self._options.cameras :]:
            api.disconnect(spare)
        return own[: self._options.cameras]

    def _camera(self, api: ApiClient, camera_id: UUID, source: VideoSource) -> VirtualCamera:
        return VirtualCamera(
            camera_id,
            lambda: api.publish_url(camera_id),
            ffmpeg=self._parts.ffmpeg,
            source=source,
        )

    def _source(self, place: int) -> VideoSource:
        sources = self._options.sources
        if place < len(sources):
            return source_from(sources[place])
        return TestPicture(tone_hz=_TONES_HZ[place % len(_TONES_HZ)])

    def _await_cameras(self, media: MediaServerProcess, count: int) -> None:
        """Wait until the cameras publish, or for the timeout; late ones are recorded as soon as they do."""
        deadline = time.monotonic() + _CAMERAS_PUBLISH_WITHIN_S
        while len(media.published()) < count and time.monotonic() < deadline:
            self._go_on(wait_s=_LOOK_EVERY_S)

    def _await_first_segments(self, api: ApiClient, ids: list[UUID], since: datetime) -> None:
        within_s = _FIRST_SEGMENT_WITHIN_S + 3 * self._options.segment_seconds
        missing = list(ids)
        deadline = time.monotonic() + within_s
        while missing:
            missing = [one for one in missing if not _has_segment(api, one, since)]
            if missing and time.monotonic() > deadline:
                raise DemoFailed(_why_late(api, missing, within_s))
            self._go_on(wait_s=_LOOK_EVERY_S if missing else 0)

    def _patiently(self, call: Callable[[], object]) -> None:
        """Repeat ``call`` while the API or a part of it is still starting."""
        deadline = time.monotonic() + _API_ANSWERS_WITHIN_S
        while True:
            try:
                call()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                self._go_on(wait_s=_LOOK_EVERY_S)
            else:
                return

    def _go_on(self, *, wait_s: float = 0) -> None:
        if self._stop.wait(wait_s):
            raise DemoStopped

    def _ready_line(self, ids: list[UUID], token: str, plan: MediaServerPlan) -> str:
        ports = self._options.ports
        webui = f"http://{_HOST}:{ports.webui}"
        return "READY " + json.dumps(
            {
                "webui": webui,
                "api": f"http://{_HOST}:{ports.api}",
                "internal_api": f"http://{_HOST}:{ports.internal_api}",
                "streaming": f"http://{_HOST}:{ports.streaming}",
                "token": token,
                "sign_in_url": f"{webui}/#token={token}",
                "cameras": [str(one) for one in ids],
                "record_root": str(self._record_root),
                "media_server": plan.kind,
                "rtsp": plan.rtsp_url,
                "internal_token": self._secrets.internal_token,
            }
        )


def _has_segment(api: ApiClient, camera_id: UUID, since: datetime) -> bool:
    try:
        items = api.recordings(camera_id, from_=rfc3339(since))
    except Unavailable:
        return False
    started = rfc3339(since)
    return any(item["kind"] == "segment" and item["ended_at"] > started for item in items)


def _why_late(api: ApiClient, missing: list[UUID], within_s: float) -> str:
    lines = [f"no segment of {len(missing)} camera(s) within {within_s:.0f} s:"]
    for camera_id in missing:
        try:
            status = api.status(camera_id)
            lines.append(f"  {camera_id}: {status['status']}, last error {status['last_error']}")
        except StreamwardenError as error:
            lines.append(f"  {camera_id}: {error}")
    return "\n".join(lines)
