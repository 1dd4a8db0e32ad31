"""From the click to the recording: connect, disconnect, status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from streamwarden.auth.access import Action
from streamwarden.auth.urls import internal_url
from streamwarden.auth.users import User
from streamwarden.causes import Cause
from streamwarden.clock import Clock
from streamwarden.errors import StreamwardenError, Unavailable
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.locks import StreamLocks
from streamwarden.http.api.ports import CameraRow, SettingsStore, Wishes
from streamwarden.http.api.revocation import Revocations
from streamwarden.http.api.segment_length import segment_seconds
from streamwarden.http.api.streaming_ports import Streaming
from streamwarden.http.api.token_ports import StreamTokens
from streamwarden.http.api.wishes import WishMemory
from streamwarden.http.status import StatusModel, status_from_json

_LOG = structlog.get_logger(__name__)

_NO_STREAM_FROM_SOURCE = (
    "the media server gets no stream from the camera: is it on, and are its source_url, user name "
    "and password right?"
)
RECORD_TTL_S = 300
"""The life of a read token that no user asked for by its length."""


class StreamingConfused(Unavailable):
    """The StreamingServer answers, but not with a status: another version, or another program."""

    code = "streaming_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamService:
    """What the buttons do. One change of a camera's stream at a time."""

    access: CameraAccess
    tokens: StreamTokens
    settings: SettingsStore
    wishes: Wishes
    memory: WishMemory
    streaming: Streaming
    clock: Clock
    rtsp_internal_url: str
    locks: StreamLocks
    revocations: Revocations

    def connect(self, user: User, camera_id: UUID, *, ttl_s: int, request_id: str) -> StatusModel:
        """Want the camera recorded and have it started, in the order of the flow.

        If the streaming role does not answer, the wish is put back as it was: a user who reads 503
        has changed nothing. Should it have started all the same (its answer was lost), it finds at
        its next reconciling, within 30 s, that nothing is wanted.

        Raises:
            CameraNotFound, Denied, CameraInactive: as ``find_for_connect``.
            Unavailable: ``streaming_unavailable``, or Postgres is away.
            Conflict: ``other_owner``, the camera is recorded for another owner.
        """
        with self.locks.changing(camera_id):  # from the first look, so that nobody removes it
            camera = self.access.find_for_connect(user, camera_id)
            url = self._read_url(camera, ttl_s)
            seconds = segment_seconds(self.settings)
            change = self.wishes.want(camera, requested_by=user.sub, at=self.clock.now())
            try:
                info = self._start(camera, url, seconds, request_id)
            except Exception:
                self._put_back(change)
                raise
            self.memory.remember(camera, wanted=True)
        return info

    def disconnect(self, user: User, camera_id: UUID, *, request_id: str) -> StatusModel:
        """Want the camera no longer and have it stopped.

        The wish goes first and stays off: if the streaming role is away, the caller hears 503, and
        the recording ends when that role reconciles. Stopping is never undone.
        """
        camera = self.access.find(user, camera_id, Action.CONTROL)
        with self.locks.changing(camera_id):
            self.wishes.unwant(camera_id, requested_by=user.sub, at=self.clock.now())
            self.memory.remember(camera, wanted=False)
            self.revocations.stopped(camera)
            return checked(self.streaming.stop(camera_id, request_id=request_id))

    def status(self, user: User, camera_id: UUID) -> StatusModel:
        """Return what the streaming role says of the camera."""
        camera = self.access.find(user, camera_id, Action.SEE)
        return _of_a_source(checked(self.streaming.status(camera_id)), camera)

    def hand_over(self, camera: CameraRow, request_id: str | None) -> bool:
        """Tell the streaming role of a changed path or segment length, for a camera that is wanted.

        Nobody waits for this: if the role is away, it reads the same when it reconciles. Returns
        whether it has heard.
        """
        url = self._read_url(camera, RECORD_TTL_S)
        try:
            self._start(camera, url, segment_seconds(self.settings), request_id)
        except StreamwardenError as error:
            _LOG.info("change_not_handed_over", camera_id=str(camera.id), why=error.code)
            return False
        return True

    def retire(
        self, camera: CameraRow, *, by: User, request_id: str, then: Callable[[], object]
    ) -> None:
        """Want the camera no longer, and do ``then`` before anybody can want it again.

        From then on no token of it counts: nothing reads it and nothing publishes to it.
        The streaming role is told; if it is away, it stops the camera when it reconciles.
        """
        with self.locks.changing(camera.id):
            self.wishes.unwant(camera.id, requested_by=by.sub, at=self.clock.now())
            then()
            self.memory.forget(camera.id)
            self.revocations.camera_retired(camera)
            try:
                self.streaming.stop(camera.id, request_id=request_id)
            except StreamwardenError as error:
                _LOG.info("stop_not_handed_over", camera_id=str(camera.id), why=error.code)

    def _read_url(self, camera: CameraRow, ttl_s: int) -> str:
        asked_at = self.revocations.moment()
        token = self.tokens.sign_record(camera.id, camera.path, ttl_s=ttl_s, asked_at=asked_at)
        return internal_url(self.rtsp_internal_url, camera.path, token.token)

    def _start(
        self, camera: CameraRow, url: str, seconds: int, request_id: str | None
    ) -> StatusModel:
        answer = self.streaming.start(
            owner=camera.owner,
            camera_id=camera.id,
            rtsp_url=url,
            segment_seconds=seconds,
            request_id=request_id,
        )
        return checked(answer)

    def _put_back(self, change: Any) -> None:  # noqa: ANN401 - the repository's own type, handed back
        try:
            self.wishes.put_back(change, at=self.clock.now())
        except Unavailable:
            # The caller hears of the first failure; this one leaves the camera wanted.
            _LOG.warning("wish_not_put_back", exc_info=True)


def _of_a_source(status: StatusModel, camera: CameraRow) -> StatusModel:
    """Say what fits a camera that is pulled: the recorder takes every camera for one that publishes."""
    error = status.last_error
    if camera.source_url is None or error is None or error.cause != Cause.SOURCE_OFFLINE:
        return status
    told = error.model_copy(update={"message": _NO_STREAM_FROM_SOURCE})
    return status.model_copy(update={"last_error": told})


def checked(answer: Mapping[str, object]) -> StatusModel:
    """Return the streaming role's answer as a status; raise StreamingConfused if it is none."""
    try:
        return status_from_json(answer)
    except ValueError as error:
        raise StreamingConfused("the StreamingServer's answer makes no sense") from error
