"""A stand-in for the API as the demo uses it: cameras, connect, publish URLs, recordings."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

from streamwarden.clock import rfc3339


@dataclass(slots=True)
class Product:
    """What the stand-in knows, and what was asked of it."""

    rtsp_url: str
    records: bool = True
    unavailable: int = 0
    """How many calls are still to be answered 503."""
    cameras: list[dict[str, Any]] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)
    settings: dict[str, object] = field(default_factory=dict)
    bearers: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        """Answer one call."""
        if "/m2m/" in path:
            return 200, {}
        if self.unavailable:
            self.unavailable -= 1
            return 503, {"code": "storage_unavailable", "detail": "not yet"}
        parts = path.removeprefix("/api/v1/").split("/")
        if parts[0] == "settings":
            self.settings[parts[1]] = body["value"]
            return 200, {}
        if len(parts) == 1:
            return self._camera_list(method, body)
        return self._change(parts[1], body) if method == "PATCH" else self._camera(parts)

    def _camera_list(self, method: str, body: Mapping[str, Any]) -> tuple[int, object]:
        if method == "GET":
            return 200, {"items": self.cameras, "next_cursor": None}
        self.cameras.append({"id": str(uuid4()), "name": body["name"], "owner": body["owner"]})
        return 201, self.cameras[-1]

    def _change(self, camera_id: str, body: Mapping[str, Any]) -> tuple[int, object]:
        for camera in self.cameras:
            if camera["id"] == camera_id:
                camera.update(body)
                return 200, camera
        return 404, {"code": "camera_not_found", "detail": "no such camera"}

    def _camera(self, parts: list[str]) -> tuple[int, object]:
        camera_id, what = parts[1], parts[-1]
        match what:
            case "connect":
                self.wanted.add(camera_id)
                return 200, {"ttl": 300, "info": {}}
            case "disconnect":
                self.wanted.discard(camera_id)
                return 200, {}
            case "publish_rtsp_url":
                return 200, {"publish_rtsp_url": f"{self.rtsp_url}/{camera_id}?token=good"}
            case "recordings":
                return 200, {"items": self._recordings(camera_id), "next_cursor": None}
            case "status":
                return 200, {"status": "backoff", "last_error": {"cause": "source_offline"}}
        return 404, {"code": "camera_not_found", "detail": "no such camera"}

    def _recordings(self, camera_id: str) -> list[dict[str, Any]]:
        if not self.records or camera_id not in self.wanted:
            return []
        now = datetime.now(UTC)
        times = {"started_at": rfc3339(now), "ended_at": rfc3339(now + timedelta(seconds=1))}
        return [{"kind": "segment", **times}]


class ProductServer(ThreadingHTTPServer):
    """Serves ``product`` on ``ports`` of loopback."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, product: Product, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.product = product
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self, _deadline_s: float = 0) -> None:
        """Stop listening."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    server: ProductServer
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        product = self.server.product
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        product.bearers.add(self.headers.get("Authorization", ""))
        path = urlsplit(self.path).path
        status, answer = product.answer(self.command, path, json.loads(raw or b"{}"))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_args: object) -> None: ...
