"""One id a request, from the caller or new, in every answer and every log line."""

from __future__ import annotations

import re
import secrets

import falcon

REQUEST_ID_HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_from(sent: str | None) -> str:
    """Return the id that the caller sent if it is one that a log may hold, else a new one."""
    if sent is not None and _ACCEPTED.fullmatch(sent):
        return sent
    return secrets.token_hex(8)


def name_request(req: falcon.Request) -> str:
    """Return the request's id, given at the first call: falcon refuses some before any middleware."""
    named: str | None = getattr(req.context, "request_id", None)
    if named is None:
        named = request_id_from(req.get_header(REQUEST_ID_HEADER))
        req.context.request_id = named
    return named
