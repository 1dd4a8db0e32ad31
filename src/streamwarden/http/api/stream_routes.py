"""Routes of one camera's stream: connect, disconnect, status; and the service behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import falcon
import structlog
from pydantic import Field

from streamwarden.actors.messages import RecorderState
from streamwarden.auth.permissions import CameraAction
from streamwarden.auth.rtsp_urls import internal_url
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import User
from streamwarden.clock import Clock
from streamwarden.errors import StreamingUnavailable, StreamwardenError, Unavailable
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.middleware import name_request
from streamwarden.http.models import BodyInteger, Empty, Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import body_of, user_of
from streamwarden.http.wire import StatusModel, status_from_json
from streamwarden.mediamtx.source_checks import WORDS, SourceTroubles
from streamwarden.model import Camera, Cause, DesiredChange, DesiredStream, SourceTrouble
from streamwarden.storage.streams import SettingsRepository, StreamRepository

log = structlog.get_logger(__name__)
_STRIPES = 256
KEY = "video_segment_seconds"
FALLBACK_S = 30
MIN_S = 1
MAX_S = 3600
RECORD_TTL_S = 300
"""The lifetime of a recorder's read token where no user has set one."""
_NO_STREAM_FROM_SOURCE = (
    "the media server gets no stream from the camera: is it on, and are its source_url, user name "
    "and password right?"
)


class StreamLocks:
    """A lock for each camera, from a fixed number; cameras that share one wait for each other.

    ``StreamRepository.put_back`` restores the state that its caller has read, so two changes of a
    camera must not overlap.
    """

    def __init__(self, wait_s: float = 2.0) -> None:
        self._wait_s = wait_s
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    @contextmanager
    def changing(self, camera_id: UUID) -> Iterator[None]:
        """Hold the camera's lock; raise Unavailable if another change holds it too long."""
        lock = self._locks[camera_id.int % _STRIPES]
        if not lock.acquire(timeout=self._wait_s):
            raise Unavailable("another change of this stream is still going on", retry_after_s=2)
        try:
            yield
        finally:
            lock.release()


def segment_seconds(settings: SettingsRepository) -> int:
    """Return the length of segments, `FALLBACK_S` where the setting is missing or invalid."""
    value = settings.get(KEY)
    if value is None:
        return FALLBACK_S
    if isinstance(value, int) and not isinstance(value, bool) and MIN_S <= value <= MAX_S:
        return value
    log.warning("setting_ignored", key=KEY, fallback=FALLBACK_S)
    return FALLBACK_S


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamService:
    """Starts and stops cameras' streams, one change of a camera at a time."""

    access: CameraAccess
    tokens: StreamTokens
    settings: SettingsRepository
    desired: StreamRepository
    cache: DesiredCache
    streaming: StreamingClient
    clock: Clock
    rtsp_internal_url: str
    locks: StreamLocks
    revocations: Revocations
    troubles: SourceTroubles

    def connect(self, user: User, camera_id: UUID, *, ttl_s: int, request_id: str) -> StatusModel:
        """Set the camera's desired state to wanted, and start it.

        If the streaming role does not answer, the desired state is put back: a user who gets 503 has
        changed nothing. If it has started the camera all the same (its answer was lost), it stops the
        camera when it next reconciles, within 30 s.

        Raises:
            CameraNotFound, Denied, CameraInactive: as ``find_for_connect``.
            Unavailable: ``streaming_unavailable``, or Postgres is away.
            Conflict: ``other_owner``, the camera is recorded for another owner.
        """
        # Locked from the look-up on, so that the camera is not removed meanwhile.
        with self.locks.changing(camera_id):
            camera = self.access.find_for_connect(user, camera_id)
            url = self._read_url(camera, ttl_s)
            seconds = segment_seconds(self.settings)
            change = self.desired.want(camera, requested_by=user.sub, at=self.clock.now())
            try:
                info = self._start(camera, url, seconds, request_id)
            except Exception:
                self._put_back(change)
                raise
            self.cache.remember(camera, wanted=True)
        return info

    def disconnect(self, user: User, camera_id: UUID, *, request_id: str) -> StatusModel:
        """Set the camera's desired state to not wanted, and stop it.

        The desired state is changed first and stays: without the streaming role the caller gets 503,
        and the recording ends when that role reconciles. A stop is never undone.
        """
        camera = self.access.find(user, camera_id, CameraAction.CONTROL)
        with self.locks.changing(camera_id):
            self.desired.unwant(camera_id, requested_by=user.sub, at=self.clock.now())
            self.cache.remember(camera, wanted=False)
            self.revocations.stopped(camera)
            return checked(self.streaming.stop(camera_id, request_id=request_id))

    def status(self, user: User, camera_id: UUID) -> CameraStatusModel:
        """Return the camera's status from the streaming role, and why the camera gives no stream."""
        camera = self.access.find(user, camera_id, CameraAction.SEE)
        status = checked(self.streaming.status(camera_id))
        stopped = None
        if status.status == RecorderState.STOPPED:
            stopped = _stopped(self.desired.get(camera_id))
        trouble = self.troubles.of(camera_id) if camera.source_url is not None else None
        return _of_a_source(status, camera, trouble, stopped)

    def statuses(self, cameras: Collection[Camera]) -> dict[UUID, CameraStatusModel]:
        """Return the status of each of these cameras, from one call of the streaming role."""
        if not cameras:
            return {}
        known = {one.camera_id: one for one in map(checked, self.streaming.statuses())}
        desired = {one.camera_id: one for one in self.desired.all()}
        found = {}
        for camera in cameras:
            status, stopped = known.get(camera.id) or _never_wanted(camera), None
            if status.status == RecorderState.STOPPED:
                stopped = _stopped(desired.get(camera.id))
            trouble = self.troubles.of(camera.id) if camera.source_url is not None else None
            found[camera.id] = _of_a_source(status, camera, trouble, stopped)
        return found

    def hand_over(self, camera: Camera, request_id: str | None) -> bool:
        """Send a wanted camera's changed path or segment length to the streaming role.

        Returns False if the role does not answer; it then reads the change when it reconciles.
        """
        url = self._read_url(camera, RECORD_TTL_S)
        try:
            self._start(camera, url, segment_seconds(self.settings), request_id)
        except StreamwardenError as error:
            log.info("change_not_handed_over", camera_id=str(camera.id), why=error.code)
            return False
        return True

    def retire(
        self, camera: Camera, *, by: User, request_id: str, then: Callable[[], object]
    ) -> None:
        """Set the camera to not wanted, and run ``then`` before it can be wanted again.

        All its tokens are denied: nothing can read it or publish to it. The streaming role stops it,
        if it does not answer now, when it reconciles.
        """
        with self.locks.changing(camera.id):
            self.desired.unwant(camera.id, requested_by=by.sub, at=self.clock.now())
            then()
            self.cache.forget(camera.id)
            self.revocations.camera_retired(camera)
            try:
                self.streaming.stop(camera.id, request_id=request_id)
            except StreamwardenError as error:
                log.info("stop_not_handed_over", camera_id=str(camera.id), why=error.code)

    def _read_url(self, camera: Camera, ttl_s: int) -> str:
        asked_at = self.revocations.moment()
        token = self.tokens.sign_record(camera.id, camera.path, ttl_s=ttl_s, asked_at=asked_at)
        return internal_url(self.rtsp_internal_url, camera.path, token.token)

    def _start(self, camera: Camera, url: str, seconds: int, request_id: str | None) -> StatusModel:
        answer = self.streaming.start(
            owner=camera.owner,
            camera_id=camera.id,
            rtsp_url=url,
            segment_seconds=seconds,
            request_id=request_id,
        )
        return checked(answer)

    def _put_back(self, change: DesiredChange) -> None:
        try:
            self.desired.put_back(change, at=self.clock.now())
        except Unavailable:
            # The caller gets the first failure; after this one the camera stays wanted.
            log.warning("desired_state_not_put_back", exc_info=True)


class Stopped(Model):
    """Who has stopped a recording, and when."""

    by: str
    at: Timestamp


class CameraStatusModel(StatusModel):
    """One camera's recording. ``source_trouble`` says why a camera that is pulled gives no stream.

    It is null while the camera gives one, where the reason is not known, and for a camera that publishes.
    ``stopped`` is null unless the status is ``stopped`` and somebody has stopped the recording.
    """

    source_trouble: SourceTrouble | None
    stopped: Stopped | None


def _of_a_source(
    status: StatusModel, camera: Camera, trouble: SourceTrouble | None, stopped: Stopped | None
) -> CameraStatusModel:
    """Add the reason, and the message for a pulled camera: the recorder's is for those that publish."""
    shown = CameraStatusModel.model_validate(
        {**dict(status), "source_trouble": trouble, "stopped": stopped}, from_attributes=True
    )
    error = status.last_error
    if camera.source_url is None or error is None or error.cause != Cause.SOURCE_OFFLINE:
        return shown
    message = _NO_STREAM_FROM_SOURCE
    if trouble is not None:
        message = f"the media server gets no stream from the camera: {WORDS[trouble]}"
    told = error.model_copy(update={"message": message})
    return shown.model_copy(update={"last_error": told})


def _stopped(desired: DesiredStream | None) -> Stopped | None:
    if desired is None or desired.wanted:
        return None
    return Stopped(by=desired.requested_by, at=desired.changed_at)


def _never_wanted(camera: Camera) -> StatusModel:
    """Return the status of a camera that the streaming role does not know."""
    return StatusModel(
        camera_id=camera.id,
        status=RecorderState.STOPPED,
        since=camera.created_at,
        run=0,
        respawns=0,
        restarts=0,
        segment_seconds=None,
        last_error=None,
        next_retry_at=None,
        last_segment=None,
    )


def checked(answer: Mapping[str, object]) -> StatusModel:
    """Return the streaming role's answer as a status; raise StreamingUnavailable if it is none."""
    try:
        return status_from_json(answer)
    except ValueError as error:
        raise StreamingUnavailable("the streaming role sent an invalid response") from error


class ConnectBody(Model):
    """``ttl`` is the lifetime of the read token in seconds."""

    ttl: BodyInteger = Field(default=300, ge=30, le=86_400)


class Connected(Model):
    """The token's lifetime, and the stream's present status."""

    ttl: int
    info: StatusModel


class Connect(Resource):
    """``POST /api/v1/camera/{camera_id}/stream/connect``."""

    def __init__(self, streams: StreamService) -> None:
        self._streams = streams

    @operation(
        "Start recording a camera",
        access=Access.BEARER,
        body=ConnectBody,
        answers={200: Connected},
        refusals=(403, 404, 409, 503),
        rate_limit="connect",
        about=(
            "Idempotent. 503 `streaming_unavailable`: nothing has changed, the desired "
            "state is put back as it was."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer when the streaming role has accepted the camera."""
        ttl_s = body_of(req, ConnectBody).ttl
        info = self._streams.connect(
            user_of(req), camera_id, ttl_s=ttl_s, request_id=name_request(req)
        )
        respond(resp, Connected(ttl=ttl_s, info=info))


class Disconnect(Resource):
    """``POST /api/v1/camera/{camera_id}/stream/disconnect``."""

    def __init__(self, streams: StreamService) -> None:
        self._streams = streams

    @operation(
        "Stop recording a camera",
        access=Access.BEARER,
        body=Empty,
        answers={200: StatusModel},
        refusals=(403, 404, 503),
        about=(
            "503 `streaming_unavailable`: the camera is no longer wanted, and its recording ends "
            "when the streaming role is back."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer when the streaming role has accepted the stop."""
        respond(
            resp, self._streams.disconnect(user_of(req), camera_id, request_id=name_request(req))
        )


class Status(Resource):
    """``GET /api/v1/camera/{camera_id}/stream/status``."""

    def __init__(self, streams: StreamService) -> None:
        self._streams = streams

    @operation(
        "A stream's status",
        access=Access.BEARER,
        answers={200: CameraStatusModel},
        refusals=(403, 404, 503),
        about="`stopped` where nothing was ever wanted.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the streaming role's status."""
        respond(resp, self._streams.status(user_of(req), camera_id))
