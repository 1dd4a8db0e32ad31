"""HTTP as it goes over the wire: paths unchanged, every answer kept, nothing raised for a status."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Return what the body says."""
        return json.loads(self.body)

    @property
    def code(self) -> object:
        """The problem's code."""
        return self.json()["code"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one base URL with the same headers each time; a connection a call, from any thread."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET."""
        target = f"{path}?{urlencode(query)}" if query else path
        return self.call("GET", target, headers=headers)

    def post(self, path: str, body: object = None) -> Answer:
        """POST ``body`` as JSON; None sends none."""
        return self._send("POST", path, body)

    def put(self, path: str, body: object) -> Answer:
        """PUT ``body`` as JSON."""
        return self._send("PUT", path, body)

    def patch(self, path: str, body: object) -> Answer:
        """PATCH with ``body`` as JSON."""
        return self._send("PATCH", path, body)

    def call(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send exactly this; raises OSError or HTTPException when nobody answers."""
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=_TIMEOUT_S)
        try:
            # A server that has heard enough answers and closes; what it said can still be read.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    method, target, body=body, headers={**self.headers, **(headers or {})}
                )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def _send(self, method: str, path: str, body: object) -> Answer:
        if body is None:
            return self.call(method, path)
        encoded = json.dumps(body).encode()
        return self.call(method, path, body=encoded, headers={"Content-Type": "application/json"})


def bearer(base: str, token: str) -> Caller:
    """Return who calls ``base`` with a user's token."""
    return Caller(base, {"Authorization": f"Bearer {token}"})


def internal(base: str, token: str) -> Caller:
    """Return who calls ``base`` as one role calls another."""
    return Caller(base, {"X-Internal-Token": token})
