"""Routes of exports: a time range of recordings as one MP4, and its proof."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.auth.permissions import is_admin
from streamwarden.auth.users import User
from streamwarden.clock import rfc3339
from streamwarden.errors import Denied, ExportNotFound, ExportNotReady, InvalidInput
from streamwarden.http.api.access import CameraAccess, PlayAccess, private
from streamwarden.http.api.audit_routes import describe
from streamwarden.http.api.relay_file import (
    TokenQuery,
    attachment,
    file_name,
    read_answer,
    relay,
)
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import body_of, claims_of, user_of
from streamwarden.http.wire import (
    FILE_ANSWERS,
    FILE_HEADERS,
    PROOF_ANSWERS,
    PROOF_TYPE,
    ExportModel,
    OwnedExport,
    OwnedExports,
)
from streamwarden.model import Camera, TimeRange
from streamwarden.storage.cameras import CameraRepository


class ExportBody(Model):
    """The time range to export."""

    from_: Timestamp = Field(alias="from")
    to: Timestamp


class ExportList(Model):
    """Exports, newest first."""

    items: list[ExportModel]


class ExportAccess:
    """Looks exports up for a user, or for a user's play token."""

    def __init__(self, access: CameraAccess, play: PlayAccess, streaming: StreamingClient) -> None:
        self._access = access
        self._play = play
        self._streaming = streaming

    def owned(self, req: falcon.Request, camera_id: UUID, export_id: UUID) -> OwnedExport:
        """Return an export of the user's, as ``named``."""
        return self.named(req, camera_id, export_id)[0]

    def named(
        self, req: falcon.Request, camera_id: UUID, export_id: UUID
    ) -> tuple[OwnedExport, str]:
        """Return an export of the user's and the camera's name; owner and admins have all of them.

        Raises:
            ExportNotFound: there is none, or it is another's.
        """
        user = user_of(req)
        camera, window = self._access.find_recorded(user, camera_id)
        export = read_answer(OwnedExport, self._streaming.export(camera_id, export_id))
        if not _may(user, camera, export, window):
            raise ExportNotFound("this camera has no such export")
        return export, camera.name

    def fetched(self, req: falcon.Request, camera_id: UUID, export_id: UUID) -> OwnedExport:
        """Return an export whose file may be fetched, by bearer or by its user's play token."""
        claims = claims_of(req)
        if claims is None:
            return self.owned(req, camera_id, export_id)
        allowed = self._play.recordings(req, camera_id)
        export = read_answer(OwnedExport, self._streaming.export(camera_id, export_id))
        if export.user_id != claims.sub:
            raise ExportNotFound("this camera has no such export")
        if allowed.range is None or not allowed.range.contains(export.from_, export.to):
            raise Denied("this play token is for another time")
        return export


class ExportCollection(Resource):
    """``/api/v1/camera/{camera_id}/exports``."""

    def __init__(
        self,
        access: CameraAccess,
        streaming: StreamingClient,
    ) -> None:
        self._access = access
        self._streaming = streaming

    @operation(
        "Your exports of a camera",
        access=Access.BEARER,
        answers={200: ExportList},
        refusals=(403, 404, 503),
        about="The camera's owner and admins see all of them.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the exports, newest first."""
        user = user_of(req)
        camera, window = self._access.find_recorded(user, camera_id)
        found = read_answer(OwnedExports, self._streaming.exports(camera_id))
        items = [_shown(one, camera.name) for one in found.items if _may(user, camera, one, window)]
        respond(resp, ExportList(items=items))

    @operation(
        "Export a range as one MP4",
        access=Access.BEARER,
        rate_limit="heavy",
        body=ExportBody,
        answers={202: ExportModel},
        refusals=(403, 404, 503),
        about=(
            "Nothing is encoded anew; it begins at the key frame at or before `from`. Kept for a day. "
            "Where one file cannot hold the range it ends as `failed` with `error_code` "
            "`format_changed`, and `parts` names an export of each part. "
            "404 `nothing_recorded`, 400 `range_too_long`, 429 `too_many_exports`, "
            "503 `exports_busy` or `no_space`."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer at once; the export is made in the background."""
        body, user = body_of(req, ExportBody), user_of(req)
        if body.from_ >= body.to:
            raise InvalidInput("from: must be before to", field="from")
        camera, window = self._access.find_recorded(user, camera_id)
        if window is not None and not window.contains(body.from_, body.to):
            raise Denied("this is of a time that you may not see")
        made = self._streaming.add_export(
            camera_id,
            user_id=user.sub,
            from_=rfc3339(body.from_),
            to=rfc3339(body.to),
            request_id=name_request(req),
        )
        describe(req, **{"from": rfc3339(body.from_), "to": rfc3339(body.to)})
        respond(resp, _shown(read_answer(OwnedExport, made), camera.name), status=202)


class ExportItem(Resource):
    """``/api/v1/camera/{camera_id}/exports/{export_id}``."""

    def __init__(
        self,
        exports: ExportAccess,
        streaming: StreamingClient,
    ) -> None:
        self._exports = exports
        self._streaming = streaming

    @operation(
        "An export",
        access=Access.BEARER,
        answers={200: ExportModel},
        refusals=(403, 404, 503),
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer with its state and progress."""
        respond(resp, _shown(*self._exports.named(req, camera_id, export_id)))

    @operation(
        "Cancel an export, or delete its file",
        access=Access.BEARER,
        answers={200: ExportModel},
        refusals=(403, 404, 503),
    )
    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer at once; a running FFmpeg is stopped."""
        _, name = self._exports.named(req, camera_id, export_id)
        ended = self._streaming.cancel_export(camera_id, export_id, request_id=name_request(req))
        respond(resp, _shown(read_answer(OwnedExport, ended), name))


class ExportFile(Resource):
    """``GET /api/v1/camera/{camera_id}/exports/{export_id}/file``."""

    def __init__(
        self,
        exports: ExportAccess,
        streaming: StreamingClient,
        cameras: CameraRepository,
    ) -> None:
        self._exports = exports
        self._streaming = streaming
        self._cameras = cameras

    @operation(
        "The file of an export",
        access=Access.PLAYER,
        query=TokenQuery,
        answers=FILE_ANSWERS,
        refusals=(403, 404, 416, 503),
        headers=FILE_HEADERS,
        about="The play token must belong to the export's user and cover its whole time range.",
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Relay the file, to be saved under a name of camera and time."""
        export = self._exports.fetched(req, camera_id, export_id)
        if export.state != "done":
            raise ExportNotReady("the export has no file yet, or never will")
        relay(req, resp, partial(self._streaming.open_export, camera_id, export_id))
        private(resp)
        camera = self._cameras.get(camera_id)
        name = camera.name if camera else ""
        resp.set_header(
            "Content-Disposition", attachment(name, export.from_, export.to, ending=_ending(export))
        )


class ExportProofFile(Resource):
    """``GET /api/v1/camera/{camera_id}/exports/{export_id}/proof``."""

    def __init__(
        self,
        exports: ExportAccess,
        streaming: StreamingClient,
        cameras: CameraRepository,
    ) -> None:
        self._exports = exports
        self._streaming = streaming
        self._cameras = cameras

    @operation(
        "The proof of an export",
        access=Access.PLAYER,
        query=TokenQuery,
        answers=PROOF_ANSWERS,
        refusals=(403, 404, 503),
        about=(
            "A signed statement about the file, the segments it was made of, and what is missing: "
            "`streamwarden recordings verify --signed --export FILE --proof FILE --public-key KEY` "
            "checks it offline. 404 `proof_not_available` where nothing is signed."
        ),
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, export_id: UUID
    ) -> None:
        """Answer with the proof, to be saved beside the file."""
        export = self._exports.fetched(req, camera_id, export_id)
        resp.data = self._streaming.export_proof(camera_id, export_id, request_id=name_request(req))
        resp.content_type = PROOF_TYPE
        private(resp)
        camera = self._cameras.get(camera_id)
        name = attachment(
            camera.name if camera else "",
            export.from_,
            export.to,
            ending=f"{_ending(export)}.proof",
        )
        resp.set_header("Content-Disposition", name)


def _may(user: User, camera: Camera, export: OwnedExport, window: TimeRange | None) -> bool:
    if is_admin(user):
        return True
    own = user.sub in {camera.owner, export.user_id}
    return own and (window is None or window.contains(export.from_, export.to))


def _shown(export: OwnedExport, camera_name: str) -> ExportModel:
    name = file_name(camera_name, export.from_, export.to, ending=_ending(export))
    fields = export.model_dump(by_alias=True, exclude={"user_id"})
    return ExportModel.model_validate({**fields, "name": name})


def _ending(export: OwnedExport) -> str:
    """Return the end of the name of an export's file, with the number of a part."""
    part = export.part
    return "mp4" if part is None else f"-part{part.number}of{part.count}.mp4"
