"""Start, stop and see the recorders."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import falcon
from pydantic import Field, StringConstraints

from streamwarden.actors.messages import StartStream
from streamwarden.auth.targets import RtspTargets
from streamwarden.auth.urls import MAX_URL_CHARS
from streamwarden.http.intake import body_of
from streamwarden.http.models import BodyInteger, Empty, Id, Model, UserId, answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.request_ids import name_request
from streamwarden.http.status import StatusList, StatusModel, status_to_json
from streamwarden.http.streaming.ports import Gateway

_RtspUrl = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_URL_CHARS), Field(repr=False)
]


class StartBody(Model):
    """What to record. ``user_id`` is the camera's owner, whoever asked for it."""

    user_id: UserId
    camera_id: Id
    rtsp_url: _RtspUrl
    segment_seconds: BodyInteger = Field(ge=1, le=3600)


class StopBody(Model):
    """What to record no more."""

    camera_id: Id


class Start(Resource):
    """``POST /streams/start``."""

    def __init__(self, gateway: Gateway, targets: RtspTargets) -> None:
        self._gateway = gateway
        self._targets = targets

    @operation(
        "Record a camera",
        access=Access.INTERNAL,
        body=StartBody,
        answers={200: StatusModel},
        refusals=(409, 503),
        about="Harmless when repeated: a new `rtsp_url` is kept for the next spawn.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once; FFmpeg follows."""
        body = body_of(req, StartBody)
        self._targets.check(body.rtsp_url)
        message = StartStream(
            camera_id=body.camera_id,
            owner=body.user_id,
            rtsp_url=body.rtsp_url,
            segment_seconds=body.segment_seconds,
            request_id=name_request(req),
        )
        answer(resp, status_to_json(self._gateway.start(message)))


class Stop(Resource):
    """``POST /streams/stop``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @operation(
        "Record a camera no more",
        access=Access.INTERNAL,
        body=StopBody,
        answers={200: StatusModel},
        refusals=(503,),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once; the last segment is finished meanwhile."""
        answer(resp, status_to_json(self._gateway.stop(body_of(req, StopBody).camera_id)))


class Streams(Resource):
    """``GET /streams``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @operation(
        "Every stream's status", access=Access.INTERNAL, answers={200: StatusList}, refusals=(503,)
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer from the snapshot."""
        items = [status_to_json(status) for status in self._gateway.statuses()]
        answer(resp, StatusList(items=items))


class Stream(Resource):
    """``GET /streams/{camera_id}``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @operation(
        "A stream's status",
        access=Access.INTERNAL,
        answers={200: StatusModel},
        refusals=(503,),
        about="`stopped` for a camera that was never asked for.",
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer from the snapshot."""
        answer(resp, status_to_json(self._gateway.status(camera_id)))


class Restart(Resource):
    """``POST /streams/{camera_id}/restart``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @operation(
        "Replace a stream's FFmpeg, make before break",
        access=Access.INTERNAL,
        body=Empty,
        answers={200: StatusModel},
        refusals=(503,),
    )
    def on_post(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer at once; the new FFmpeg follows."""
        answer(resp, status_to_json(self._gateway.restart(camera_id)))
