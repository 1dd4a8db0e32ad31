"""What is being recorded now, for the API."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.http.live import LiveModel, LivePartModel
from streamwarden.http.media_files import FILE_ANSWERS, FILE_HEADERS
from streamwarden.http.models import answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.streaming.ports import LiveSource
from streamwarden.http.streaming.segments import send_file


class LiveWindow(Resource):
    """``GET /streams/{camera_id}/live``."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source

    @operation(
        "The newest parts of a camera's files",
        access=Access.INTERNAL,
        answers={200: LiveModel},
        refusals=(404, 503),
        about="404 `not_live` while nothing is being recorded.",
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with where they are."""
        found = self._source.window(camera_id)
        parts = [
            LivePartModel(
                name=part.name,
                init_bytes=part.init_bytes,
                offset=part.offset,
                bytes=part.size_bytes,
                media_ms=part.media_ms,
                started_at=part.started_at,
            )
            for part in found.parts
        ]
        answer(
            resp,
            LiveModel(
                parts=parts,
                sequence=found.sequence,
                discontinuities=found.discontinuities,
                target_s=found.target_s,
            ),
        )


class LiveFile(Resource):
    """``GET /streams/{camera_id}/live/{name}``."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source

    @operation(
        "One of a camera's newest files, open or just finished",
        access=Access.INTERNAL,
        answers=FILE_ANSWERS,
        refusals=(404, 416, 503),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, name: str
    ) -> None:
        """Send it as far as it has been written."""
        send_file(req, resp, self._source.open(camera_id, name))
