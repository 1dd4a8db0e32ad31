"""The streaming role's app (port 8082): streams, files, live parts, pictures, exports, operation."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import falcon
from pydantic import Field, StringConstraints

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.messages import StartStream
from streamwarden.actors.ops import StreamingOps
from streamwarden.auth.rtsp_urls import MAX_URL_CHARS, RtspTargets
from streamwarden.http.falcon_app import App, AppContext, build_app
from streamwarden.http.middleware import name_request
from streamwarden.http.models import BodyInteger, Empty, Id, Model, UserId, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.streaming.stored_files import (
    SegmentFile,
    SegmentFormats,
    SegmentFragments,
    send_file,
)
from streamwarden.http.validation import body_of, query_of
from streamwarden.http.wire import (
    FILE_ANSWERS,
    FILE_HEADERS,
    JPEG,
    PICTURE_ANSWER,
    PROOF_ANSWERS,
    PROOF_TYPE,
    ChildState,
    ExportOrder,
    LiveModel,
    OwnedExport,
    OwnedExports,
    OwnPictureQuery,
    RoleSummary,
    StatusList,
    StatusModel,
    Supervision,
    child_to_json,
    export_to_json,
    live_to_json,
    status_to_json,
    summary_to_json,
    tree_to_json,
)
from streamwarden.recordings.exports import Exports
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.serving import IndexedFiles
from streamwarden.recordings.snapshots import SnapshotMaker

_RtspUrl = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_URL_CHARS), Field(repr=False)
]


class StartBody(Model):
    """A camera to record. ``user_id`` is its owner, also if another user has connected it."""

    user_id: UserId
    camera_id: Id
    rtsp_url: _RtspUrl
    segment_seconds: BodyInteger = Field(ge=1, le=3600)


class StopBody(Model):
    """A camera to stop recording."""

    camera_id: Id


class Start(Resource):
    """``POST /streams/start``."""

    def __init__(self, gateway: StreamGateway, targets: RtspTargets) -> None:
        self._gateway = gateway
        self._targets = targets

    @operation(
        "Record a camera",
        access=Access.INTERNAL,
        body=StartBody,
        answers={200: StatusModel},
        refusals=(409, 503),
        about="Idempotent: a new `rtsp_url` is kept for the next spawn.",
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
        respond(resp, status_to_json(self._gateway.start(message)))


class Stop(Resource):
    """``POST /streams/stop``."""

    def __init__(self, gateway: StreamGateway) -> None:
        self._gateway = gateway

    @operation(
        "Stop recording a camera",
        access=Access.INTERNAL,
        body=StopBody,
        answers={200: StatusModel},
        refusals=(503,),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once; the last segment is finished meanwhile."""
        respond(resp, status_to_json(self._gateway.stop(body_of(req, StopBody).camera_id)))


class Streams(Resource):
    """``GET /streams``."""

    def __init__(self, gateway: StreamGateway) -> None:
        self._gateway = gateway

    @operation(
        "Every stream's status", access=Access.INTERNAL, answers={200: StatusList}, refusals=(503,)
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer from the snapshot."""
        items = [status_to_json(status) for status in self._gateway.statuses()]
        respond(resp, StatusList(items=items))


class Stream(Resource):
    """``GET /streams/{camera_id}``."""

    def __init__(self, gateway: StreamGateway) -> None:
        self._gateway = gateway

    @operation(
        "A stream's status",
        access=Access.INTERNAL,
        answers={200: StatusModel},
        refusals=(503,),
        about="`stopped` for a camera that was never started.",
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer from the snapshot."""
        respond(resp, status_to_json(self._gateway.status(camera_id)))


class InternalRestart(Resource):
    """``POST /streams/{camera_id}/restart``."""

    def __init__(self, gateway: StreamGateway) -> None:
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
        respond(resp, status_to_json(self._gateway.restart(camera_id)))


class InternalSummary(Resource):
    """``GET /summary``."""

    def __init__(self, ops: StreamingOps) -> None:
        self._ops = ops

    @operation(
        "Cameras by state, disk and index",
        access=Access.INTERNAL,
        answers={200: RoleSummary},
        refusals=(503,),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer from the snapshot."""
        respond(resp, summary_to_json(self._ops.summary()))


class InternalTree(Resource):
    """``GET /supervision``."""

    def __init__(self, ops: StreamingOps) -> None:
        self._ops = ops

    @operation(
        "The supervision tree",
        access=Access.INTERNAL,
        answers={200: Supervision},
        refusals=(503,),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with every child and its incarnation."""
        respond(resp, Supervision(root=tree_to_json(self._ops.tree())))


class InternalRestartChild(Resource):
    """``POST /supervision/{child}/restart``."""

    def __init__(self, ops: StreamingOps) -> None:
        self._ops = ops

    @operation(
        "Restart a child by hand",
        access=Access.INTERNAL,
        answers={200: ChildState},
        refusals=(404, 409, 503),
        about="Recorders alone: 409 `not_restartable` for others, 404 `child_not_found`.",
    )
    def on_post(self, _req: falcon.Request, resp: falcon.Response, child: str) -> None:
        """Start a parked recorder again, or replace a running one's FFmpeg, make before break."""
        respond(resp, child_to_json(self._ops.restart(child)))


class InternalExportCollection(Resource):
    """``/streams/{camera_id}/exports``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation("A camera's exports", access=Access.INTERNAL, answers={200: OwnedExports})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with all of them, newest first."""
        items = [export_to_json(one) for one in self._exports.of_camera(camera_id)]
        respond(resp, OwnedExports(items=items))

    @operation(
        "Export a range as one MP4",
        access=Access.INTERNAL,
        body=ExportOrder,
        answers={202: OwnedExport},
        refusals=(404, 429, 503),
        about=(
            "404 `nothing_recorded`, 400 `range_too_long`, 429 `too_many_exports`, "
            "503 `exports_busy` or `no_space`."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer at once; FFmpeg follows."""
        order = body_of(req, ExportOrder)
        made = self._exports.add(camera_id, order.user_id, order.from_, order.to)
        respond(resp, export_to_json(made), status=202)


class InternalExportItem(Resource):
    """``/streams/{camera_id}/exports/{export_id}``."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation("An export", access=Access.INTERNAL, answers={200: OwnedExport}, refusals=(404,))
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer with its state and progress."""
        respond(resp, export_to_json(self._exports.get(camera_id, export_id)))

    @operation(
        "Cancel an export, or delete its file",
        access=Access.INTERNAL,
        answers={200: OwnedExport},
        refusals=(404,),
    )
    def on_delete(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer at once; a running FFmpeg is stopped."""
        respond(resp, export_to_json(self._exports.cancel(camera_id, export_id)))


class InternalExportFile(Resource):
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
        """Send the file."""
        send_file(req, resp, self._exports.open(camera_id, export_id))


class InternalExportProof(Resource):
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
        """Answer with the proof."""
        resp.data = self._exports.proof(camera_id, export_id)
        resp.content_type = PROOF_TYPE


class InternalLiveWindow(Resource):
    """``GET /streams/{camera_id}/live``."""

    def __init__(self, live: LiveIndex) -> None:
        self._live = live

    @operation(
        "The newest parts of a camera's files",
        access=Access.INTERNAL,
        answers={200: LiveModel},
        refusals=(404, 503),
        about="404 `not_live` while nothing is being recorded.",
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with their places in the files."""
        respond(resp, live_to_json(self._live.window(camera_id)))


class InternalLiveFile(Resource):
    """``GET /streams/{camera_id}/live/{name}``."""

    def __init__(self, live: LiveIndex) -> None:
        self._live = live

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
        """Send the bytes that have been written so far."""
        send_file(req, resp, self._live.open(camera_id, name))


class InternalSnapshot(Resource):
    """``GET /streams/{camera_id}/snapshot``."""

    def __init__(self, pictures: SnapshotMaker) -> None:
        self._pictures = pictures

    @operation(
        "A camera's last picture",
        access=Access.INTERNAL,
        query=OwnPictureQuery,
        answers={200: PICTURE_ANSWER},
        refusals=(404, 503),
        about="404 `no_picture`, 503 `pictures_busy`.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with a JPEG."""
        query = query_of(req, OwnPictureQuery)
        found = self._pictures.take(camera_id, query.width, query.user_id, max_age_s=query.max_age)
        resp.data, resp.content_type, resp.last_modified = found.jpeg, JPEG, found.taken_at


def create_streaming_app(
    context: AppContext,
    *,
    gateway: StreamGateway,
    files: IndexedFiles,
    live: LiveIndex,
    pictures: SnapshotMaker,
    exports: Exports,
    ops: StreamingOps,
    rtsp_targets: RtspTargets,
) -> App:
    """Return the app that the API role calls; ``rtsp_targets`` are where FFmpeg may connect to."""
    camera = "/streams/{camera_id}"
    return build_app(
        context,
        {
            "/streams": Streams(gateway),
            "/streams/start": Start(gateway, rtsp_targets),
            "/streams/stop": Stop(gateway),
            camera: Stream(gateway),
            f"{camera}/restart": InternalRestart(gateway),
            f"{camera}/segments/{{segment_id}}": SegmentFile(files),
            f"{camera}/segments/{{segment_id}}/fragments": SegmentFragments(files),
            f"{camera}/formats": SegmentFormats(files),
            f"{camera}/live": InternalLiveWindow(live),
            f"{camera}/live/{{name}}": InternalLiveFile(live),
            f"{camera}/snapshot": InternalSnapshot(pictures),
            f"{camera}/exports": InternalExportCollection(exports),
            f"{camera}/exports/{{export_id}}": InternalExportItem(exports),
            f"{camera}/exports/{{export_id}}/file": InternalExportFile(exports),
            f"{camera}/exports/{{export_id}}/proof": InternalExportProof(exports),
            "/summary": InternalSummary(ops),
            "/supervision": InternalTree(ops),
            "/supervision/{child}/restart": InternalRestartChild(ops),
        },
        title="streamwarden: streaming role",
    )
