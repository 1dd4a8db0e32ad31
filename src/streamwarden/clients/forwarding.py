"""One HTTP request handed on to the API as it came, and its answer handed back piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ProtocolError,
    ReadTimeoutError,
)

from streamwarden.clients.unread import Unread
from streamwarden.errors import Unavailable

_LOG = structlog.get_logger(__name__)
_HARMLESS_TWICE: Final = frozenset({"GET", "HEAD"})
_OK: Final = 200


class ApiUnreachable(Unavailable):
    """No API listens there, or it ended while it answered."""

    code = "api_unreachable"


class ApiTimeout(Unavailable):
    """The API is there and has not answered in time."""

    code = "api_timeout"


class Forwarder:
    """Hands requests on to one base URL. Any thread may; at most ``connections`` are kept.

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
    ) -> Unread:
        """Send exactly this; ``target`` is the path with its query. Raises ApiUnreachable, ApiTimeout.

        Nothing is tried again but what is harmless twice, on a kept connection that the API had
        closed meanwhile.
        """
        try:
            try:
                response = self._open(method, target, headers, body)
            except ProtocolError:
                if method not in _HARMLESS_TWICE:
                    raise
                response = self._open(method, target, headers, body)
        except (HTTPError, OSError) as error:
            _LOG.warning("api_call_failed", method=method, why=type(error).__name__)
            raise _said(error) from error
        return Unread(
            status=response.status, headers=response.headers, response=response, said_of=_said
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


def _said(error: Exception) -> Unavailable:
    # A connection that cannot be made in time is an API that is away, not one that is slow.
    if isinstance(error, ReadTimeoutError) and not isinstance(error, ConnectTimeoutError):
        return ApiTimeout("the API did not answer in time")
    return ApiUnreachable("the API does not answer")
