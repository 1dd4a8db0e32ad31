"""The streaming role's insides, for operators."""

from __future__ import annotations

import falcon

from streamwarden.http.models import answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.ops import ChildState, RoleSummary, Supervision
from streamwarden.http.streaming.ports import Insides


class Summary(Resource):
    """``GET /summary``."""

    def __init__(self, insides: Insides) -> None:
        self._insides = insides

    @operation(
        "Cameras by state, disk and index",
        access=Access.INTERNAL,
        answers={200: RoleSummary},
        refusals=(503,),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer from the snapshot."""
        answer(resp, self._insides.summary())


class Tree(Resource):
    """``GET /supervision``."""

    def __init__(self, insides: Insides) -> None:
        self._insides = insides

    @operation(
        "The supervision tree",
        access=Access.INTERNAL,
        answers={200: Supervision},
        refusals=(503,),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with every child and its incarnation."""
        answer(resp, self._insides.supervision())


class RestartChild(Resource):
    """``POST /supervision/{child}/restart``."""

    def __init__(self, insides: Insides) -> None:
        self._insides = insides

    @operation(
        "Restart a child by hand",
        access=Access.INTERNAL,
        answers={200: ChildState},
        refusals=(404, 409, 503),
        about="Recorders alone: 409 `not_restartable` for others, 404 `child_not_found`.",
    )
    def on_post(self, _req: falcon.Request, resp: falcon.Response, child: str) -> None:
        """Start a parked recorder again, or replace a running one's FFmpeg, make before break."""
        answer(resp, self._insides.restart(child))
