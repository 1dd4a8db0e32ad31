from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from streamwarden.devkit.relay.relay_process import RelayProcess
from streamwarden.devkit.relay.relay_server import RelayServer
from tests.integration.devkit.relay_client import TIMEOUT_S, RtspClient, frame


@pytest.fixture
def relay() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


def _call(
    relay: RelayServer, method: str, path: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(relay.control_url + path, data, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - likewise
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_session_is_listed_with_what_went_through_it(relay: RelayServer) -> None:
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish("cam/a", "?token=x")
        reader.read("cam/a", "?token=y")
        camera.socket.sendall(frame(0, b"v") + frame(1, b"r"))
        reader.frame()
        status, listed = _call(relay, "GET", "/v3/rtspsessions/list")
        assert (status, listed["itemCount"], listed["pageCount"]) == (200, 2, 1)
        publish, read = listed["items"]
        assert (publish["state"], publish["path"], publish["query"]) == (
            "publish",
            "cam/a",
            "token=x",
        )
        assert (read["state"], read["transport"]) == ("read", "TCP")
        assert (publish["inboundRTPPackets"], publish["inboundRTCPPackets"]) == (1, 1)
        assert (read["outboundRTPPackets"], read["outboundRTCPPackets"]) == (1, 1)
        assert publish["bytesReceived"] == publish["inboundBytes"] > 10
        assert read["bytesSent"] == read["outboundBytes"] > 10
        assert _call(relay, "GET", f"/v3/rtspsessions/get/{read['id']}")[1]["id"] == read["id"]


def test_a_path_is_shown_with_its_source_tracks_and_readers(relay: RelayServer) -> None:
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish("cam/a")
        reader.read("cam/a")
        source, consumer = (session["id"] for session in relay.sessions())
        status, path = _call(relay, "GET", "/v3/paths/get/cam/a")
        assert status == 200
        assert path["source"] == {"type": "rtspSession", "id": source}
        assert path["readers"] == [{"type": "rtspSession", "id": consumer}]
        assert path["tracks"] == ["H264", "MPEG-4 Audio"]
        assert _call(relay, "GET", "/v3/paths/list")[1]["items"] == [path]
        assert _call(relay, "GET", "/v3/paths/get/cam/b")[0] == 404


def test_a_kicked_reader_is_disconnected_and_the_publisher_stays(relay: RelayServer) -> None:
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish("a")
        reader.read("a")
        _, kicked = relay.sessions()
        assert _call(relay, "POST", f"/v3/rtspsessions/kick/{kicked['id']}") == (
            200,
            {"status": "ok"},
        )
        assert len(relay.sessions()) == 1  # at once, not when the client has noticed
        assert reader.ends()
        assert len(relay.paths()) == 1
        assert not relay.kick(uuid4())
        assert _call(relay, "POST", f"/v3/rtspsessions/kick/{kicked['id']}")[0] == 404


def test_lists_are_paged_by_a_hundred(relay: RelayServer) -> None:
    clients = [RtspClient(relay.ports.rtsp) for _ in range(101)]
    for number, client in enumerate(clients):
        assert client.announce(f"cam/{number}").status == 200
    first = _call(relay, "GET", "/v3/rtspsessions/list")[1]
    second = _call(relay, "GET", "/v3/rtspsessions/list?page=1")[1]
    small = _call(relay, "GET", "/v3/rtspsessions/list?itemsPerPage=40&page=2")[1]
    assert (first["itemCount"], first["pageCount"]) == (101, 2)
    assert [len(page["items"]) for page in (first, second, small)] == [100, 1, 21]
    for client in clients:
        client.socket.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v3/nothing", None, 404),
        ("POST", "/v3/rtspsessions/kick/x", None, 400),
        ("GET", "/v3/paths/list?itemsPerPage=0", None, 400),
        ("POST", "/devkit/faults/a", {"speed": 1}, 400),
        ("POST", "/devkit/faults/a", {"actions": ["explode"]}, 400),
        ("POST", "/devkit/faults/a", [1], 400),
        ("POST", "/devkit/faults/a", "x" * 70_000, 400),
        ("POST", "/devkit/listener", {}, 400),
    ],
)
def test_bad_calls_are_refused_in_words(
    relay: RelayServer, method: str, path: str, body: object, status: int
) -> None:
    code, answer = _call(relay, method, path, body)
    assert (code, answer["status"]) == (status, "error")
    assert answer["error"]


def test_faults_are_set_shown_and_cleared(relay: RelayServer) -> None:
    assert _call(relay, "POST", "/devkit/faults/cam/a", {"describe_status": 503})[0] == 200
    assert _call(relay, "POST", "/devkit/faults", {"delay_s": 1})[0] == 200
    shown = _call(relay, "GET", "/devkit/faults")[1]
    assert shown["paths"]["cam/a"]["describe_status"] == 503
    assert shown["all"]["delay_s"] == 1
    with RtspClient(relay.ports.rtsp) as reader:
        assert reader.ask("DESCRIBE", "cam/a").status == 503
    assert _call(relay, "DELETE", "/devkit/faults/cam/a")[0] == 200
    with RtspClient(relay.ports.rtsp) as reader:
        assert reader.ask("DESCRIBE", "cam/a").status == 404
    assert _call(relay, "DELETE", "/devkit/faults")[0] == 200
    assert _call(relay, "GET", "/devkit/faults")[1]["all"]["delay_s"] == 0


def test_an_action_leaves_the_fault_that_is_set(relay: RelayServer) -> None:
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish("a")
        reader.read("a")
        _call(relay, "POST", "/devkit/faults/a", {"silence": "media"})
        hit = _call(relay, "POST", "/devkit/faults/a", {"actions": ["reset_readers"]})[1]
        assert hit == {"status": "ok", "hit": 1}
        assert not reader.ends()
        assert _call(relay, "GET", "/devkit/faults")[1]["paths"]["a"]["silence"] == "media"


def test_the_listener_can_be_closed_and_opened_over_http(relay: RelayServer) -> None:
    with RtspClient(relay.ports.rtsp) as camera:
        camera.publish("a")
        assert _call(relay, "POST", "/devkit/listener", {"accepting": False})[0] == 200
        with pytest.raises(ConnectionRefusedError):
            RtspClient(relay.ports.rtsp)
        assert len(relay.paths()) == 1
        assert _call(relay, "POST", "/devkit/listener", {"accepting": True})[0] == 200
    RtspClient(relay.ports.rtsp).socket.close()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"},
     {"Host": "127.0.0.1.evil.example:80"}, {"Host": "["}],
)  # fmt: skip
def test_a_web_page_is_refused_also_without_a_hook(
    relay: RelayServer, headers: dict[str, str]
) -> None:
    for path in ("/v3/paths/list", "/devkit/faults"):
        assert _status(relay.control_url + path, headers) == 403


def test_faults_are_for_the_parent_process_alone() -> None:
    """A hook that does not answer: the parent's token opens all, and no other credential anything."""
    with RelayProcess(auth_url="http://127.0.0.1:1/hook") as relay:
        for path in ("/v3/paths/list", "/devkit/faults"):
            assert _status(relay.control_url + path, relay.control_headers) == 200
            for shown in ("Bearer ", "Bearer x", "Basic !", "Basic eDp4", "", "Digest x"):
                assert _status(relay.control_url + path, {"Authorization": shown}) == 401
            assert _status(relay.control_url + path, {}) == 401


def _status(url: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    try:
        connection.request("GET", urlsplit(url).path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
