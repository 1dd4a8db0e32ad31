"""What every request goes through: an id, a limit on its body, a count of its answer.

What every answer of every port carries for the browser that may read it.

One id a request, from the caller or new, in every answer and every log line.
"""

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
"""An answer that sets one of them itself keeps its own: the page needs its scripts.

Strict-Transport-Security is for the proxy that ends TLS: only it knows that there is any.
"""


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


BODY_LIMIT_BYTES = 64 * 1024


UNMATCHED = "unmatched"


_LOG = structlog.get_logger(__name__)


class RequestIds:
    """Takes over the caller's X-Request-Id or makes one, for the answer and for the log."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Name the request. First of all, so that every refusal has an id."""
        req.context.started = time.monotonic()
        clear_contextvars()  # the thread has served others before
        bind_contextvars(request_id=name_request(req))

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Give the id back, with headers that suit answers which may hold a token."""
        resp.set_header(REQUEST_ID_HEADER, name_request(req))
        for name, text in SECURITY_HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, text)
        if resp.get_header("Cache-Control") is None:
            resp.set_header("Cache-Control", "no-store")


class Measured:
    """Counts answers by route template, with the time until each was ready."""

    def __init__(self, role: str, metrics: HttpMetrics) -> None:
        self._role = role
        self._metrics = metrics

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Count the answer."""
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
        _LOG.debug("answered", route=route, method=req.method, status=resp.status_code)


class BodyLimit:
    """Refuses a body over 64 KiB before anything reads it."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Judge by Content-Length: waitress has made one even for a chunked body."""
        if (req.content_length or 0) > BODY_LIMIT_BYTES:
            raise falcon.HTTPContentTooLarge


def common(role: str, metrics: HttpMetrics) -> list[Any]:
    """Return what every app has, outermost first."""
    return [RequestIds(), Measured(role, metrics), BodyLimit()]
