"""Who may use a media server's control API and metrics: MediaMTX and the relay ask the hook."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from streamwarden.clock import Clock
from streamwarden.devkit.media_server import MediaServerProcess
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaServerUnavailable
from streamwarden.mediamtx.path_emptier import PathEmptier
from streamwarden.model import Transport
from tests.fakes.storage import FakeStorage
from tests.integration.devkit.relay_client import SDP, RtspClient
from tests.integration.media_servers import (
    CONTROL_SECRET,
    INTERNAL_TOKEN,
    KINDS,
    Hook,
    serving,
    serving_hook,
)

BEARER = {"Authorization": f"Bearer {CONTROL_SECRET}"}
BASIC = {
    "Authorization": "Basic " + base64.b64encode(f"x:{CONTROL_SECRET}".encode()).decode("ascii")
}
PICTURE = SDP[: SDP.index("m=audio")].replace(
    "a=rtpmap:96 H264/90000", "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1"
)
LISTS = ("/v3/paths/list", "/v3/config/paths/list", "/v3/rtspsessions/list")


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with serving_hook() as hook:
        yield hook


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, hook: Hook) -> Iterator[MediaServerProcess]:
    with serving(request.param, hook) as running:
        yield running


def call(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, dict(headers or {}))
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_lists_are_for_who_has_the_secret(server: MediaServerProcess, hook: Hook) -> None:
    port = server.plan.ports.control
    for path in LISTS:
        assert call(port, "GET", path, BEARER) == 200
        assert call(port, "GET", path, BASIC) == 200
    before = len(hook.asked)
    assert call(port, "GET", LISTS[0]) == 401
    assert call(port, "GET", LISTS[0], {"Authorization": "Bearer good"}) == 401
    assert call(port, "GET", f"{LISTS[0]}?token={CONTROL_SECRET}") == 401
    asked = [json.loads(one) for one in hook.asked[before:]]
    assert {(one["action"], one["path"], one["protocol"], one["id"]) for one in asked} == {
        ("api", "", "", None)
    }


def test_what_a_web_page_can_send_changes_nothing(server: MediaServerProcess) -> None:
    port = server.plan.ports.control
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    rebound = {"Host": "evil.example"}
    wanted = {"source": "rtsp://127.0.0.1:1/x", "runOnInit": "touch /tmp/access-taken"}
    for headers in (page, rebound, page | rebound):
        assert call(port, "POST", "/v3/config/paths/add/evil", headers, wanted) in {401, 403}
    assert call(port, "GET", "/v3/config/paths/get/evil", BEARER) == 404


def test_the_metrics_are_for_who_has_the_secret(server: MediaServerProcess) -> None:
    if server.plan.kind != "mediamtx":
        pytest.skip("the relay has no metrics")
    port = server.plan.ports.metrics
    assert call(port, "GET", "/metrics", BEARER) == 200
    assert call(port, "GET", "/metrics") == 401
    assert call(port, "GET", "/metrics", {"Authorization": "Bearer good"}) == 401


def test_a_client_with_another_internal_token_says_so(server: MediaServerProcess) -> None:
    client = MediaMtxClient(server.plan.control_url, "another", read_timeout_s=30)
    with pytest.raises(MediaServerUnavailable, match="INTERNAL_TOKEN"):
        client.sessions()
    client.close()
    client = MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN)
    assert client.sessions() == []
    client.close()


def test_a_path_is_empty_at_once_for_its_next_camera(server: MediaServerProcess) -> None:
    """The publisher, its readers and a source that is pulled; nobody on another path."""
    storage = FakeStorage()
    storage.sources.note_path("gone/pulled")
    client = MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN)
    emptier = PathEmptier(
        MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN), storage.sources, Clock()
    )
    token, rtsp = "?token=good", server.plan.ports.rtsp
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(emptier.close)
        first, reader, other = (stack.enter_context(RtspClient(rtsp)) for _ in range(3))
        first.publish("gone/door", token, PICTURE)
        other.publish("gone/other", token, PICTURE)
        reader.read("gone/door", token, channels=(0,))
        client.pull("gone/pulled", "rtsp://127.0.0.1:1/x", Transport.TCP)
        emptier.empty("gone/door")
        emptier.empty("gone/pulled")
        assert {one.path for one in client.sessions()} == {"gone/other"}
        assert "gone/pulled" not in {path.name for path in client.paths()}
        assert storage.sources.paths_set() == set()
        next_ = stack.enter_context(RtspClient(rtsp))
        next_.publish("gone/door", token, PICTURE)
        assert {one.path for one in client.sessions()} == {"gone/other", "gone/door"}
