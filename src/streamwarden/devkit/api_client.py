"""A client of the user API, for the demo, the benchmarks and scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.errors import StreamwardenError, Unavailable

_CONNECT_S, _ANSWER_S = 2.0, 10.0
_LIMIT_BYTES = 8 * 1024 * 1024


class ApiRefused(StreamwardenError):
    """A problem document from the API; ``code`` is its stable code, ``status`` the HTTP status."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class ApiClient:
    """Calls the API with one user's bearer token; may be used from any thread."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=4,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_ANSWER_S),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def cameras(self) -> list[Mapping[str, Any]]:
        """Return every camera that the user may see, oldest first."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
            page = self._call("GET", f"/api/v1/camera?{urlencode(query)}")
            found += page["items"]
            if (cursor := page["next_cursor"]) is None:
                return found

    def add_camera(self, *, name: str, owner: str) -> Mapping[str, Any]:
        """Add a camera (role admin) and return it."""
        return self._call("POST", "/api/v1/camera", {"name": name, "owner": owner})

    def set_source(
        self, camera_id: UUID, url: str | None, *, username: str | None, password: str | None
    ) -> None:
        """Have the camera pulled from ``url``, or, for None, publish by itself."""
        source: dict[str, object] = {"source_url": url}
        if url is not None:
            source |= {"source_username": username, "source_password": password}
        self._call("PATCH", f"/api/v1/camera/{camera_id}", source)

    def connect(self, camera_id: UUID) -> Mapping[str, Any]:
        """Start recording the camera."""
        return self._call("POST", f"/api/v1/camera/{camera_id}/stream/connect", {})

    def disconnect(self, camera_id: UUID) -> Mapping[str, Any]:
        """Stop recording the camera."""
        return self._call("POST", f"/api/v1/camera/{camera_id}/stream/disconnect", {})

    def status(self, camera_id: UUID) -> Mapping[str, Any]:
        """Return the status of the camera's recorder."""
        return self._call("GET", f"/api/v1/camera/{camera_id}/stream/status")

    def publish_url(self, camera_id: UUID) -> str:
        """Return a URL with a fresh token that the camera may publish to."""
        answer = self._call("GET", f"/api/v1/camera/{camera_id}/publish_rtsp_url")
        return str(answer["publish_rtsp_url"])

    def recordings(
        self, camera_id: UUID, *, from_: str | None = None, limit: int = 100
    ) -> list[Mapping[str, Any]]:
        """Return the first segments and gaps since ``from_`` (RFC 3339), in time order."""
        query = {"limit": str(limit)} | ({"from": from_} if from_ else {})
        page = self._call("GET", f"/api/v1/camera/{camera_id}/recordings?{urlencode(query)}")
        items: list[Mapping[str, Any]] = page["items"]
        return items

    def put_setting(self, key: str, value: object) -> None:
        """Change a setting of the product (role admin)."""
        self._call("PUT", f"/api/v1/settings/{quote(key, safe='')}", {"value": value})

    def _call(
        self, method: str, target: str, body: Mapping[str, object] | None = None
    ) -> Mapping[str, Any]:
        """Return the answer's JSON.

        Raises:
            ApiRefused: The API answered with another error.
            Unavailable: It did not answer, or answered 503.
        """
        status, raw = self._exchange(method, target, body)
        answer = _object_or_empty(raw)
        if status < HTTPStatus.BAD_REQUEST:
            return answer
        code, detail = str(answer.get("code", "unknown")), str(answer.get("detail", ""))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable(f"the API cannot do that now: {code}: {detail}")
        raise ApiRefused(status, code, detail)

    def _exchange(
        self, method: str, target: str, body: Mapping[str, object] | None
    ) -> tuple[int, bytes]:
        headers, encoded = self._headers, None
        if body is not None:
            headers = headers | {"Content-Type": "application/json"}
            encoded = json.dumps(body).encode()
        try:
            answer = self._pool.request(
                method, f"{self._base}{target}", body=encoded, headers=headers,
                preload_content=False, redirect=False,
            )  # fmt: skip
            try:
                return answer.status, answer.read(_LIMIT_BYTES)
            finally:
                answer.drain_conn()
                answer.release_conn()
        except HTTPError as error:
            raise Unavailable(f"the API does not answer: {type(error).__name__}") from error


def _object_or_empty(raw: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(raw) if raw else {}
    except ValueError:
        answer = {}
    return answer if isinstance(answer, dict) else {}
