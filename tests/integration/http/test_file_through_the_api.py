"""A recording's file from the streaming role's disk through the API to a user, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from streamwarden.auth.keys import SigningKey
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.clock import Clock
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.api_app import create_api_app, recording_routes
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import Connect, StreamLocks, StreamService
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.mediamtx.source_checks import SourceTroubles
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.audit import FakeAudit
from tests.fakes.http import FakeGateway
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index
from tests.fakes.storage import FakeStorage
from tests.fakes.storage_samples import a_segment
from tests.integration.http.conftest import INTERNAL_TOKEN, Serve

KEY = SigningKey("k", b"y" * 40, None)
DATA = bytes(range(256)) * 12_000  # 3 MB: more than any one buffer on the way


@dataclass
class Recorded:
    """One recorded file: where a user finds it, and who that is."""

    url: str
    file: Path
    headers: dict[str, str]
    gateway: FakeGateway


@pytest.fixture
def recorded(shared: AppContext, serve: Serve, tmp_path: Path) -> Iterator[Recorded]:
    storage = FakeStorage()
    camera = storage.cameras.add(name="Door", owner="alice", created_at=Clock().now())
    segment = a_segment(camera.id, start=0, end=30)
    storage.segments.insert_many([segment])
    file = tmp_path / segment.path
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    gateway = FakeGateway()
    with served(shared, serve, tmp_path, storage, gateway) as (api, users):
        yield Recorded(
            url=f"{api}/api/v1/camera/{camera.id}/recordings/{segment.id}",
            file=file,
            headers={"Authorization": f"Bearer {users.sign('alice')}"},
            gateway=gateway,
        )


@contextmanager
def served(
    shared: AppContext, serve: Serve, root: Path, storage: FakeStorage, gateway: FakeGateway
) -> Iterator[tuple[str, UserTokens]]:
    """Both roles over a record root and its index: the API's address, and what signs its users."""
    clock = Clock()
    files = IndexedFiles(storage.segments, root)
    streaming = create_streaming_app(
        shared,
        gateway=gateway,
        files=files,
        live=a_live_index(),
        pictures=FakePictures(),
        exports=FakeExports(),
        ops=FakeOps(),
        rtsp_targets=RtspTargets("rtsp://media:8554"),
    )
    users = UserTokens("x" * 40, audience="api", roles_claim="roles", clock=clock)
    with closing(StreamingClient(serve(streaming), INTERNAL_TOKEN)) as client:
        denied = DenialList(clock)
        denied.read([])
        access = CameraAccess(storage.cameras, storage.grants)
        revocations = Revocations(table=storage.denials, denied=denied, wake=lambda: None)
        streams = StreamService(
            access=access,
            tokens=StreamTokens([KEY], clock),
            settings=storage.settings,
            desired=storage.streams,
            cache=DesiredCache(storage.cameras, storage.streams, clock),
            streaming=client,
            clock=clock,
            rtsp_internal_url="rtsp://media:8554",
            troubles=SourceTroubles(),
            locks=StreamLocks(),
            revocations=revocations,
        )
        play_tokens = PlayTokens([KEY], clock)
        routes = recording_routes(
            access=access,
            play_tokens=play_tokens,
            denied=denied,
            cameras=storage.cameras,
            segments=storage.segments,
            recordings=storage.recordings,
            streaming=client,
            clock=clock,
        )
        api = create_api_app(
            shared,
            {**routes, "/api/v1/camera/{camera_id}/stream/connect": Connect(streams)},
            users=users,
            play_tokens=play_tokens,
            denied=denied,
            audit=FakeAudit(),
            clock=clock,
        )
        yield serve(api), users


def test_the_file_arrives_whole(recorded: Recorded, http: urllib3.PoolManager) -> None:
    response = http.request("GET", recorded.url, headers=recorded.headers)
    assert (response.status, response.headers["Content-Type"]) == (200, "video/mp4")
    assert response.data == DATA
    # The streaming role's answer may be kept for a day; a browser that several people use must not.
    assert response.headers["Cache-Control"] == "private, no-store"


def test_a_range_arrives_as_asked(recorded: Recorded, http: urllib3.PoolManager) -> None:
    headers = {**recorded.headers, "Range": "bytes=1000000-1999999"}
    response = http.request("GET", recorded.url, headers=headers)
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes 1000000-1999999/{len(DATA)}"
    assert response.data == DATA[1_000_000:2_000_000]


def test_a_tag_saves_the_second_download(recorded: Recorded, http: urllib3.PoolManager) -> None:
    tag = http.request("HEAD", recorded.url, headers=recorded.headers).headers["ETag"]
    headers = {**recorded.headers, "If-None-Match": tag}
    response = http.request("GET", recorded.url, headers=headers)
    assert (response.status, response.data) == (304, b"")
    assert response.headers["Cache-Control"] == "private, no-store"


def test_a_lost_file_is_404(recorded: Recorded, http: urllib3.PoolManager) -> None:
    recorded.file.unlink()
    response = http.request("GET", recorded.url, headers=recorded.headers)
    assert (response.status, response.json()["code"]) == (404, "segment_not_found")


def test_a_range_past_the_end_is_416(recorded: Recorded, http: urllib3.PoolManager) -> None:
    headers = {**recorded.headers, "Range": "bytes=9999999-"}
    response = http.request("GET", recorded.url, headers=headers)
    assert (response.status, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["Content-Range"] == f"bytes */{len(DATA)}"


def test_connect_goes_through_with_its_request_id(
    recorded: Recorded, http: urllib3.PoolManager
) -> None:
    url = recorded.url.partition("/recordings")[0] + "/stream/connect"
    headers = {**recorded.headers, "X-Request-Id": "from-the-bff"}
    response = http.request("POST", url, headers=headers)
    assert (response.status, response.json()["info"]["status"]) == (200, "starting")
    assert response.headers["X-Request-Id"] == "from-the-bff"
    (message,) = recorded.gateway.started
    assert (message.owner, message.request_id) == ("alice", "from-the-bff")
