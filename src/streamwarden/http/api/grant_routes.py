"""Routes of grants and of blocked users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Final, Literal
from uuid import UUID

import falcon
from pydantic import Field, StringConstraints

from streamwarden.auth.jwts import MAX_SUBJECT_CHARS, is_subject
from streamwarden.auth.permissions import CameraAction
from streamwarden.auth.revocation import DenialList
from streamwarden.errors import Conflict, Denied, InvalidInput
from streamwarden.http.api.access import CameraAccess, require_admin
from streamwarden.http.api.audit_routes import describe
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.models import Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.validation import body_of, claims_of, user_of
from streamwarden.model import Camera, Grant
from streamwarden.storage.cameras import GrantRepository
from streamwarden.storage.denials import DenialRepository

GrantedAction = Literal["view", "recordings", "control", "publish"]


MOST_USERS_OF_CAMERA: Final = 500
"""Each leaves denials for a year in every API process; those of users who do not exist count too."""


class GrantBody(Model):
    """All actions that the user may do from now on; others are withdrawn.

    ``recordings_from`` and ``recordings_until`` limit what was recorded when; null: no limit.
    """

    actions: Annotated[list[GrantedAction], Field(min_length=1, max_length=4)]
    recordings_from: Timestamp | None = None
    recordings_until: Timestamp | None = None


class GrantModel(Model):
    """A user's permitted actions on the camera."""

    user: str
    actions: list[GrantedAction]
    recordings_from: Timestamp | None
    recordings_until: Timestamp | None


class GrantList(Model):
    """Grants by user."""

    items: list[GrantModel]


class GrantCollection(Resource):
    """``/api/v1/camera/{camera_id}/grants``."""

    def __init__(
        self,
        access: CameraAccess,
        grants: GrantRepository,
    ) -> None:
        self._access = access
        self._grants = grants

    @operation(
        "The grants of a camera",
        access=Access.BEARER,
        answers={200: GrantList},
        refusals=(403, 404, 503),
        about="For its owner and admins, who need no grant themselves.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with all grants."""
        self._access.find(user_of(req), camera_id, CameraAction.SHARE)
        rows = self._grants.of_camera(camera_id)
        respond(resp, GrantList(items=_by_user(rows)))


class GrantItem(Resource):
    """``/api/v1/camera/{camera_id}/grants/{user}``."""

    def __init__(
        self,
        access: CameraAccess,
        grants: GrantRepository,
        revocations: Revocations,
        denied: DenialList,
    ) -> None:
        self._access = access
        self._grants = grants
        self._revocations = revocations
        self._denied = denied

    @operation(
        "Give a user exactly these grants",
        access=Access.BEARER,
        rate_limit="share",
        body=GrantBody,
        answers={200: GrantModel},
        refusals=(403, 404, 409, 503),
        about=(
            "Idempotent. Grants that are withdrawn or narrowed by it end at once: tokens become "
            "invalid, sessions are disconnected."
        ),
    )
    def on_put(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, user: str
    ) -> None:
        """Answer with the user's new grants."""
        body = body_of(req, GrantBody)
        wanted = _wanted(user, body)
        lost = self._give(req, camera_id, user, wanted)
        names = [grant.action for grant in wanted]
        describe(req, subject=user, actions=names, **({"withdrawn": lost} if lost else {}))
        respond(resp, _model(user, wanted))

    @operation(
        "Withdraw all grants of a user",
        access=Access.BEARER,
        rate_limit="share",
        answers={204: None},
        refusals=(403, 404, 503),
        about="Idempotent.",
    )
    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, user: str
    ) -> None:
        """Answer when the user's tokens are denied."""
        lost = self._give(req, camera_id, user, [])
        describe(req, subject=user, withdrawn=lost)
        resp.status = falcon.HTTP_204

    def _give(
        self, req: falcon.Request, camera_id: UUID, user: str, wanted: Sequence[Grant]
    ) -> list[str]:
        """Make ``wanted`` all grants of ``user``; return the actions that the user loses."""
        checked_user(user)
        camera = self._access.find(user_of(req), camera_id, CameraAction.SHARE)
        if user == camera.owner:
            raise InvalidInput("the owner needs no grant", field="user")
        if wanted:
            self._refuse_one_too_many(camera, user)
        return self._revocations.give(self._grants, camera, user, wanted)

    def _refuse_one_too_many(self, camera: Camera, user: str) -> None:
        """Refuse a new user where the camera has too many, those included who had a grant within a year."""
        people = {grant.user_sub for grant in self._grants.of_camera(camera.id)}
        people |= self._denied.users_of((camera.path, str(camera.id)))
        if user not in people and len(people) >= MOST_USERS_OF_CAMERA:
            raise TooManyGrants(
                f"the camera has been shared with {MOST_USERS_OF_CAMERA} users within a year"
            )


def checked_user(user: str) -> str:
    """Return a user's id from a path; raise InvalidInput if no id looks like this."""
    if not is_subject(user):
        raise InvalidInput(
            f"user: must be 1 to {MAX_SUBJECT_CHARS} printable characters", field="user"
        )
    return user


def _wanted(user: str, body: GrantBody) -> list[Grant]:
    from_, until = body.recordings_from, body.recordings_until
    if "recordings" not in body.actions and (from_ or until):
        raise InvalidInput("a window needs the action recordings", field="recordings_from")
    if from_ is not None and until is not None and from_ >= until:
        raise InvalidInput("must be before recordings_until", field="recordings_from")
    return [
        Grant(user_sub=user, action=action, from_=from_, until=until)
        if action == "recordings"
        else Grant(user_sub=user, action=action)
        for action in sorted(set(body.actions))
    ]


def _by_user(rows: Iterable[Grant]) -> list[GrantModel]:
    groups = groupby(rows, key=lambda row: row.user_sub)
    return [_model(user, list(granted)) for user, granted in groups]


def _model(user: str, granted: Sequence[Grant]) -> GrantModel:
    recordings = next((grant for grant in granted if grant.action == "recordings"), None)
    return GrantModel.model_validate(
        {
            "user": user,
            "actions": [grant.action for grant in granted],
            "recordings_from": recordings and recordings.from_,
            "recordings_until": recordings and recordings.until,
        }
    )


class TooManyGrants(Conflict):
    """The camera has been shared with as many users as may be."""

    code = "too_many_grants"


class UserBlocked(Denied):
    """This user has been blocked; nothing of theirs counts."""

    code = "user_blocked"


class BlockBody(Model):
    """Why, for those who read it later."""

    note: Annotated[str, StringConstraints(max_length=500)] = ""


class BlockedModel(Model):
    """A blocked user."""

    user: str
    blocked_by: str
    blocked_at: Timestamp
    note: str


class BlockedList(Model):
    """All blocked users, by name."""

    items: list[BlockedModel]


class RefuseBlocked:
    """Middleware that refuses every request of a blocked user; runs after the validation."""

    def __init__(self, denied: DenialList) -> None:
        self._denied = denied

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: object, _params: object
    ) -> None:
        """Let the request through, or raise UserBlocked."""
        caller = getattr(req.context, "user", None) or claims_of(req)
        if caller is not None and self._denied.is_blocked(caller.sub):
            raise UserBlocked("this user has been blocked")


class BlockedUserCollection(Resource):
    """``GET /api/v1/user/blocked``."""

    def __init__(self, table: DenialRepository) -> None:
        self._table = table

    @operation(
        "The blocked users", access=Access.BEARER, answers={200: BlockedList}, refusals=(403, 503)
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all blocked users; role admin."""
        require_admin(user_of(req))
        items = [
            BlockedModel(
                user=row.user_sub,
                blocked_by=row.blocked_by,
                blocked_at=row.blocked_at,
                note=row.note,
            )
            for row in self._table.blocked()
        ]
        respond(resp, BlockedList(items=items))


class BlockedUserItem(Resource):
    """``/api/v1/user/blocked/{user}``."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations

    @operation(
        "Block a user",
        access=Access.BEARER,
        body=BlockBody,
        answers={204: None},
        refusals=(403, 503),
        about=(
            "Every call of the user is refused, their tokens become invalid, their sessions and the "
            "clients that publish with their links are disconnected. Idempotent."
        ),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, user: str) -> None:
        """Answer when the user's tokens are denied; role admin."""
        admin = user_of(req)
        require_admin(admin)
        if checked_user(user) == admin.sub:
            raise InvalidInput("an administrator cannot block themselves", field="user")
        note = body_of(req, BlockBody).note
        self._revocations.block(user, by=admin.sub, note=note)
        describe(req, subject=user, **({"note": note} if note else {}))
        resp.status = falcon.HTTP_204

    @operation(
        "Lift a block",
        access=Access.BEARER,
        answers={204: None},
        refusals=(403, 503),
        about="Earlier tokens stay invalid. Idempotent.",
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, user: str) -> None:
        """Answer when the user may call again; role admin."""
        require_admin(user_of(req))
        self._revocations.unblock(checked_user(user))
        describe(req, subject=user)
        resp.status = falcon.HTTP_204
