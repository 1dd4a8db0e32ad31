from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.actors.messages import LastError, RecorderState
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.errors import Conflict, Unavailable
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.http.wire import status_from_json
from streamwarden.metrics.http_metrics import HttpMetrics
from streamwarden.model import LastSegment
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.http import EPOCH, FakeGateway, FakeIndex
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index

CAMERA = UUID("01234567-89ab-cdef-0123-456789abcdef")
TOKEN = "internal"
URL = "rtsp://media:8554/cam?token=abc"


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def client(gateway: FakeGateway) -> testing.TestClient:
    shared = AppContext(
        role="streaming",
        metrics=HttpMetrics(CollectorRegistry()),
        render=lambda: (b"", "text/plain"),
        internal_token=TOKEN,
    )
    files = IndexedFiles(FakeIndex(), Path("/nowhere"))
    app = create_streaming_app(
        shared,
        gateway=gateway,
        files=files,
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    return testing.TestClient(app, headers={"X-Internal-Token": TOKEN})


def _start(client: testing.TestClient, **changes: object) -> testing.Result:
    body = {
        "user_id": "alice",
        "camera_id": str(CAMERA),
        "rtsp_url": URL,
        "segment_seconds": 30,
        **changes,
    }
    return client.simulate_post("/streams/start", json=body, headers={"X-Request-Id": "r-1"})


def test_start_hands_on_what_was_asked_and_answers_the_status(
    client: testing.TestClient, gateway: FakeGateway
) -> None:
    result = _start(client)
    assert result.status_code == 200
    assert result.json == {
        "camera_id": str(CAMERA),
        "status": "starting",
        "since": "2026-01-02T03:04:05.678Z",
        "run": 0,
        "respawns": 0,
        "restarts": 0,
        "segment_seconds": 30,
        "last_error": None,
        "next_retry_at": None,
        "last_segment": None,
    }
    (message,) = gateway.started
    assert (message.camera_id, message.owner, message.rtsp_url) == (CAMERA, "alice", URL)
    assert (message.segment_seconds, message.request_id) == (30, "r-1")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"camera_id": "x"}, "camera_id"),
        ({"camera_id": 5}, "camera_id"),
        ({"segment_seconds": 0}, "segment_seconds"),
        ({"segment_seconds": 3601}, "segment_seconds"),
        ({"segment_seconds": True}, "segment_seconds"),
        ({"rtsp_url": "http://media/x"}, "rtsp_url"),
        ({"rtsp_url": "rtsp://elsewhere/x"}, "rtsp_url"),
        ({"rtsp_url": "rtsp://media/x\nfile:///etc"}, "rtsp_url"),
        ({"rtsp_url": "rtsp://media/" + "x" * 9_000}, "rtsp_url"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_start_is_400_names_the_field_and_starts_nothing(
    client: testing.TestClient, gateway: FakeGateway, changes: dict[str, Any], field: str
) -> None:
    result = _start(client, **changes)
    assert (result.status_code, result.json["field"]) == (400, field)
    assert "token=abc" not in result.text
    assert not gateway.started


def test_a_missing_field_is_named(client: testing.TestClient) -> None:
    result = client.simulate_post("/streams/start", json={})
    assert (result.status_code, result.json["field"]) == (400, "user_id")


def test_another_owner_is_409(client: testing.TestClient, gateway: FakeGateway) -> None:
    class OtherOwner(Conflict):
        code = "other_owner"

    gateway.failure = OtherOwner("recorded for another owner")
    result = _start(client)
    assert (result.status_code, result.json["code"]) == (409, "other_owner")


def test_a_gateway_that_does_not_answer_is_503(
    client: testing.TestClient, gateway: FakeGateway
) -> None:
    gateway.failure = Unavailable("shutting down", retry_after_s=3)
    for result in (
        _start(client),
        client.simulate_post("/streams/stop", json={"camera_id": str(CAMERA)}),
        client.simulate_post(f"/streams/{CAMERA}/restart"),
        client.simulate_get("/streams"),
        client.simulate_get(f"/streams/{CAMERA}"),
    ):
        assert (result.status_code, result.headers["retry-after"]) == (503, "3")


def test_stop_and_restart_name_their_camera(
    client: testing.TestClient, gateway: FakeGateway
) -> None:
    client.simulate_post(f"/streams/{CAMERA}/restart")
    result = client.simulate_post("/streams/stop", json={"camera_id": str(CAMERA)})
    assert result.json["status"] == "stopped"
    assert (gateway.restarted, gateway.stopped) == ([CAMERA], [CAMERA])


def test_an_unknown_camera_is_stopped_not_missing(client: testing.TestClient) -> None:
    result = client.simulate_get(f"/streams/{uuid4()}")
    assert (result.status_code, result.json["status"], result.json["run"]) == (200, "stopped", 0)


def test_the_whole_status_is_written_and_read_back(
    client: testing.TestClient, gateway: FakeGateway
) -> None:
    _start(client)
    gateway.known[CAMERA] = replace(
        gateway.known[CAMERA],
        status=RecorderState.BACKOFF,
        run=3,
        respawns=2,
        last_error=LastError(cause="timeout", message="no answer", at=EPOCH),
        next_retry_at=EPOCH,
        last_segment=LastSegment(started_at=EPOCH, ended_at=EPOCH, size_bytes=7),
    )
    (item,) = client.simulate_get("/streams").json["items"]
    assert item == client.simulate_get(f"/streams/{CAMERA}").json
    assert item["last_segment"]["bytes"] == 7
    assert item["last_error"] == {
        "cause": "timeout",
        "message": "no answer",
        "at": "2026-01-02T03:04:05.678Z",
    }
    assert json.loads(status_from_json(item).model_dump_json(by_alias=True)) == item


@pytest.mark.parametrize("change", [{"status": "dancing"}, {"run": "x"}, {"more": 1}])
def test_what_is_no_status_is_not_passed_on(
    client: testing.TestClient, change: dict[str, Any]
) -> None:
    item = client.simulate_get(f"/streams/{CAMERA}").json
    with pytest.raises(ValueError, match="not a stream's status"):
        status_from_json({**item, **change})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/streams/start"),
        ("POST", "/streams/stop"),
        ("GET", "/streams"),
        ("GET", f"/streams/{CAMERA}"),
        ("POST", f"/streams/{CAMERA}/restart"),
        ("GET", f"/streams/{CAMERA}/segments/{CAMERA}"),
    ],
)
def test_nothing_is_done_without_the_internal_token(
    client: testing.TestClient, gateway: FakeGateway, method: str, path: str
) -> None:
    result = client.simulate_request(method, path, headers={"X-Internal-Token": "wrong"})
    assert (result.status_code, result.json["code"]) == (401, "unauthenticated")
    assert [gateway.started, gateway.stopped, gateway.restarted] == [[], [], []]
