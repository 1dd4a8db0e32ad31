"""Every app's OpenAPI document against its router and the contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from falcon import inspect

from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.http.falcon_app import App
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.http import FakeGateway, FakeIndex
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index
from tests.unit.http.conftest import ApiHarness, CheckedClient


def _apps(harness: ApiHarness) -> dict[str, CheckedClient]:
    streaming = create_streaming_app(
        harness.shared,
        gateway=FakeGateway(),
        files=IndexedFiles(FakeIndex(), Path("/nowhere")),
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    return {"api": harness.api, "internal": harness.internal, "streaming": CheckedClient(streaming)}


def _routed(app: App) -> set[tuple[str, str]]:
    return {
        (route.path, method.method)
        for route in inspect.inspect_routes(app)
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    }


def _described(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(p, m.upper()) for p, methods in document["paths"].items() for m in methods}


@pytest.mark.parametrize("name", ["api", "internal", "streaming"])
def test_the_document_has_every_route_and_no_other(harness: ApiHarness, name: str) -> None:
    client = _apps(harness)[name]
    assert _described(client.document) == _routed(client.app)


@pytest.mark.parametrize("name", ["api", "internal", "streaming"])
def test_every_reference_leads_somewhere(harness: ApiHarness, name: str) -> None:
    document = _apps(harness)[name].document
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert referred <= set(document["components"]["schemas"])


@pytest.mark.parametrize("name", ["api", "internal", "streaming"])
def test_only_what_must_be_open_is_open(harness: ApiHarness, name: str) -> None:
    document = _apps(harness)[name].document
    opened = {
        path
        for path, methods in document["paths"].items()
        for declared in methods.values()
        if not declared["security"]
    }
    everywhere = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
    own = {"api": {"/docs", "/docs/{name}"}, "internal": {"/api/v1/m2m/check-stream-pwd"}}
    allowed = everywhere | own.get(name, set())
    assert opened == allowed


def test_the_contracts_calls_are_there(harness: ApiHarness) -> None:
    apps = _apps(harness)
    camera = "/api/v1/camera/{camera_id}"
    assert _described(apps["api"].document) >= {
        ("/api/v1/camera", "GET"),
        ("/api/v1/camera", "POST"),
        (camera, "GET"),
        (camera, "PATCH"),
        (camera, "DELETE"),
        (f"{camera}/stream/connect", "POST"),
        (f"{camera}/stream/disconnect", "POST"),
        (f"{camera}/stream/status", "GET"),
        (f"{camera}/publish_rtsp_url", "GET"),
        (f"{camera}/preview", "GET"),
        (f"{camera}/recordings", "GET"),
        (f"{camera}/recordings/{{segment_id}}", "GET"),
        ("/api/v1/settings/{key}", "GET"),
        ("/api/v1/settings/{key}", "PUT"),
        ("/api/v1/camera/{camera_id}/recordings/play_token", "POST"),
        ("/api/v1/camera/{camera_id}/live.m3u8", "GET"),
        ("/api/v1/camera/{camera_id}/live/{name}", "GET"),
        ("/api/v1/camera/{camera_id}/snapshot.jpg", "GET"),
        ("/api/v1/camera/{camera_id}/exports", "POST"),
        ("/api/v1/camera/{camera_id}/exports", "GET"),
        ("/api/v1/camera/{camera_id}/exports/{export_id}", "GET"),
        ("/api/v1/camera/{camera_id}/exports/{export_id}", "DELETE"),
        ("/api/v1/camera/{camera_id}/exports/{export_id}/file", "GET"),
        ("/api/v1/ops/summary", "GET"),
        ("/api/v1/ops/supervision", "GET"),
        ("/api/v1/ops/supervision/{child}/restart", "POST"),
        ("/api/v1/camera/{camera_id}/recordings/playlist.m3u8", "GET"),
    }
    assert _described(apps["internal"].document) >= {
        ("/api/v1/m2m/check-stream-pwd", "POST"),
        ("/api/v1/m2m/read-token", "POST"),
    }
    assert _described(apps["streaming"].document) >= {
        ("/streams/start", "POST"),
        ("/streams/stop", "POST"),
        ("/streams", "GET"),
        ("/streams/{camera_id}", "GET"),
        ("/streams/{camera_id}/restart", "POST"),
        ("/streams/{camera_id}/segments/{segment_id}", "GET"),
    }


def test_a_malformed_id_is_400_on_every_route_that_has_one(harness: ApiHarness) -> None:
    for path, method in _described(harness.api.document):
        if "{camera_id}" in path:
            asked = path.replace("{camera_id}", "not-an-id").replace("{segment_id}", "x")
            result = harness.call(method, asked.removeprefix("/api/v1"), who="root")
            assert (result.status_code, result.json["field"]) == (400, "camera_id"), path


def test_no_token_is_401_on_every_route_of_users(harness: ApiHarness) -> None:
    for path, method in _described(harness.api.document):
        if path.startswith("/api/"):
            result = harness.call(method, path.removeprefix("/api/v1"), who=None)
            assert result.status_code == 401, path


def test_postgres_away_is_503_on_every_route_of_users(harness: ApiHarness) -> None:
    camera = harness.camera()
    bodies: dict[tuple[str, str], object] = {
        ("/api/v1/camera", "POST"): {"name": "x", "owner": "y"},
        ("/api/v1/settings/{key}", "PUT"): {"value": 5},
        ("/api/v1/camera/{camera_id}/exports", "POST"): {
            "from": "2026-03-01T12:00:00Z",
            "to": "2026-03-01T13:00:00Z",
        },
        ("/api/v1/camera/{camera_id}/grants/{user}", "PUT"): {"actions": ["view"]},
    }
    harness.storage.down = True
    for path, method in _described(harness.api.document):
        if not path.startswith("/api/") or path.startswith("/api/v1/ops/supervision"):
            continue
        asked = path.removeprefix("/api/v1").replace("{key}", "video_segment_seconds")
        asked = re.sub(r"{\w+}", str(camera.id), asked)
        body = bodies.get((path, method))
        result = harness.call(method, asked, who="root", json=body)
        assert (result.status_code, result.json["code"]) == (503, "storage_unavailable"), path
        assert result.headers["retry-after"]
