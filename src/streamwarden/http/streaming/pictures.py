"""A camera's last picture, for the API."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.http.intake import query_of
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.pictures import JPEG, PICTURE_ANSWER, WidthQuery
from streamwarden.http.streaming.ports import Pictures


class Snapshot(Resource):
    """``GET /streams/{camera_id}/snapshot``."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    @operation(
        "A camera's last picture",
        access=Access.INTERNAL,
        query=WidthQuery,
        answers={200: PICTURE_ANSWER},
        refusals=(404, 503),
        about="404 `no_picture`, 503 `pictures_busy`.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with a JPEG."""
        resp.data = self._pictures.take(camera_id, query_of(req, WidthQuery).width)
        resp.content_type = JPEG
