"""Errors as problem details (RFC 9457).

No problem repeats the input, and none shows internals; the request id leads from the response to the
log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import falcon
import structlog

from streamwarden.auth.users import Unauthenticated
from streamwarden.errors import (
    InvalidInput,
    StreamwardenError,
    TooManyRequests,
    Unavailable,
    in_full,
)
from streamwarden.http.middleware import name_request

PROBLEM_JSON = "application/problem+json"
_KEPT_HEADERS = frozenset({"allow", "content-range"})
log = structlog.get_logger(__name__)

_CODES: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request", "the request is not one that this server understands"),
    401: ("unauthenticated", "credentials are missing or not accepted"),
    403: ("permission_denied", "not allowed"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take this method"),
    408: ("request_timeout", "the request did not arrive in time"),
    409: ("conflict", "the request contradicts what is already so"),
    413: ("payload_too_large", "the body is larger than 64 KiB"),
    415: ("unsupported_media_type", "a body must be application/json in UTF-8"),
    416: ("range_not_satisfiable", "the range begins after the end of the file"),
    429: ("too_many_requests", "more calls than are allowed; see Retry-After"),
    431: ("headers_too_large", "the request's header fields are too large"),
    500: ("internal_error", "something went wrong here; the log has it under this request id"),
    501: ("not_implemented", "this server does not do this"),
    503: ("unavailable", "something that is needed does not answer"),
}


class InternalTokenRefused(Unauthenticated):
    """The caller has not sent the token that the roles share."""


def reason_phrase(status: int) -> str:
    """Return the phrase of RFC 9110; Python before 3.13 has two older ones."""
    return _RFC_9110.get(status) or HTTPStatus(status).phrase


_RFC_9110: Mapping[int, str] = {413: "Content Too Large", 416: "Range Not Satisfiable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem; ``field`` names the part of the request at fault."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    field: str | None = None

    @property
    def title(self) -> str:
        """The reason phrase of the status."""
        return reason_phrase(self.status)

    @staticmethod
    def of_status(status: int) -> Problem:
        """Return the problem of a status without a more specific code."""
        known = status if status in _CODES else (400 if status < HTTPStatus(500) else 500)
        code, detail = _CODES[known]
        return Problem(status=known, code=code, detail=detail)

    @staticmethod
    def of_error(error: StreamwardenError) -> Problem | None:
        """Return the problem of an error, None if it is not for callers."""
        if error.status is None:
            return None
        return Problem(
            status=error.status,
            code=error.code,
            detail=str(error) or _CODES[error.status][1],
            field=error.field if isinstance(error, InvalidInput) else None,
            headers=_headers(error),
        )


def encode(problem: Problem, request_id: str) -> bytes:
    """Return ``problem`` as JSON."""
    body: dict[str, object] = {
        "status": problem.status,
        "title": problem.title,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.field is not None:
        body["field"] = problem.field
    return json.dumps(body).encode()


def respond_problem(req: falcon.Request, resp: falcon.Response, problem: Problem) -> None:
    """Answer with ``problem``; its code is kept for the audit trail."""
    req.context.problem_code = problem.code
    resp.status = problem.status
    resp.content_type = PROBLEM_JSON
    resp.stream = None
    for name in ("ETag", "Last-Modified", "Cache-Control"):  # of the response that it replaces
        resp.delete_header(name)
    resp.data = encode(problem, name_request(req))
    resp.set_headers(dict(problem.headers))


def add_error_handlers(app: falcon.App[Any, Any]) -> None:
    """Make ``app`` answer every error with a problem."""
    app.resp_options.xml_error_serialization = False
    app.add_error_handler(Exception, _on_bug)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(StreamwardenError, _on_error)


def _on_error(
    req: falcon.Request, resp: falcon.Response, error: StreamwardenError, params: dict[str, Any]
) -> None:
    problem = Problem.of_error(error)
    if problem is None:
        _on_bug(req, resp, error, params)
        return
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning(
            "request_unavailable",
            route=req.uri_template,
            code=problem.code,
            detail=in_full(error),
        )
    respond_problem(req, resp, problem)


def _on_http_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    headers = {k: v for k, v in dict(error.headers or {}).items() if k.lower() in _KEPT_HEADERS}
    respond_problem(req, resp, replace(Problem.of_status(error.status_code), headers=headers))


def _on_bug(
    req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    log.error("request_failed", method=req.method, route=req.uri_template, exc_info=error)
    respond_problem(req, resp, Problem.of_status(500))


def _headers(error: StreamwardenError) -> dict[str, str]:
    match error:
        case Unavailable() | TooManyRequests():
            return {"Retry-After": str(error.retry_after_s)}
        case InternalTokenRefused():
            return {"WWW-Authenticate": "X-Internal-Token"}
        case Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}
