from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import urllib3

from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.streaming.streaming_app import create_streaming_app
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.http import FakeGateway, FakeIndex
from tests.fakes.ops import FakeOps
from tests.fakes.play import FakeExports, FakePictures, a_live_index
from tests.integration.http.conftest import INTERNAL_TOKEN, Serve

CAMERA, SEGMENT = uuid4(), uuid4()
DATA = bytes(range(256)) * 40
AUTH = {"X-Internal-Token": INTERNAL_TOKEN}


@pytest.fixture
def index() -> FakeIndex:
    return FakeIndex()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "records"
    (root / "alice").mkdir(parents=True)
    (root / "alice" / "one.mp4").write_bytes(DATA)
    (tmp_path / "outside.txt").write_text("secret")
    return root


@pytest.fixture
def base(root: Path, index: FakeIndex, shared: AppContext, serve: Serve) -> str:
    index.put(CAMERA, SEGMENT, "alice/one.mp4")
    return serve(
        create_streaming_app(
            shared,
            gateway=FakeGateway(),
            files=IndexedFiles(index, root),
            live=a_live_index(),
            pictures=FakePictures(),
            exports=FakeExports(),
            ops=FakeOps(),
            rtsp_targets=RtspTargets("rtsp://media:8554"),
        )
    )


def _url(base: str, segment: UUID = SEGMENT, camera: UUID = CAMERA) -> str:
    return f"{base}/streams/{camera}/segments/{segment}"


def test_the_whole_file_comes_with_what_a_player_needs(
    base: str, http: urllib3.PoolManager
) -> None:
    response = http.request("GET", _url(base), headers=AUTH)
    assert (response.status, response.data) == (200, DATA)
    assert response.headers["Content-Type"] == "video/mp4"
    assert response.headers["Content-Length"] == str(len(DATA))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == f'"{SEGMENT}"'
    assert response.headers["Last-Modified"] == "Fri, 02 Jan 2026 03:04:05 GMT"


@pytest.mark.parametrize(
    ("asked", "said", "data"),
    [
        ("bytes=0-9", "bytes 0-9/10240", DATA[:10]),
        ("bytes=5000-", "bytes 5000-10239/10240", DATA[5000:]),
        ("bytes=-3", "bytes 10237-10239/10240", DATA[-3:]),
    ],
)
def test_a_range_is_206_with_exactly_its_bytes(
    base: str, http: urllib3.PoolManager, asked: str, said: str, data: bytes
) -> None:
    response = http.request("GET", _url(base), headers={**AUTH, "Range": asked})
    assert (response.status, response.headers["Content-Range"]) == (206, said)
    assert response.data == data
    # and the connection is still in step
    assert http.request("GET", f"{base}/healthz").status == 200


def test_a_range_after_the_end_is_416_and_says_the_size(
    base: str, http: urllib3.PoolManager
) -> None:
    response = http.request("GET", _url(base), headers={**AUTH, "Range": "bytes=10240-"})
    assert response.status == 416
    assert response.headers["Content-Range"] == "bytes */10240"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json()["code"] == "range_not_satisfiable"


def test_an_outdated_if_range_gets_the_whole_file(base: str, http: urllib3.PoolManager) -> None:
    headers = {**AUTH, "Range": "bytes=0-9", "If-Range": '"another"'}
    response = http.request("GET", _url(base), headers=headers)
    assert (response.status, len(response.data)) == (200, len(DATA))


def test_a_known_tag_is_304_without_a_body(base: str, http: urllib3.PoolManager) -> None:
    headers = {**AUTH, "If-None-Match": f'"{SEGMENT}"'}
    response = http.request("GET", _url(base), headers=headers)
    assert (response.status, response.data) == (304, b"")


def test_head_tells_the_size_and_ignores_ranges(base: str, http: urllib3.PoolManager) -> None:
    response = http.request("HEAD", _url(base), headers={**AUTH, "Range": "bytes=0-9"})
    assert (response.status, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(DATA))


def test_every_file_is_closed_again(base: str, http: urllib3.PoolManager) -> None:
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=99999-"}, {"If-None-Match": "*"}):
        http.request("GET", _url(base), headers={**AUTH, **headers})
    http.request("HEAD", _url(base), headers=AUTH)
    opened = [str(f.readlink()) for f in _descriptors()]
    assert not [name for name in opened if name.endswith("one.mp4")]


def _descriptors() -> list[Path]:
    return [f for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "/etc/passwd",
        "alice/../../outside.txt",
        "alice",
        "alice/none.mp4",
        "a\0b",
        "link.mp4",
        "dir/outside.txt",
        "loop",
        "pipe",
    ],
)
def test_no_row_can_lead_out_of_the_record_root(
    base: str, root: Path, index: FakeIndex, http: urllib3.PoolManager, path: str
) -> None:
    (root / "link.mp4").symlink_to(root.parent / "outside.txt")
    (root / "dir").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    other = uuid4()
    index.put(CAMERA, other, path)
    response = http.request("GET", _url(base, other), headers=AUTH)
    assert (response.status, response.json()["code"]) == (404, "segment_not_found")


def test_another_cameras_segment_is_not_found(base: str, http: urllib3.PoolManager) -> None:
    assert http.request("GET", _url(base, camera=uuid4()), headers=AUTH).status == 404


def test_a_stranger_gets_no_file(base: str, http: urllib3.PoolManager) -> None:
    assert http.request("GET", _url(base)).status == 401


def test_a_large_file_to_a_client_that_does_not_read_holds_no_thread(
    base: str, root: Path, index: FakeIndex, http: urllib3.PoolManager
) -> None:
    (root / "large.mp4").write_bytes(b"x" * 30_000_000)
    large = uuid4()
    index.put(CAMERA, large, "large.mp4")
    with urllib3.PoolManager(maxsize=8, retries=False, timeout=5) as lazy:
        waiting = [
            lazy.request("GET", _url(base, large), headers=AUTH, preload_content=False)
            for _ in range(6)  # more than the server has threads
        ]
        assert http.request("GET", f"{base}/healthz").status == 200
        for each in waiting:
            each.close()
