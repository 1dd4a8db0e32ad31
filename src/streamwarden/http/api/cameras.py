"""The cameras: who sees them, and who may change them."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.auth.access import Action, is_admin
from streamwarden.auth.source_changes import told_of
from streamwarden.auth.users import User
from streamwarden.http.api.access import CameraAccess, require_admin
from streamwarden.http.api.audit_trail import describe
from streamwarden.http.api.camera_models import (
    CameraChanges,
    CameraList,
    CameraModel,
    ListQuery,
    NewCamera,
    RemoveQuery,
    model_of,
)
from streamwarden.http.api.camera_service import CameraService
from streamwarden.http.intake import body_of, query_of, user_of
from streamwarden.http.models import answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.request_ids import name_request

_ABOUT_SOURCES = (
    "A camera with a `source_url` is pulled from there; credentials in it are moved into their own "
    "fields. 400 `source_not_allowed`, `source_unresolved`, `source_refused` (it redirects, or is no "
    "RTSP); 409 `sources_not_configured` where a setting is missing."
)


class CameraCollection(Resource):
    """``/api/v1/camera``."""

    def __init__(self, service: CameraService) -> None:
        self._service = service

    @operation(
        "The cameras that the user may see",
        access=Access.BEARER,
        query=ListQuery,
        answers={200: CameraList},
        refusals=(403, 503),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page."""
        query, user = query_of(req, ListQuery), user_of(req)
        page = self._service.cameras.list_visible(
            None if is_admin(user) else user.sub, limit=query.limit, cursor=query.cursor
        )
        items = [model_of(camera) for camera in page.items]
        answer(resp, CameraList(items=items, next_cursor=page.next_cursor))

    @operation(
        "Add a camera",
        access=Access.BEARER,
        body=NewCamera,
        answers={201: CameraModel},
        refusals=(403, 409, 503),
        about=_ABOUT_SOURCES,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the new camera; role admin."""
        require_admin(user_of(req))
        new = body_of(req, NewCamera)
        camera = self._service.add(new)
        describe(req, **told_of(new.sources_given(), camera.source_url))
        resp.location = f"/api/v1/camera/{camera.id}"
        answer(resp, model_of(camera), status=201)


class CameraItem(Resource):
    """``/api/v1/camera/{camera_id}``."""

    def __init__(self, service: CameraService, access: CameraAccess) -> None:
        self._service = service
        self._access = access

    @operation(
        "A camera", access=Access.BEARER, answers={200: CameraModel}, refusals=(403, 404, 503)
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the camera."""
        answer(resp, model_of(self._access.find(user_of(req), camera_id, Action.SEE)))

    @operation(
        "Change a camera",
        access=Access.BEARER,
        body=CameraChanges,
        answers={200: CameraModel},
        refusals=(403, 404, 409, 503),
        about=_ABOUT_SOURCES,
    )
    def on_patch(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the camera as it is now; role admin."""
        user = user_of(req)
        self._require_admin(user, camera_id)
        changes = body_of(req, CameraChanges)
        changed = self._service.change(camera_id, changes, by=user, request_id=name_request(req))
        describe(req, **told_of(changes.sources_given(), changed.source_url))
        answer(resp, model_of(changed))

    @operation(
        "Remove a camera",
        access=Access.BEARER,
        query=RemoveQuery,
        answers={204: None},
        refusals=(403, 404, 503),
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Stop and remove; role admin."""
        user = user_of(req)
        self._require_admin(user, camera_id)
        delete = query_of(req, RemoveQuery).recordings == "delete"
        self._service.remove(
            camera_id, with_recordings=delete, by=user, request_id=name_request(req)
        )
        resp.status = falcon.HTTP_204

    def _require_admin(self, user: User, camera_id: UUID) -> None:
        """Say 404 to whom the camera is hidden, 403 to whom it is not."""
        self._access.find(user, camera_id, Action.ADMIN)
