"""The routes of one camera's stream."""

from __future__ import annotations

from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.http.api.streams import StreamService
from streamwarden.http.intake import body_of, user_of
from streamwarden.http.models import BodyInteger, Empty, Model, answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.request_ids import name_request
from streamwarden.http.status import StatusModel


class ConnectBody(Model):
    """``ttl`` is the life of the read token in seconds."""

    ttl: BodyInteger = Field(default=300, ge=30, le=86_400)


class Connected(Model):
    """The token's life, and the stream's status whatever it really is."""

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
        rated="connect",
        about=(
            "Harmless when repeated. 503 `streaming_unavailable`: nothing has changed, the wish is "
            "put back as it was."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer once the streaming role has taken it on."""
        ttl_s = body_of(req, ConnectBody).ttl
        info = self._streams.connect(
            user_of(req), camera_id, ttl_s=ttl_s, request_id=name_request(req)
        )
        answer(resp, Connected(ttl=ttl_s, info=info))


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
            "when the StreamingServer is back."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer once the streaming role knows."""
        answer(
            resp, self._streams.disconnect(user_of(req), camera_id, request_id=name_request(req))
        )


class Status(Resource):
    """``GET /api/v1/camera/{camera_id}/stream/status``."""

    def __init__(self, streams: StreamService) -> None:
        self._streams = streams

    @operation(
        "A stream's status",
        access=Access.BEARER,
        answers={200: StatusModel},
        refusals=(403, 404, 503),
        about="`stopped` where nothing was ever wanted.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer what the streaming role says."""
        answer(resp, self._streams.status(user_of(req), camera_id))
