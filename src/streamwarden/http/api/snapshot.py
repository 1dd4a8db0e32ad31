"""A camera's last picture."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.http.api.play import Playing
from streamwarden.http.api.play_access import private
from streamwarden.http.intake import query_of
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.pictures import JPEG, PICTURE_ANSWER, PictureQuery
from streamwarden.http.request_ids import name_request


class Snapshot(Resource):
    """``GET /api/v1/camera/{camera_id}/snapshot.jpg``."""

    def __init__(self, playing: Playing) -> None:
        self._playing = playing

    @operation(
        "A camera's last picture",
        access=Access.PLAYER,
        query=PictureQuery,
        answers={200: PICTURE_ANSWER},
        refusals=(403, 404, 503),
        about="The newest key frame. 404 `no_picture`; 503 `pictures_busy` with Retry-After.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Pass it on from the streaming role."""
        self._playing.play.live(req, camera_id)
        resp.data = self._playing.streaming.snapshot(
            camera_id, query_of(req, PictureQuery).width, request_id=name_request(req)
        )
        resp.content_type = JPEG
        private(resp, cached="max-age=2")
