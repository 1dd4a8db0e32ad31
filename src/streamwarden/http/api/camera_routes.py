"""Routes of cameras, and the service that adds, changes and removes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import falcon
from pydantic import AfterValidator, Field, StringConstraints

from streamwarden.auth.permissions import CameraAction, is_admin
from streamwarden.auth.users import User
from streamwarden.clock import Clock
from streamwarden.errors import Conflict
from streamwarden.http.api.access import CameraAccess, CameraNotFound, require_admin
from streamwarden.http.api.audit_routes import describe
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import CameraStatusModel, StreamService
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Id, Model, QueryInteger, StreamPath, Timestamp, UserId, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.validation import body_of, query_of, user_of
from streamwarden.mediamtx.camera_source import FIELDS, SourceChange, SourcePlanner, audit_detail
from streamwarden.mediamtx.credentials import MAX_PASSWORD_CHARS, MAX_USERNAME_CHARS
from streamwarden.mediamtx.path_emptier import PathEmptier
from streamwarden.mediamtx.source_urls import MAX_SOURCE_CHARS, shown_source, source_host
from streamwarden.model import Camera, Transport
from streamwarden.storage.cameras import CameraRepository, SourceRepository
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.storage.streams import StreamRepository

_SECRET: dict[str, Any] = {"writeOnly": True, "format": "password"}


# None of these is shown in a repr: the URL may hold the password, too.
SourceUrlText = Annotated[
    str, Field(min_length=1, max_length=MAX_SOURCE_CHARS, description="rtsp:// or rtsps://")
]


Username = Annotated[str, Field(min_length=1, max_length=MAX_USERNAME_CHARS)]


Password = Annotated[
    str, Field(max_length=MAX_PASSWORD_CHARS, description="may be empty, as some cameras have it")
]


class SourceFields(Model):
    """The source of a camera and its credentials. Null removes; the password is never returned."""

    source_url: SourceUrlText | None = Field(default=None, repr=False)
    source_username: Username | None = Field(
        default=None, repr=False, json_schema_extra={"writeOnly": True}
    )
    source_password: Password | None = Field(default=None, repr=False, json_schema_extra=_SECRET)
    source_transport: Transport | None = Field(
        default=None,
        description="how the media server receives the media: `automatic` (the default, and null) is "
        "TCP, or UDP for a camera that refuses TCP",
    )

    def sources_given(self) -> dict[str, str | None]:
        """Return the fields that were sent, by name."""
        return self.model_dump(include=set(FIELDS), exclude_unset=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Changes of sources. ``wake`` makes the loop of `SourcePaths` run now."""

    table: SourceRepository
    planner: SourcePlanner
    wake: Callable[[], None]

    def plan(
        self, camera_id: UUID, path: str, given: dict[str, str | None], *, is_new: bool = False
    ) -> SourceChange | None:
        """Return the change, None where nothing changes; raises as the planner does."""
        before = None if is_new else self.table.get(camera_id)
        return self.planner.plan(camera_id, path, before, given)


Status = Literal["active", "inactive"]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must hold printable characters only")
    return value


def _without_controls(value: str) -> str:
    # Not isprintable: a name may well hold the wide space of Chinese.
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("must hold no control characters")
    return value


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_controls)
]


Owner = Annotated[UserId, AfterValidator(_printable)]


class CameraModel(Model):
    """A camera."""

    id: Id
    name: str
    path: str
    owner: str
    status: Status
    created_at: Timestamp
    source_url: str | None
    source_credentials: bool
    source_transport: Transport | None


class ListedCamera(CameraModel):
    """A camera of a list; ``stream`` is its recording where ``include`` asks for it, else null."""

    stream: CameraStatusModel | None = None


class CameraList(Model):
    """Some cameras; ``next_cursor`` asks for those that follow, null at the end."""

    items: list[ListedCamera]
    next_cursor: str | None


class ListQuery(Model):
    """The page of a list of cameras."""

    limit: QueryInteger = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)
    include: Literal["status"] | None = Field(
        default=None,
        description="`status`: with the recording of each camera, as of `stream/status`",
    )


class NewCamera(SourceFields):
    """A camera to be. ``path`` defaults to its id; without ``source_url`` it pushes."""

    name: Name
    owner: Owner
    path: StreamPath | None = None
    status: Status = "active"


def _optional(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class CameraChanges(SourceFields):
    """The given fields are changed; only the source and its credentials can be set to null."""

    # The defaults only make the fields optional: `given` leaves them out.
    name: Name = Field(default="", json_schema_extra=_optional)
    owner: Owner = Field(default="", json_schema_extra=_optional)
    path: StreamPath = Field(default="", json_schema_extra=_optional)
    status: Status = Field(default="active", json_schema_extra=_optional)

    def given(self) -> dict[str, Any]:
        """Return the fields that were sent, by name, without those of the source."""
        return self.model_dump(exclude_unset=True, exclude=set(FIELDS))


class RemoveQuery(Model):
    """Recordings are kept until retention, or deleted now."""

    recordings: Literal["keep", "delete"] = "keep"


def model_of(camera: Camera, user: User) -> CameraModel:
    """Return the HTTP model of a camera; a guest sees no more of its address than the host."""
    fields = {name: getattr(camera, name) for name in CameraModel.model_fields}
    if camera.source_url is not None:
        trusted = is_admin(user) or user.sub == camera.owner
        shown = shown_source if trusted else source_host
        fields["source_url"] = shown(camera.source_url)
    return CameraModel.model_validate(fields)


class StreamWanted(Conflict):
    """The camera is being recorded for its present owner; disconnect it first."""

    code = "stream_wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraService:
    """Adds, changes and removes cameras."""

    cameras: CameraRepository
    desired: StreamRepository
    segments: SegmentRepository
    streams: StreamService
    revocations: Revocations
    sources: Sources
    emptier: PathEmptier
    clock: Clock

    def add(self, new: NewCamera) -> Camera:
        """Add a camera; raise Conflict ``path_taken``, PathNotEmptied, and as ``Sources.plan``."""
        camera_id = uuid4()
        path = new.path or str(camera_id)
        change = self.sources.plan(camera_id, path, new.sources_given(), is_new=True)
        if new.path is not None:
            self._clear(path)
        camera = self.cameras.add(
            name=new.name,
            owner=new.owner,
            path=path,
            status=new.status,
            created_at=self.clock.now(),
            camera_id=camera_id,
            source=None if change is None else change.source,
        )
        if change is not None:
            self.sources.wake()
        return camera

    def change(
        self, camera_id: UUID, changes: CameraChanges, *, by: User, request_id: str
    ) -> Camera:
        """Change a camera. Deactivating stops it; a new path reaches the next spawn.

        Raises:
            StreamWanted: a new owner, while the camera is recorded for the old one.
            PathNotEmptied: a new path, or a new owner, and who is on the path cannot be disconnected.
            InvalidInput, Conflict: as ``Sources.plan``.
        """
        before = self._existing(camera_id)
        desired = self.desired.get(camera_id)
        wanted = desired is not None and desired.wanted
        given = changes.given()
        if wanted and given.get("owner", before.owner) != before.owner:
            raise StreamWanted("disconnect the stream before the camera changes its owner")
        path = given.get("path", before.path)
        source = self.sources.plan(camera_id, path, changes.sources_given())
        if path != before.path:
            self._clear(path)
        if given.get("owner", before.owner) != before.owner:
            self.revocations.owner_leaves(before)
            self.emptier.empty(before.path, keeps_source=True)
        after = self.cameras.update(
            camera_id,
            name=given.get("name"),
            path=given.get("path"),
            status=given.get("status"),
            owner=given.get("owner"),
            at=self.clock.now(),
            source=None if source is None else source.source,
            drop_source=source is not None and source.source is None,
        )
        if after is None:
            raise CameraNotFound("there is no such camera")
        if before.source_url or after.source_url:
            self.sources.wake()
        self.revocations.camera_changed(before, after)
        self._follow(before, after, wanted=wanted, by=by, request_id=request_id)
        return after

    def remove(self, camera_id: UUID, *, with_recordings: bool, by: User, request_id: str) -> None:
        """Stop and remove a camera; its recordings stay until retention unless asked otherwise."""
        camera = self._existing(camera_id)
        self.streams.retire(
            camera, by=by, request_id=request_id, then=lambda: self.cameras.remove(camera_id)
        )
        if camera.source_url:
            self.sources.wake()
        if with_recordings:
            self.segments.mark_camera_deleting(camera_id)

    def _clear(self, path: str) -> None:
        """Let nobody be on a path that a camera is about to get; its present path stays as it is."""
        self.cameras.refuse_taken(path)
        if self.revocations.path_given(path):
            self.emptier.empty(path)

    def _existing(self, camera_id: UUID) -> Camera:
        camera = self.cameras.get(camera_id)
        if camera is None:
            raise CameraNotFound("there is no such camera")
        return camera

    def _follow(
        self, before: Camera, after: Camera, *, wanted: bool, by: User, request_id: str
    ) -> None:
        if after.status != "active":
            self.streams.retire(after, by=by, request_id=request_id, then=_nothing)
        elif wanted:
            self.streams.cache.remember(after, wanted=True)
            if after.path != before.path:
                self.streams.hand_over(after, request_id)


def _nothing() -> None:
    """Do nothing."""


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
        about=(
            "`include=status` answers with all recordings in one call; 503 `streaming_unavailable` "
            "where they are not known."
        ),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page."""
        query, user = query_of(req, ListQuery), user_of(req)
        page = self._service.cameras.list_visible(
            None if is_admin(user) else user.sub, limit=query.limit, cursor=query.cursor
        )
        streams: Mapping[UUID, CameraStatusModel] = {}
        if query.include == "status":
            streams = self._service.streams.statuses(page.items)
        items = [
            ListedCamera(**dict(model_of(camera, user)), stream=streams.get(camera.id))
            for camera in page.items
        ]
        respond(resp, CameraList(items=items, next_cursor=page.next_cursor))

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
        describe(req, **audit_detail(new.sources_given(), camera.source_url))
        resp.location = f"/api/v1/camera/{camera.id}"
        respond(resp, model_of(camera, user_of(req)), status=201)


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
        user = user_of(req)
        respond(resp, model_of(self._access.find(user, camera_id, CameraAction.SEE), user))

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
        detail = audit_detail(changes.sources_given(), changed.source_url)
        if "owner" in changes.given():
            detail["owner"] = changed.owner
        describe(req, **detail)
        respond(resp, model_of(changed, user))

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
        """Raise 404 where the camera is hidden from the user, 403 where it is not."""
        self._access.find(user, camera_id, CameraAction.ADMIN)
