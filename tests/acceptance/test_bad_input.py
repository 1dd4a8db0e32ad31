"""What the started program says to input that is wrong, or meant to do harm."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Segment
from streamwarden.storage.recording_index import SegmentRepository
from tests.acceptance.calls import Answer, Caller
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

JSON = {"Content-Type": "application/json"}
_NUMBERS = count()
PROBLEM_FIELDS = {"status", "title", "detail", "code"}


@pytest.fixture
def camera(installation: Installation) -> CameraUser:
    return installation.camera()


def refused(answer: Answer, status: int, code: str, field: str | None = None) -> None:
    """Check that an answer is this problem, and a decent one."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= PROBLEM_FIELDS
    assert (problem["status"], problem["code"]) == (status, code)
    if field is not None:
        assert field in (problem.get("field"), problem["detail"].partition(":")[0]), problem
        assert field in problem["detail"]
    assert answer.headers["x-request-id"]
    assert "Traceback" not in answer.body.decode()
    assert ".py" not in answer.body.decode()


@pytest.mark.parametrize("ttl", [0, 29, 86401, -1, "300", 30.5, True, None, [], 10**30])
def test_a_ttl_that_is_none_is_400_and_named(camera: CameraUser, ttl: object) -> None:
    refused(camera.connect({"ttl": ttl}), 400, "invalid_request", "ttl")


@pytest.mark.parametrize("ttl", [30, 86400])
def test_the_ends_of_the_ttls_range_are_taken(camera: CameraUser, ttl: int) -> None:
    answer = camera.connect({"ttl": ttl})
    assert (answer.status, answer.json()["ttl"]) == (200, ttl)
    camera.disconnect()


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/publish_rtsp_url", "ttl=59", "ttl"),
        ("/publish_rtsp_url", "ttl=31536001", "ttl"),
        ("/publish_rtsp_url", "ttl=abc", "ttl"),
        ("/preview", "ttl=29", "ttl"),
        ("/preview", "ttl=3601", "ttl"),
        ("/recordings", "limit=0", "limit"),
        ("/recordings", "limit=1001", "limit"),
        ("/recordings", "from=yesterday", "from"),
        ("/recordings", "to=2026-01-01T00:00:00", "to"),
        ("/recordings", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("/recordings", "cursor=%00", "cursor"),
        ("/recordings", "cursor=abc", "cursor"),
    ],
)
def test_a_query_that_is_wrong_is_400_and_named(
    camera: CameraUser, path: str, query: str, field: str
) -> None:
    refused(camera.api.get(f"{camera.path}{path}?{query}"), 400, "invalid_request", field)


@pytest.mark.parametrize(
    "identifier",
    ["1", "not-a-uuid", "%2e%2e", "..%2f..%2fetc", "%00", "{}", "0" * 300, "%F0%9F%93%B7",
     "00000000000000000000000000000000", "%25s%25n"],
)  # fmt: skip
def test_what_is_no_uuid_leads_nowhere(installation: Installation, identifier: str) -> None:
    api = installation.user(OWNER)
    answer = api.post(f"/api/v1/camera/{identifier}/stream/connect")
    if answer.status == 404:  # a slash in it makes it another address
        refused(answer, 404, "not_found")
    else:
        refused(answer, 400, "invalid_request", "camera_id")
    answer = installation.to_streaming.post("/streams/stop", {"camera_id": identifier})
    refused(answer, 400, "invalid_request", "camera_id")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"text"', b"null", b'{"ttl": NaN}', b"\xff\xfe", b'{"ttl":60,"ttl":61}',
             b'{"other": 1}', b"[" * 5000]
)  # fmt: skip
def test_a_body_that_is_no_object_of_known_fields_is_400(camera: CameraUser, body: bytes) -> None:
    answer = camera.api.call("POST", f"{camera.path}/stream/connect", body=body, headers=JSON)
    refused(answer, 400, "invalid_request")


def test_another_content_type_is_415(camera: CameraUser) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        answer = camera.api.call(
            "POST", f"{camera.path}/stream/connect", body=b"ttl=60", headers={"Content-Type": kind}
        )
        refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("size_bytes", [65537, 200_000, 3_000_000])
def test_a_body_over_64_kib_is_413(
    installation: Installation, camera: CameraUser, size_bytes: int
) -> None:
    body = b'{"ttl": 60' + b" " * (size_bytes - 11) + b"}"
    for caller, path in (
        (camera.api, f"{camera.path}/stream/connect"),
        (installation.to_streaming, "/streams/start"),
        (Caller(installation.internal_url), "/api/v1/m2m/check-stream-pwd"),
    ):
        refused(caller.call("POST", path, body=body, headers=JSON), 413, "payload_too_large")


def test_a_body_of_64_kib_is_read(camera: CameraUser) -> None:
    body = b'{"ttl": 60' + b" " * (65536 - 11) + b"}"
    answer = camera.api.call("POST", f"{camera.path}/stream/connect", body=body, headers=JSON)
    assert answer.status == 200
    camera.disconnect()


def test_unknown_cameras_addresses_and_methods_are_problems_too(
    installation: Installation, camera: CameraUser
) -> None:
    api, unknown = installation.user(OWNER), f"/api/v1/camera/{uuid4()}"
    refused(api.post(f"{unknown}/stream/connect"), 404, "camera_not_found")
    refused(api.get(f"{unknown}/stream/status"), 404, "camera_not_found")
    refused(api.get(f"{camera.path}/recordings/{uuid4()}"), 404, "segment_not_found")
    refused(api.get("/nowhere"), 404, "not_found")
    refused(api.call("TRACE", camera.path), 405, "method_not_allowed")
    refused(api.get(f"{camera.path}/stream/connect"), 405, "method_not_allowed")


def test_the_callers_request_id_comes_back_and_a_bad_one_does_not(camera: CameraUser) -> None:
    def answered(request_id: str) -> str:
        answer = camera.api.get(camera.path, headers={"X-Request-Id": request_id})
        return answer.headers["x-request-id"]

    assert answered("from-the-bff.1") == "from-the-bff.1"
    assert answered("x" * 65) != "x" * 65
    assert answered("a b<script>") != "a b<script>"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x", "file:///etc/passwd", "concat:/etc/passwd", "/etc/passwd",
        "rtsp://192.0.2.1/x", "rtsp://127.0.0.1@192.0.2.1/x", "rtsp://127.0.0.1.example/x",
        "rtsp://127.0.0.1/x\n-y", "rtsp://127.0.0.1/\t", "RTSP://localhost/x", "-i", "rtsp://",
        "rtsp://127.0.0.1:x/", "rtsp://[::1]/x", "rtmp://127.0.0.1/x", "rtsp://127.0.0.1/é",
        "rtsp://2130706433/x", "rtsp://127.0.0.1/" + "x" * 9000, "",
    ],
)  # fmt: skip
def test_an_rtsp_url_with_another_scheme_or_host_is_refused(
    installation: Installation, url: str
) -> None:
    body = {
        "user_id": OWNER, "camera_id": str(uuid4()), "rtsp_url": url, "segment_seconds": 2,
    }  # fmt: skip
    refused(
        installation.to_streaming.post("/streams/start", body), 400, "invalid_request", "rtsp_url"
    )
    assert (
        installation.to_streaming.get(f"/streams/{body['camera_id']}").json()["status"] == "stopped"
    )


@pytest.mark.parametrize("seconds", [0, 3601, -1, "2", 2.5, None, True])
def test_a_segment_length_out_of_range_is_refused(
    installation: Installation, seconds: object
) -> None:
    body = {
        "user_id": OWNER, "camera_id": str(uuid4()), "segment_seconds": seconds,
        "rtsp_url": f"{installation.relay.rtsp_url}/x",
    }  # fmt: skip
    answer = installation.to_streaming.post("/streams/start", body)
    refused(answer, 400, "invalid_request", "segment_seconds")
    answer = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": seconds})
    refused(answer, 400, "invalid_request", "value")


HARMFUL_OWNERS = [
    "../../escape", "/etc/cron.d", "..", ".", ".streamwarden", "%d", "a%06db", "a/b", "a\\b",
    "名前", "~41", "-rf", "a b", "\uff45", "'; drop table camera;--",
]  # fmt: skip


@pytest.mark.parametrize("owner", HARMFUL_OWNERS)
def test_no_owners_name_leads_out_of_the_record_root(
    installation: Installation, owner: str
) -> None:
    camera = installation.camera(owner=owner)
    before = set(installation.record_root.parent.iterdir())
    camera.connect()
    found = wait_for("the folder", lambda: list(installation.record_root.glob(f"*/{camera.camera_id}")),
)  # fmt: skip
    folder = found[0].parent
    assert folder.parent == installation.record_root
    assert "%" not in folder.name
    assert not folder.name.startswith(".")
    assert folder.name.isascii()
    assert set(installation.record_root.parent.iterdir()) == before
    camera.disconnect()


def test_two_owners_whose_names_look_alike_as_folders_have_each_their_own(
    installation: Installation,
) -> None:
    cameras = [installation.camera(owner=owner) for owner in ("a/b", "a~2Fb", "A/b")]
    for camera in cameras:
        camera.connect()

    def folders() -> set[str]:
        return {
            folder.parent.name
            for camera in cameras
            for folder in installation.record_root.glob(f"*/{camera.camera_id}")
        }

    wait_for("three folders", lambda: len(folders()) == len(cameras))
    for camera in cameras:
        camera.disconnect()


@pytest.mark.parametrize("owner", ["nul\0", "new\nline", "", "x" * 256])
def test_an_owner_that_is_no_text_for_people_is_refused(
    installation: Installation, owner: str
) -> None:
    answer = installation.admin.post("/api/v1/camera", {"name": "Test", "owner": owner})
    refused(answer, 400, "invalid_request")
    body = {
        "user_id": owner, "camera_id": str(uuid4()), "segment_seconds": 2,
        "rtsp_url": f"{installation.relay.rtsp_url}/x",
    }  # fmt: skip
    if owner != "new\nline":
        refused(installation.to_streaming.post("/streams/start", body), 400, "invalid_request")


@pytest.mark.parametrize("owner", ["名" * 100, "/" * 200], ids=["hundred signs", "slashes"])
def test_an_owner_whose_folder_name_would_be_too_long_is_refused_at_once(
    installation: Installation, owner: str
) -> None:
    answer = installation.admin.post("/api/v1/camera", {"name": "Test", "owner": owner})
    refused(answer, 400, "invalid_request", "owner")
    body = {
        "user_id": owner, "camera_id": str(uuid4()), "segment_seconds": 2,
        "rtsp_url": f"{installation.relay.rtsp_url}/x",
    }  # fmt: skip
    answer = installation.to_streaming.post("/streams/start", body)
    refused(answer, 400, "invalid_request", "user_id")


@pytest.mark.parametrize(
    "path", ["..", "a/../b", "a//b", "/a", "a/", "a b", "é", "a/b/c/d/e", "x" * 65, "a?b", "a%2fb"]
)
def test_a_path_that_is_none_is_refused(installation: Installation, path: str) -> None:
    answer = installation.admin.post(
        "/api/v1/camera", {"name": "Test", "owner": OWNER, "path": path}
    )
    refused(answer, 400, "invalid_request", "path")


def test_a_row_that_points_out_of_the_record_root_serves_no_file(
    installation: Installation,
) -> None:
    camera = installation.camera()
    secret = installation.record_root.parent / "secret.mp4"
    secret.write_text("secret")
    for path in (str(secret), "../secret.mp4", f"{OWNER}/../../secret.mp4"):
        segment = _add_segment(installation, camera, path)
        answer = camera.api.get(f"{camera.path}/recordings/{segment}")
        refused(answer, 404, "segment_not_found")
    link = installation.record_root / OWNER / f"{uuid4()}.mp4"
    link.parent.mkdir(mode=0o750, exist_ok=True)
    link.symlink_to(secret)
    segment = _add_segment(installation, camera, f"{OWNER}/{link.name}")
    refused(camera.api.get(f"{camera.path}/recordings/{segment}"), 404, "segment_not_found")


def _add_segment(installation: Installation, camera: CameraUser, path: str) -> UUID:
    now = datetime.now(UTC)
    segment = Segment(
        id=uuid4(), camera_id=UUID(camera.camera_id), owner=OWNER, run=1, number=next(_NUMBERS),
        started_at=now, ended_at=now, media_ms=0, size_bytes=6, path=path,
    )  # fmt: skip
    with installation.database() as database:
        assert SegmentRepository(database).insert_many([segment]) == 1
    return segment.id
