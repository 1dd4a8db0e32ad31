"""One JSON call to another role: bounded in time and size, and every failure said in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import urllib3
from urllib3.exceptions import HTTPError

_ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
"""The status of ten thousand cameras; beyond it something else is answering."""


class NoAnswer(Exception):
    """The other role did not answer, or not as one of ours does. Whether it acted is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON object with its status."""

    status: int
    body: Mapping[str, object]

    @property
    def code(self) -> str:
        """The problem's code, empty where there is none."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Calls one role. ``internal_token`` goes along with every call and into no message.

    Of two with a comma between them, as while it is being changed, the first is shown.
    """

    base_url: str
    internal_token: str = field(repr=False)
    pool: urllib3.PoolManager = field(repr=False)
    timeout: urllib3.Timeout

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
    ) -> Answer:
        """Return the answer, whatever its status; raise NoAnswer if there is none of ours."""
        encoded = None if body is None else json.dumps(body).encode()
        try:
            response = self.open(method, path, self.headers(request_id), body=encoded)
            try:
                data = response.read(_ANSWER_LIMIT_BYTES + 1)
            finally:
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__) from error
        return Answer(status=response.status, body=_object(data))

    def open(
        self, method: str, path: str, headers: Mapping[str, str], *, body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and return the answer with its body unread.

        Nothing is retried and no redirect followed: the one who asked knows whether to ask again,
        and the token is for this address alone.
        """
        return self.pool.request(
            method,
            self.base_url.rstrip("/") + path,
            body=body,
            headers=headers,
            timeout=self.timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close every connection."""
        self.pool.clear()

    def headers(self, request_id: str | None) -> dict[str, str]:
        """Return what every call carries."""
        headers = {
            "X-Internal-Token": self.internal_token.partition(",")[0],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        return headers


def caller_of(
    base_url: str,
    internal_token: str,
    *,
    connect_timeout_s: float,
    read_timeout_s: float,
    connections: int,
) -> Caller:
    """Return a caller with connections of its own, of which at most ``connections`` are kept."""
    return Caller(
        base_url=base_url,
        internal_token=internal_token,
        pool=urllib3.PoolManager(num_pools=1, maxsize=connections),
        timeout=urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s),
    )


def read_answer(status: int, data: bytes) -> Answer:
    """Return what an answer that was read says; without a body where it is no JSON object."""
    try:
        return Answer(status=status, body=_object(data))
    except NoAnswer:
        return Answer(status=status, body={})


def _object(data: bytes) -> Mapping[str, object]:
    if len(data) > _ANSWER_LIMIT_BYTES:
        raise NoAnswer("an answer larger than any of ours")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("no JSON") from error
    if not isinstance(value, dict):
        raise NoAnswer("no JSON object")
    return value
