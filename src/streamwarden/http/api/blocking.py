"""Users of whose tokens none counts. Role admin."""

from __future__ import annotations

from typing import Annotated

import falcon
from pydantic import StringConstraints

from streamwarden.auth.denials import DenialList
from streamwarden.errors import Denied, InvalidInput
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.access_ports import DenialStore
from streamwarden.http.api.audit_trail import describe
from streamwarden.http.api.grants import checked_user
from streamwarden.http.api.revocation import Revocations
from streamwarden.http.intake import body_of, claims_of, user_of
from streamwarden.http.models import Model, Moment, answer
from streamwarden.http.operations import Access, Resource, operation


class UserBlocked(Denied):
    """This user has been blocked; nothing of theirs counts."""

    code = "user_blocked"


class BlockBody(Model):
    """Why, for those who read it later."""

    note: Annotated[str, StringConstraints(max_length=500)] = ""


class BlockedModel(Model):
    """Somebody who is blocked."""

    user: str
    blocked_by: str
    blocked_at: Moment
    note: str


class BlockedList(Model):
    """Everybody who is blocked, by name."""

    items: list[BlockedModel]


class RefuseBlocked:
    """Middleware after the intake: whoever is blocked is refused, whatever they ask for."""

    def __init__(self, denied: DenialList) -> None:
        self._denied = denied

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: object, _params: object
    ) -> None:
        """Let the request through, or raise UserBlocked."""
        who = getattr(req.context, "user", None) or claims_of(req)
        if who is not None and self._denied.is_blocked(who.sub):
            raise UserBlocked("this user has been blocked")


class BlockedUsers(Resource):
    """``GET /api/v1/user/blocked``."""

    def __init__(self, store: DenialStore) -> None:
        self._store = store

    @operation(
        "Who is blocked", access=Access.BEARER, answers={200: BlockedList}, refusals=(403, 503)
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all of them; role admin."""
        require_admin(user_of(req))
        items = [
            BlockedModel(
                user=row.user_sub,
                blocked_by=row.blocked_by,
                blocked_at=row.blocked_at,
                note=row.note,
            )
            for row in self._store.blocked()
        ]
        answer(resp, BlockedList(items=items))


class BlockedUser(Resource):
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
            "Every call of theirs is refused, their tokens count for nothing, their sessions and what "
            "publishes with their links are disconnected. Harmless when repeated."
        ),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, user: str) -> None:
        """Answer once nothing of theirs counts; role admin."""
        admin = user_of(req)
        require_admin(admin)
        if checked_user(user) == admin.sub:
            raise InvalidInput("nobody blocks themselves", field="user")
        note = body_of(req, BlockBody).note
        self._revocations.block(user, by=admin.sub, note=note)
        describe(req, subject=user, **({"note": note} if note else {}))
        resp.status = falcon.HTTP_204

    @operation(
        "Lift a block",
        access=Access.BEARER,
        answers={204: None},
        refusals=(403, 503),
        about="What the user held before stays worthless. Harmless when repeated.",
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, user: str) -> None:
        """Answer once they may call again; role admin."""
        require_admin(user_of(req))
        self._revocations.unblock(checked_user(user))
        describe(req, subject=user)
        resp.status = falcon.HTTP_204
