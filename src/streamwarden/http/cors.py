"""Answers to web pages of other origins: Cross-Origin Resource Sharing (Fetch standard, 3.2).

An origin is allowed by its exact text. No cookies are involved: users are known by ``Authorization``,
which a page must hold itself, so no answer allows credentials.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import falcon

_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED: Final = (
    "Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range, X-Request-Id"
)
_SHOWN: Final = (
    "Content-Disposition, Content-Range, ETag, Last-Modified, Location, Retry-After, X-Request-Id"
)
_REMEMBERED_S: Final = 600


class CrossOrigin:
    """Lets pages of the configured origins call the API. Before the middleware that asks for a token."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer a preflight, which carries no token."""
        if self._allowed(req) is None or req.method != "OPTIONS":
            return
        if req.get_header("Access-Control-Request-Method") is None:
            return
        resp.status = falcon.HTTP_204
        resp.set_header("Access-Control-Allow-Methods", _METHODS)
        resp.set_header("Access-Control-Allow-Headers", _ASKED)
        resp.set_header("Access-Control-Max-Age", str(_REMEMBERED_S))
        resp.complete = True

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Name the origin that may read the answer, if it may."""
        if not self._origins:
            return
        resp.append_header("Vary", "Origin")
        if (origin := self._allowed(req)) is not None:
            resp.set_header("Access-Control-Allow-Origin", origin)
            resp.set_header("Access-Control-Expose-Headers", _SHOWN)

    def _allowed(self, req: falcon.Request) -> str | None:
        origin = req.get_header("Origin")
        return origin if origin in self._origins else None
