"""The BFF: a reverse proxy from the page's server to the API, for a closed set of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import falcon
import structlog
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ProtocolError,
    ReadTimeoutError,
)

from streamwarden.errors import Unavailable
from streamwarden.http.middleware import REQUEST_ID_HEADER, name_request
from streamwarden.http.operations import Access, Media, Resource, operation
from streamwarden.http.problems import Problem, respond_problem
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, client_address
from streamwarden.http.role_client import StreamedResponse

log = structlog.get_logger(__name__)
_CAMERA: Final = "/v1/camera/{camera}"
_EXPORT: Final = f"{_CAMERA}/exports/{{export}}"

PROXIED: Final[Mapping[str, tuple[str, ...]]] = {
    "/v1/camera": ("GET", "POST"),
    _CAMERA: ("GET", "PATCH", "DELETE"),
    f"{_CAMERA}/stream/connect": ("POST",),
    f"{_CAMERA}/stream/disconnect": ("POST",),
    f"{_CAMERA}/stream/status": ("GET",),
    f"{_CAMERA}/publish_rtsp_url": ("GET",),
    f"{_CAMERA}/publish_rtsp_url/revoke": ("POST",),
    f"{_CAMERA}/grants": ("GET",),
    f"{_CAMERA}/grants/{{user}}": ("PUT", "DELETE"),
    f"{_CAMERA}/preview": ("GET",),
    f"{_CAMERA}/live.m3u8": ("GET",),
    f"{_CAMERA}/live/{{name}}": ("GET",),
    f"{_CAMERA}/snapshot.jpg": ("GET",),
    f"{_CAMERA}/recordings": ("GET",),
    f"{_CAMERA}/recordings/play_token": ("POST",),
    f"{_CAMERA}/recordings/playlist.m3u8": ("GET",),
    f"{_CAMERA}/recordings/{{segment}}": ("GET",),
    f"{_CAMERA}/exports": ("GET", "POST"),
    _EXPORT: ("GET", "DELETE"),
    f"{_EXPORT}/file": ("GET",),
    f"{_EXPORT}/proof": ("GET",),
    "/v1/settings/{key}": ("GET", "PUT"),
    "/v1/ops/summary": ("GET",),
    "/v1/ops/supervision": ("GET",),
    "/v1/ops/supervision/{child}/restart": ("POST",),
}
"""Every address that is relayed, below ``/bff`` here and below ``/api`` there, and its methods."""
_REQUEST_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Range",
)
_RESPONSE_HEADERS: Final = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_:~-][A-Za-z0-9_.:~-]{0,199}")
"""One part of a path: no server could take it for more than one."""
_USER: Final = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f\x7f]{1,255}")
"""A user's id, in the identity provider's characters; all of them are quoted."""
_PATTERNS: Final = {"user": _USER}
_STATUS_OF: Final = {"api_timeout": 504}
_BAD_GATEWAY: Final = 502
_OK: Final = 200
_WITHOUT_BODY: Final = frozenset({204, 304})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD"})


class ApiUnreachable(Unavailable):
    """No API listens there, or the connection broke during the answer."""

    code = "api_unreachable"


class ApiTimeout(Unavailable):
    """The API is reachable and has not answered in time."""

    code = "api_timeout"


class ApiProxy:
    """Sends requests on to the API at one base URL. Any thread may; at most ``connections`` are kept.

    Times are the longest waits for a connection and for each piece of an answer, in seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections: int,
        connect_timeout_s: float = 2.0,
        read_timeout_s: float = 15.0,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=connections)
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)

    def forward(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> StreamedResponse:
        """Send exactly this; ``target`` is the path with its query. Raises ApiUnreachable, ApiTimeout.

        Only GET and HEAD are repeated, once: the API may have closed the kept connection meanwhile.
        """
        try:
            try:
                response = self._open(method, target, headers, body)
            except ProtocolError:
                if method not in _IDEMPOTENT:
                    raise
                response = self._open(method, target, headers, body)
        except (HTTPError, OSError) as error:
            log.warning("api_call_failed", method=method, why=type(error).__name__)
            raise _failure(error) from error
        return StreamedResponse(
            status=response.status, headers=response.headers, response=response, failure=_failure
        )

    def check(self) -> None:
        """Raise ApiUnreachable or ApiTimeout unless the API lives."""
        answer = self.forward("GET", "/healthz", headers={}, body=None)
        try:
            if answer.status != _OK:
                raise ApiUnreachable(f"the API answers its health check with {answer.status}")
        finally:
            answer.close()

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            method,
            self._base_url + target,
            headers=headers,
            body=body,
            timeout=self._timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )


def _failure(error: Exception) -> Unavailable:
    # A connect timeout means that the API is away, not that it is slow.
    if isinstance(error, ReadTimeoutError) and not isinstance(error, ConnectTimeoutError):
        return ApiTimeout("the API did not answer in time")
    return ApiUnreachable("the API does not answer")


class ProxiedRoute(Resource):
    """One address of the API and the methods that reach it."""

    def __init__(
        self,
        api: ApiProxy,
        template: str,
        methods: tuple[str, ...],
        *,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._api = api
        self._proxies = proxies
        self._target = f"/api{template}"
        for method in (*methods, *(("HEAD",) if "GET" in methods else ())):
            setattr(self, f"on_{method.lower()}", self._relay)

    @operation(
        "Proxied to the API's route of the same name",
        access=Access.OPEN,
        query=None,
        answers={
            **dict.fromkeys(
                (200, 201, 202, 206), Media(content_type="*/*", about="The API's answer, unchanged")
            ),
            204: None,
            304: None,
        },
        # Its own and those of the API's routes, which go through.
        refusals=(400, 401, 403, 404, 409, 412, 413, 415, 416, 422, 429, 502, 503, 504),
        about="The bearer token goes through; every other check is the API's.",
    )
    def _relay(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> None:
        """Relay the request, and the answer as it arrives."""
        target = _target(self._target, parts, req.query_string)
        try:
            found = self._api.forward(
                req.method,
                target,
                headers=_headers(req, self._proxies),
                body=req.bounded_stream.read() or None,
            )
        except Unavailable as error:
            respond_problem(req, resp, _gateway_problem(error))
            return
        _answer(req, resp, found)


def _target(template: str, parts: Mapping[str, str], query: str) -> str:
    if not all(_PATTERNS.get(name, _SEGMENT).fullmatch(part) for name, part in parts.items()):
        raise falcon.HTTPNotFound
    path = template.format_map({name: quote(part, safe=":~") for name, part in parts.items()})
    return f"{path}?{query}" if query else path


def _headers(req: falcon.Request, proxies: Proxies) -> dict[str, str]:
    headers = {name: text for name in _REQUEST_HEADERS if (text := req.get_header(name))}
    return headers | {
        REQUEST_ID_HEADER: name_request(req),
        # One address, as this role determines it: the API uses it if it trusts this role.
        "X-Forwarded-For": client_address(req, proxies),
    }


def _gateway_problem(error: Unavailable) -> Problem:
    return Problem(
        status=_STATUS_OF.get(error.code, _BAD_GATEWAY),
        code=error.code,
        detail=str(error),
        headers={"Retry-After": str(error.retry_after_s)},
    )


class _Body:
    """The body for WSGI: waitress iterates it, and closes it in every case.

    A body that breaks off ends early: waitress then closes the connection before Content-Length is
    reached, so that the client sees it is incomplete. Without a Content-Length the failure is raised.
    """

    def __init__(self, found: StreamedResponse, *, length_known: bool) -> None:
        self._found = found
        self._chunks = iter(found)
        self._length_known = length_known

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except Unavailable as error:
            if not self._length_known:
                raise
            log.warning("answer_broke_off", code=error.code)
            raise StopIteration from None

    def close(self) -> None:
        self._found.close()


def _answer(req: falcon.Request, resp: falcon.Response, found: StreamedResponse) -> None:
    headers = {name.lower(): text for name, text in found.headers.items()}
    resp.status = found.status
    if "location" in headers:
        # The API names its own address, which is another one here.
        headers["location"] = headers["location"].replace("/api/", "/bff/", 1)
    for name in _RESPONSE_HEADERS:
        if name.lower() in headers:
            resp.set_header(name, headers[name.lower()])
    if req.method == "HEAD" or found.status in _WITHOUT_BODY:
        found.close()
    else:
        resp.stream = _Body(found, length_known="content-length" in headers)
