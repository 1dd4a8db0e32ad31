"""An installation with settings of its own, whose API can be restarted with others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.acceptance.installation import Installation
from tests.acceptance.program import Program


class ConfiguredInstallation(Installation):
    """An installation whose settings are changed; None takes one out."""

    def __init__(
        self,
        folder: Path,
        make: Callable[..., Program],
        *,
        database_url: str,
        ffmpeg: str,
        changed: Mapping[str, str | None],
    ) -> None:
        self.changed = dict(changed)
        super().__init__(folder, make, database_url=database_url, ffmpeg=ffmpeg)

    def environ(self, database_url: str) -> dict[str, str]:
        """Return the settings of the installation, changed."""
        settings = super().environ(database_url)
        for name, value in self.changed.items():
            settings.pop(f"STREAMWARDEN_{name}", None)
            if value is not None:
                settings[f"STREAMWARDEN_{name}"] = value
        return settings

    def _made(self, role: str) -> Program:
        return self._make("serve", "--role", role, environ=self.environ(self.database_url))

    def restart_api(self, **changed: str | None) -> None:
        """Stop the API and start it with other settings; what records goes on meanwhile."""
        self.changed |= changed
        assert self.api.stop() == 0
        self.api = self._made("api")
        self.start_api()

    def restart_streaming(self, **changed: str | None) -> None:
        """Stop the streaming role and start it with other settings."""
        self.changed |= changed
        assert self.streaming.stop() == 0
        self.streaming = self._made("streaming")
        self.start_streaming()


class FakeProvider:
    """An identity provider's published keys. ``asked`` counts how often they were fetched."""

    def __init__(self) -> None:
        self.document: Mapping[str, object] = {"keys": []}
        self.asked = 0
        self.away = False
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[FakeProvider]:
        """Serve them on a free port."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = json.dumps(provider.document).encode()
                self.send_response(503 if provider.away else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/keys"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
