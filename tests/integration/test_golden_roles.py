"""What each role serves when it runs: its document and its metrics are as they are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from streamwarden.app.roles import RunningRoles, run_roles
from streamwarden.config.settings import load
from streamwarden.evidence.seal_keys import new_key
from tests.golden.stored import same_as_stored

INTERNAL_TOKEN = "internal-token-of-at-least-32-bytes"
PORTS = {
    "api": "openapi-api.json",
    "internal_api": "openapi-internal.json",
    "streaming": "openapi-streaming.json",
    "webui": "openapi-webui.json",
}


@dataclass
class RolesHarness:
    """All roles in this process, asked from outside."""

    root: Path
    roles: RunningRoles
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def url(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self.roles.ports[port]}{path}"

    def get(self, port: str, path: str) -> str:
        answer = self.pool.request("GET", self.url(port, path), timeout=30)
        assert answer.status == 200
        return answer.data.decode()

    def post(self, port: str, path: str, body: object) -> None:
        headers = {"X-Internal-Token": INTERNAL_TOKEN}
        answer = self.pool.request(
            "POST", self.url(port, path), json=body, headers=headers, timeout=30
        )
        assert answer.status == 200, answer.data


@pytest.fixture
def harness(tmp_path: Path, database_url: str) -> Iterator[RolesHarness]:
    new_key(tmp_path / "seal.pem")
    settings = load(
        None,
        {
            "DATABASE_URL": database_url,
            "STREAMWARDEN_RECORD_ROOT": str(tmp_path / "records"),
            "STREAMWARDEN_PORT_BASE": "0",
            "STREAMWARDEN_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "STREAMWARDEN_USER_JWT_SECRET": "users-secret-of-at-least-32-bytes-ok",
            "STREAMWARDEN_STREAM_TOKEN_KEYS": "k1:stream-key-of-at-least-32-bytes-ok",
            "STREAMWARDEN_RTSP_INTERNAL_URL": "rtsp://127.0.0.1:9",
            "STREAMWARDEN_MEDIAMTX_API_URL": "http://127.0.0.1:9",
            "STREAMWARDEN_SEAL_KEY_FILE": str(tmp_path / "seal.pem"),
        },
    )
    umask = os.umask(0o027)
    roles = run_roles(settings, frozenset({"api", "streaming", "webui"}))
    found = RolesHarness(tmp_path / "records", roles)
    try:
        yield found
    finally:
        found.pool.clear()
        roles.stop(30.0)
        os.umask(umask)


def without_version(document: str) -> str:
    found: dict[str, Any] = json.loads(document)
    found["info"]["version"] = "VERSION"
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    # Python before 3.13 has the phrases of RFC 7231 for these two.
    text = text.replace("Request Entity Too Large", "Content Too Large")
    return text.replace("Requested Range Not Satisfiable", "Range Not Satisfiable")


def test_each_running_role_serves_what_is_kept(harness: RolesHarness) -> None:
    assert set(harness.roles.ports) == set(PORTS)
    for port, name in PORTS.items():
        same_as_stored(name, without_version(harness.get(port, "/openapi.json")))
    kinds = [
        f"{port} {line.removeprefix('# TYPE ')}\n"
        for port in PORTS
        for line in harness.get(port, "/metrics").splitlines()
        if line.startswith("# TYPE ")
    ]
    same_as_stored("metrics-scraped.txt", "".join(sorted(kinds)))


def test_a_role_that_has_recorded_leaves_its_own_files_where_they_were(
    harness: RolesHarness,
) -> None:
    order = {
        "user_id": "alice",
        "camera_id": "01234567-89ab-cdef-0123-456789abcdef",
        "rtsp_url": "rtsp://127.0.0.1:9/nobody",
        "segment_seconds": 5,
    }
    harness.post("streaming", "/streams/start", order)
    harness.roles.stop(30.0)  # what waits for the disk is written before that ends
    own = (path.relative_to(harness.root).as_posix() for path in harness.root.glob(".*/**/*"))
    same_as_stored("record-root-own.txt", "".join(f"{name}\n" for name in sorted(own)))
