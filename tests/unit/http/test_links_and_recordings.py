from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from falcon import testing

from streamwarden.auth.stream_tokens import StreamAction, StreamUse
from streamwarden.clock import rfc3339
from streamwarden.errors import StreamingUnavailable
from streamwarden.model import Camera
from tests.fakes.http import FakeFile
from tests.fakes.storage_samples import NOON, a_gap, a_segment, grant
from tests.unit.http.conftest import ApiHarness


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    return harness.camera(path="front/door")


def _refused(result: testing.Result, status: int, code: str, field: str | None = None) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)
    assert result.json.get("field") == field


def test_the_publish_url_holds_the_users_publish_token(harness: ApiHarness, camera: Camera) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/publish_rtsp_url", query="ttl=3600")
    assert (result.status_code, result.json["ttl"]) == (200, 3600)
    url = urlsplit(result.json["publish_rtsp_url"])
    assert (url.netloc, url.path) == ("media.example:8554", "/front/door")
    (token,) = parse_qs(url.query)["token"]
    claims = harness.tokens.verify(token, path="front/door", action=StreamAction.PUBLISH)
    assert (claims.use, claims.sub) == (StreamUse.PUBLISH, "alice")
    assert rfc3339(claims.expires_at) == result.json["expires_at"]


def test_the_preview_holds_the_users_view_token(harness: ApiHarness, camera: Camera) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/preview")
    assert result.json["whep_url"] == "https://media.example:8889/front/door/whep"
    name, _, token = result.json["hls_url"].partition("?token=")
    played = harness.play_tokens.verify(token)
    assert (name, played.live, played.recorded) == ("live.m3u8", True, None)
    claims = harness.tokens.verify(
        result.json["token"], path="front/door", action=StreamAction.READ
    )
    assert (claims.use, claims.sub) == (StreamUse.VIEW, "alice")


def test_a_token_never_outlives_what_was_asked_for(harness: ApiHarness, camera: Camera) -> None:
    token = harness.call("GET", f"/camera/{camera.id}/preview", query="ttl=30").json["token"]
    harness.clock.advance(31)
    body = {"action": "read", "protocol": "rtsp", "path": "front/door", "token": token}
    assert harness.m2m("check-stream-pwd", body).status_code == 401


def test_without_webrtc_there_is_no_whep_url(camera: Camera) -> None:
    harness = ApiHarness(whep_url=None)
    camera = harness.camera()
    assert harness.call("GET", f"/camera/{camera.id}/preview").json["whep_url"] is None


@pytest.mark.parametrize(
    ("what", "ttl"),
    [("publish_rtsp_url", t) for t in ("59", "31536001", "x", "60.0", "true")]
    + [("preview", t) for t in ("29", "3601", "", "1e3")],
)
def test_a_bad_ttl_is_400(harness: ApiHarness, camera: Camera, what: str, ttl: str) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/{what}", query=f"ttl={ttl}")
    _refused(result, 400, "invalid_request", "ttl")


@pytest.mark.parametrize(("what", "needed"), [("publish_rtsp_url", "publish"), ("preview", "view")])
def test_each_link_needs_its_own_grant(
    harness: ApiHarness, camera: Camera, what: str, needed: str
) -> None:
    path = f"/camera/{camera.id}/{what}"
    _refused(harness.call("GET", path, who="bob"), 404, "camera_not_found")
    grant(harness.storage.grants, camera.id, "bob", "recordings")
    _refused(harness.call("GET", path, who="bob"), 403, "permission_denied")
    grant(harness.storage.grants, camera.id, "bob", needed)
    assert harness.call("GET", path, who="bob").status_code == 200


@pytest.mark.parametrize("what", ["publish_rtsp_url", "preview"])
def test_an_inactive_camera_gives_no_link(harness: ApiHarness, what: str) -> None:
    camera = harness.camera(status="inactive")
    _refused(harness.call("GET", f"/camera/{camera.id}/{what}"), 403, "camera_inactive")


def _recordings(harness: ApiHarness, camera: Camera, query: str) -> testing.Result:
    return harness.call("GET", f"/camera/{camera.id}/recordings", query=query)


def test_segments_and_gaps_come_in_time_order(harness: ApiHarness, camera: Camera) -> None:
    segment = a_segment(camera.id, start=0, end=30)
    harness.storage.segments.insert_many([segment])
    harness.storage.gaps.upsert_many(
        [a_gap(camera.id, start=30, end=33), a_gap(camera.id, start=60, end=None, cause="timeout")]
    )
    query = "from=2026-03-01T12:00:00Z&to=2026-03-01T13:00:00%2B00:00"
    assert _recordings(harness, camera, query).json["items"] == [
        {
            "kind": "segment",
            "id": str(segment.id),
            "started_at": "2026-03-01T12:00:00.000Z",
            "ended_at": "2026-03-01T12:00:30.000Z",
            "media_seconds": 30.0,
            "missing_seconds": 0.0,
            "date_error_seconds": None,
            "bytes": 1000,
            "run": 1,
            "salvaged": False,
        },
        {
            "kind": "gap",
            "started_at": "2026-03-01T12:00:30.000Z",
            "ended_at": "2026-03-01T12:00:33.000Z",
            "cause": "source_offline",
        },
        {
            "kind": "gap",
            "started_at": "2026-03-01T12:01:00.000Z",
            "ended_at": None,
            "cause": "timeout",
        },
    ]


def test_the_last_day_is_what_comes_unasked(harness: ApiHarness, camera: Camera) -> None:
    harness.clock.wall = NOON + timedelta(hours=25)
    harness.storage.segments.insert_many(
        [a_segment(camera.id, start=0, end=30), a_segment(camera.id, start=7200, end=7230)]
    )
    items = _recordings(harness, camera, "").json["items"]
    assert [item["started_at"] for item in items] == ["2026-03-01T14:00:00.000Z"]


def test_recordings_are_read_page_by_page(harness: ApiHarness, camera: Camera) -> None:
    harness.clock.wall = NOON + timedelta(hours=1)
    harness.storage.segments.insert_many(
        [a_segment(camera.id, start=n, end=n + 1) for n in range(5)]
    )
    first = _recordings(harness, camera, "limit=3").json
    second = _recordings(harness, camera, f"limit=3&cursor={first['next_cursor']}").json
    assert (len(first["items"]), len(second["items"])) == (3, 2)
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-03-01T12:00:00", "from"),
        ("to=2026-02-30T12:00:00Z", "to"),
        ("to=0001-01-01T00:00:00Z", "to"),
        ("from=2026-03-01T12:00:00Z&to=2026-03-01T12:00:00Z", "from"),
        ("from_=2026-03-01T12:00:00Z", "from_"),
        ("limit=0", "limit"),
        ("cursor=nonsense", "cursor"),
    ],
)
def test_a_bad_range_is_400_and_named(
    harness: ApiHarness, camera: Camera, query: str, field: str
) -> None:
    _refused(_recordings(harness, camera, query), 400, "invalid_request", field)


def test_recordings_need_their_grant(harness: ApiHarness, camera: Camera) -> None:
    segment = a_segment(camera.id, start=0, end=30)
    harness.storage.segments.insert_many([segment])
    recordings = f"/camera/{camera.id}/recordings"
    for path in (recordings, f"{recordings}/{segment.id}"):
        _refused(harness.call("GET", path, who="mallory"), 404, "camera_not_found")
        grant(harness.storage.grants, camera.id, "bob", "view")
        _refused(harness.call("GET", path, who="bob"), 403, "permission_denied")
    grant(harness.storage.grants, camera.id, "carol", "recordings")
    assert harness.call("GET", f"{recordings}/{segment.id}", who="carol").status_code == 200


@pytest.fixture
def segment_path(harness: ApiHarness, camera: Camera) -> str:
    segment = a_segment(camera.id, start=0, end=30)
    harness.storage.segments.insert_many([segment])
    return f"/camera/{camera.id}/recordings/{segment.id}"


def test_a_file_is_passed_on_with_its_headers(harness: ApiHarness, segment_path: str) -> None:
    harness.streaming.file = FakeFile(
        206, headers={"Content-Range": "bytes 0-4/9", "ETag": '"x"', "X-Request-Id": "other"}
    )
    asked = {"Range": "bytes=0-4", "If-Range": '"x"', "Cookie": "secret"}
    result = harness.call("GET", segment_path, headers=asked)
    assert (result.status_code, result.content) == (206, b"video")
    assert result.headers["content-range"] == "bytes 0-4/9"
    assert result.headers["etag"] == '"x"'
    assert result.headers["x-request-id"] != "other"
    assert harness.streaming.calls[0][1]["headers"] == {"Range": "bytes=0-4", "If-Range": '"x"'}
    assert harness.streaming.file.closed


@pytest.mark.parametrize("status", [304, 404, 416])
def test_a_file_that_does_not_come_is_closed(
    harness: ApiHarness, segment_path: str, status: int
) -> None:
    harness.streaming.file = FakeFile(status, headers={"Content-Range": "bytes */9"})
    result = harness.call("GET", segment_path)
    assert result.status_code == status
    assert harness.streaming.file.closed
    if status == 404:
        _refused(result, 404, "segment_not_found")
    if status == 416:
        assert result.headers["content-range"] == "bytes */9"


def test_head_of_a_file_asks_for_its_head(harness: ApiHarness, segment_path: str) -> None:
    result = harness.call("HEAD", segment_path)
    assert (result.content, result.headers["content-length"]) == (b"", "5")
    assert harness.streaming.calls[0][1]["method"] == "HEAD"
    assert harness.streaming.file.closed


def test_an_unknown_segment_is_404_and_nobody_is_asked(harness: ApiHarness, camera: Camera) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/recordings/{uuid4()}")
    _refused(result, 404, "segment_not_found")
    assert harness.streaming.calls == []


def test_a_file_with_streaming_away_is_503(harness: ApiHarness, segment_path: str) -> None:
    harness.streaming.failure = StreamingUnavailable("the streaming role did not answer")
    _refused(harness.call("GET", segment_path), 503, "streaming_unavailable")
