"""The clients against the real apps on real servers, and against servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from streamwarden.actors.messages import RecorderState
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.errors import Conflict, OtherOwner, StreamingUnavailable, Unavailable
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.role_client import (
    ReadTokenClient,
    ReadTokenRefused,
    ReadTokenUnavailable,
    StreamingClient,
)
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.recordings.serving import IndexedFiles
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s
from tests.fakes.http import FakeGateway, FakeIndex
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index
from tests.integration.http.conftest import INTERNAL_TOKEN, Serve

CAMERA, SEGMENT = uuid4(), uuid4()
DATA = b"0123456789" * 1000
SECRET_URL = "rtsp://media:8554/cam?token=s3cr3t"


class GatewayOtherOwner(Conflict):
    code = "other_owner"


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def streaming(
    gateway: FakeGateway, shared: AppContext, serve: Serve, tmp_path: Path
) -> Iterator[StreamingClient]:
    (tmp_path / "a.mp4").write_bytes(DATA)
    index = FakeIndex()
    index.put(CAMERA, SEGMENT, "a.mp4")
    app = create_streaming_app(
        shared,
        gateway=gateway,
        files=IndexedFiles(index, tmp_path),
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    with closing(StreamingClient(serve(app), INTERNAL_TOKEN)) as client:
        yield client


def _start(client: StreamingClient, request_id: str | None = None) -> dict[str, object]:
    status = client.start(
        owner="alice",
        camera_id=CAMERA,
        rtsp_url=SECRET_URL,
        segment_seconds=30,
        request_id=request_id,
    )
    return dict(status)


def test_start_reaches_the_gateway_with_its_request_id(
    streaming: StreamingClient, gateway: FakeGateway
) -> None:
    assert _start(streaming, "r-9")["status"] == "starting"
    (message,) = gateway.started
    assert (message.owner, message.camera_id, message.rtsp_url) == ("alice", CAMERA, SECRET_URL)
    assert (message.segment_seconds, message.request_id) == (30, "r-9")


def test_stop_restart_and_status_reach_the_gateway(
    streaming: StreamingClient, gateway: FakeGateway
) -> None:
    _start(streaming)
    assert streaming.status(CAMERA)["status"] == "starting"
    streaming.restart(CAMERA)
    assert streaming.stop(CAMERA)["status"] == RecorderState.STOPPED.value
    assert [item["camera_id"] for item in streaming.statuses()] == [str(CAMERA)]
    assert (gateway.restarted, gateway.stopped) == ([CAMERA], [CAMERA])


def test_another_owner_is_told_apart(streaming: StreamingClient, gateway: FakeGateway) -> None:
    gateway.failure = GatewayOtherOwner("no")
    with pytest.raises(OtherOwner):
        _start(streaming)


def test_503_is_unavailable(streaming: StreamingClient, gateway: FakeGateway) -> None:
    gateway.failure = Unavailable("shutting down")
    with pytest.raises(StreamingUnavailable):
        streaming.status(CAMERA)


def test_a_file_is_read_in_pieces(streaming: StreamingClient) -> None:
    with closing(streaming.open_file(CAMERA, SEGMENT, headers={"Range": "bytes=5-14"})) as found:
        assert (found.status, found.headers["Content-Range"]) == (206, "bytes 5-14/10000")
        assert b"".join(found) == b"5678901234"
    with closing(streaming.open_file(CAMERA, SEGMENT, method="HEAD")) as found:
        assert found.headers["Content-Length"] == "10000"
    with closing(streaming.open_file(CAMERA, uuid4())) as found:
        assert found.status == 404


def test_a_file_left_half_read_spoils_no_later_call(streaming: StreamingClient) -> None:
    found = streaming.open_file(CAMERA, SEGMENT)
    next(iter(found))
    found.close()
    assert streaming.status(CAMERA)["status"] == "stopped"


def test_a_wrong_internal_token_is_unavailable_and_tells_nobody(
    shared: AppContext, serve: Serve, tmp_path: Path
) -> None:
    app = create_streaming_app(
        shared,
        gateway=FakeGateway(),
        files=IndexedFiles(FakeIndex(), tmp_path),
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    with (
        closing(StreamingClient(serve(app), "wr0ng-token")) as client,
        capture_logs() as logs,
        pytest.raises(StreamingUnavailable) as caught,
    ):
        _start(client)
    assert "wr0ng" not in str(caught.value) + repr(client) + str(logs)
    assert "s3cr3t" not in str(caught.value) + str(logs)


def test_nobody_there_is_unavailable() -> None:
    with closing(StreamingClient("http://127.0.0.1:1", INTERNAL_TOKEN)) as client:
        with pytest.raises(StreamingUnavailable):
            client.status(CAMERA)
        with pytest.raises(StreamingUnavailable):
            client.open_file(CAMERA, SEGMENT)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_silence_is_unavailable_in_time(silent: str) -> None:
    client = StreamingClient(silent, INTERNAL_TOKEN, read_timeout_s=0.2)
    tokens = ReadTokenClient(silent, INTERNAL_TOKEN, read_timeout_s=0.2)
    started = instant()
    with closing(client), closing(tokens):
        with pytest.raises(StreamingUnavailable):
            client.status(CAMERA)
        with pytest.raises(ReadTokenUnavailable):
            tokens.fetch(CAMERA)
    assert had_s(started, instant()) < 3


App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _saying(body: bytes, status: str = "200 OK", *headers: tuple[str, str]) -> App:
    def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        start_response(status, [("Content-Length", str(len(body))), *headers])
        return [body]

    return app


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b"[" * 100_000, b"\xff", b'{"a": "' + b"x" * 9_000_000 + b'"}']
)
def test_what_is_no_answer_of_ours_is_unavailable(serve: Serve, body: bytes) -> None:
    base = serve(_saying(body))
    with (
        closing(StreamingClient(base, INTERNAL_TOKEN)) as client,
        pytest.raises(StreamingUnavailable),
    ):
        client.status(CAMERA)
    with (
        closing(ReadTokenClient(base, INTERNAL_TOKEN)) as tokens,
        pytest.raises(ReadTokenUnavailable),
    ):
        tokens.fetch(CAMERA)


def test_no_redirect_is_followed_with_the_token(serve: Serve) -> None:
    seen: list[str] = []

    def elsewhere(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        seen.append(environ.get("HTTP_X_INTERNAL_TOKEN", ""))
        start_response("200 OK", [])
        return [b"{}"]

    target = serve(elsewhere)
    base = serve(_saying(b"{}", "307 Temporary Redirect", ("Location", target)))
    with (
        closing(StreamingClient(base, INTERNAL_TOKEN)) as client,
        pytest.raises(StreamingUnavailable),
    ):
        client.status(CAMERA)
    assert seen == []


def test_a_list_that_is_none_is_unavailable(serve: Serve) -> None:
    base = serve(_saying(b'{"items": [1]}'))
    with (
        closing(StreamingClient(base, INTERNAL_TOKEN)) as client,
        pytest.raises(StreamingUnavailable),
    ):
        client.statuses()


def _token_server(status: str, body: object) -> App:
    return _saying(json.dumps(body).encode(), status)


def _fetch(base: str, camera_id: UUID = CAMERA) -> object:
    with closing(ReadTokenClient(base, INTERNAL_TOKEN)) as client:
        return client.fetch(camera_id)


def test_a_read_token_keeps_its_secret_out_of_its_repr(serve: Serve) -> None:
    answer = {"rtsp_url": SECRET_URL, "expires_at": "2026-01-02T03:04:05.678Z"}
    token = _fetch(serve(_token_server("200 OK", answer)))
    assert "s3cr3t" not in repr(token)
    assert getattr(token, "rtsp_url", None) == SECRET_URL


def test_403_means_that_there_is_nothing_to_respawn_for(serve: Serve) -> None:
    with pytest.raises(ReadTokenRefused):
        _fetch(serve(_token_server("403 Forbidden", {"code": "not_wanted"})))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("401 Unauthorized", {"code": "unauthenticated"}),
        ("500 Internal Server Error", {}),
        ("503 Service Unavailable", {"code": "unavailable"}),
        ("200 OK", {}),
        ("200 OK", {"rtsp_url": 1, "expires_at": "2026-01-02T03:04:05Z"}),
        ("200 OK", {"rtsp_url": SECRET_URL, "expires_at": "soon"}),
        ("200 OK", {"rtsp_url": SECRET_URL, "expires_at": "2026-01-02T03:04:05"}),
    ],
)
def test_anything_else_is_asked_for_again_later(
    serve: Serve, status: str, body: dict[str, object]
) -> None:
    with pytest.raises(ReadTokenUnavailable) as caught:
        _fetch(serve(_token_server(status, body)))
    assert "s3cr3t" not in str(caught.value)


def test_many_threads_share_a_client(streaming: StreamingClient) -> None:
    failures: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(10):
                streaming.status(CAMERA)
        except Exception as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert failures == []
