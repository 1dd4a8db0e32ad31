"""Exports, for the API, which decides whose they are."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.http.exports import (
    PROOF_ANSWERS,
    PROOF_TYPE,
    ExportOrder,
    OwnedExport,
    OwnedExports,
)
from streamwarden.http.intake import body_of
from streamwarden.http.media_files import FILE_ANSWERS, FILE_HEADERS
from streamwarden.http.models import answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.streaming.ports import Exports
from streamwarden.http.streaming.segments import send_file


class ExportCollection(Resource):
    """``/streams/{camera_id}/exports``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation("A camera's exports", access=Access.INTERNAL, answers={200: OwnedExports})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with them, newest first."""
        answer(resp, OwnedExports(items=self._exports.of_camera(camera_id)))

    @operation(
        "Export a range as one MP4",
        access=Access.INTERNAL,
        body=ExportOrder,
        answers={202: OwnedExport},
        refusals=(404, 503),
        about="404 `nothing_recorded`, 400 `range_too_long`, 503 `exports_busy` or `no_space`.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer at once; FFmpeg follows."""
        order = body_of(req, ExportOrder)
        made = self._exports.add(camera_id, order.user_id, order.from_, order.to)
        answer(resp, made, status=202)


class ExportItem(Resource):
    """``/streams/{camera_id}/exports/{export_id}``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation("An export", access=Access.INTERNAL, answers={200: OwnedExport}, refusals=(404,))
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer with how far it is."""
        answer(resp, self._exports.get(camera_id, export_id))

    @operation(
        "Cancel an export, or delete its file",
        access=Access.INTERNAL,
        answers={200: OwnedExport},
        refusals=(404,),
    )
    def on_delete(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer at once; FFmpeg ends by this."""
        answer(resp, self._exports.cancel(camera_id, export_id))


class ExportFile(Resource):
    """``GET /streams/{camera_id}/exports/{export_id}/file``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation(
        "The file of an export",
        access=Access.INTERNAL,
        answers=FILE_ANSWERS,
        refusals=(404, 416),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Send it."""
        send_file(req, resp, self._exports.open(camera_id, export_id))


class ExportProof(Resource):
    """``GET /streams/{camera_id}/exports/{export_id}/proof``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation(
        "The proof of an export",
        access=Access.INTERNAL,
        answers=PROOF_ANSWERS,
        refusals=(404,),
        about="404 `proof_not_available` where nothing is signed.",
    )
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer with it."""
        resp.data = self._exports.proof(camera_id, export_id)
        resp.content_type = PROOF_TYPE
