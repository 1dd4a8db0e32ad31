"""Middleware of every app: request ids, security headers, request metrics, the limit on bodies."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import falcon
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from streamwarden.metrics.http_metrics import HttpMetrics

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""A response that sets one of them itself keeps its own: the page needs its scripts.

Strict-Transport-Security is the task of the proxy that terminates TLS.
"""
REQUEST_ID_HEADER = "X-Request-Id"
BODY_LIMIT_BYTES = 64 * 1024
UNMATCHED = "unmatched"
log = structlog.get_logger(__name__)
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_from(sent: str | None) -> str:
    """Return the id that the caller sent if it is safe in a log, else a new one."""
    if sent is not None and _ACCEPTED.fullmatch(sent):
        return sent
    return secrets.token_hex(8)


def name_request(req: falcon.Request) -> str:
    """Return the request's id, assigned at the first call: falcon refuses some before any middleware."""
    named: str | None = getattr(req.context, "request_id", None)
    if named is None:
        named = request_id_from(req.get_header(REQUEST_ID_HEADER))
        req.context.request_id = named
    return named


class RequestIds:
    """Adopts the caller's X-Request-Id or makes one, for the response and the log."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Assign the id before any other middleware, so that every refusal has one."""
        req.context.started = time.monotonic()
        clear_contextvars()  # left by the thread's last request
        bind_contextvars(request_id=name_request(req))

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Return the id, and the headers that suit responses which may hold a token."""
        resp.set_header(REQUEST_ID_HEADER, name_request(req))
        for name, text in SECURITY_HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, text)
        if resp.get_header("Cache-Control") is None:
            resp.set_header("Cache-Control", "no-store")


class RequestMetrics:
    """Counts responses by route template, with the time until each was ready."""

    def __init__(self, role: str, metrics: HttpMetrics) -> None:
        self._role = role
        self._metrics = metrics

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Count the response."""
        now = time.monotonic()
        seconds = now - getattr(req.context, "started", now)  # none where falcon refuses the method
        route = req.uri_template or UNMATCHED
        self._metrics.observe(
            role=self._role,
            route=route,
            method=req.method,
            status=resp.status_code,
            seconds=seconds,
        )
        log.debug("answered", route=route, method=req.method, status=resp.status_code)


class BodyLimit:
    """Refuses a body over 64 KiB before anything reads it."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Check Content-Length: waitress sets one even for a chunked body."""
        if (req.content_length or 0) > BODY_LIMIT_BYTES:
            raise falcon.HTTPContentTooLarge


def common(role: str, metrics: HttpMetrics) -> list[Any]:
    """Return the middleware of every app, outermost first."""
    return [RequestIds(), RequestMetrics(role, metrics), BodyLimit()]
