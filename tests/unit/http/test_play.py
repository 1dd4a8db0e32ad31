"""Play tokens and playlists of recordings over fakes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from falcon import testing

from streamwarden.http.api import playback_routes
from streamwarden.model import Camera, Segment, TimeRange
from tests.fakes.storage_samples import NOON, a_segment, at, grant
from tests.unit.http.conftest import ApiHarness

HOUR = "from=2026-03-01T12:00:00Z&to=2026-03-01T13:00:00Z"
BODY = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    harness.clock.wall = NOON + timedelta(days=1)
    return harness.camera()


@pytest.fixture
def segments(harness: ApiHarness, camera: Camera) -> list[Segment]:
    rows = [a_segment(camera.id, start=n, end=n + 30, init_bytes=100) for n in (0, 30, 90, 7_200)]
    harness.storage.segments.insert_many(rows)
    return rows


def _token(harness: ApiHarness, camera: Camera, body: object = BODY, who: str = "alice") -> str:
    result = harness.call("POST", f"/camera/{camera.id}/recordings/play_token", who=who, json=body)
    assert result.status_code == 200, result.text
    return str(result.json["token"])


def _get(harness: ApiHarness, path: str, token: str, query: str = "") -> testing.Result:
    joined = "&".join(part for part in (query, f"token={token}") if part)
    return harness.call("GET", path, who=None, query=joined)


def _refused(result: testing.Result, status: int, code: str) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)


def test_a_token_plays_what_it_was_signed_for(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    token = _token(harness, camera)
    base = f"/camera/{camera.id}/recordings"
    result = _get(harness, f"{base}/playlist.m3u8", token)
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert result.headers["referrer-policy"] == "no-referrer"
    assert result.headers["cache-control"] == "private, no-store"
    listed = [line for line in result.text.splitlines() if line and not line.startswith("#")]
    places = ("", "&at=30000", "&at=60000")
    expected = zip(segments[:3], places, strict=True)
    assert listed == [f"{one.id}.mp4?token={token}{place}" for one, place in expected]
    assert result.text.count("#EXT-X-DISCONTINUITY\n") == 2
    assert result.text.endswith("#EXT-X-ENDLIST\n")
    for name in (f"{segments[0].id}", f"{segments[0].id}.mp4"):
        played = _get(harness, f"{base}/{name}", token)
        assert played.status_code == 200
        assert played.headers["cache-control"] == "private, no-store"


def test_a_range_that_is_not_over_makes_a_growing_playlist(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    harness.clock.wall = NOON + timedelta(minutes=30)
    assert segments
    result = harness.call("GET", f"/camera/{camera.id}/recordings/playlist.m3u8", query=HOUR)
    assert "PLAYLIST-TYPE:EVENT" in result.text
    assert "token" not in result.text


def test_a_token_is_refused_for_another_time(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    token, base = _token(harness, camera), f"/camera/{camera.id}/recordings"
    later = "from=2026-03-01T12:30:00Z&to=2026-03-01T13:30:00Z"
    _refused(_get(harness, f"{base}/playlist.m3u8", token, later), 403, "permission_denied")
    _refused(_get(harness, f"{base}/{segments[3].id}", token), 403, "permission_denied")


def test_a_token_is_refused_for_another_camera(harness: ApiHarness, camera: Camera) -> None:
    other, token = harness.camera(), _token(harness, camera)
    for camera_id in (other.id, uuid4()):
        base = f"/camera/{camera_id}/recordings"
        _refused(_get(harness, f"{base}/playlist.m3u8", token), 403, "permission_denied")
        _refused(_get(harness, f"{base}/{uuid4()}", token), 403, "permission_denied")


@pytest.mark.parametrize(
    "forge",
    [
        lambda harness: harness.tokens.sign_view("alice", "path", ttl_s=60).token,
        lambda harness: harness.token("alice"),
        lambda harness: harness.play_tokens.sign(
            "alice", uuid4(), live=True, recorded=None, ttl_s=60
        ).token[:-2],
        lambda _: "x",
        lambda _: "a" * 2_000,
    ],
)
def test_what_is_no_play_token_is_401(
    harness: ApiHarness, camera: Camera, forge: Callable[[ApiHarness], str]
) -> None:
    path = f"/camera/{camera.id}/recordings/playlist.m3u8"
    _refused(_get(harness, path, forge(harness)), 401, "unauthenticated")


def test_a_play_token_opens_nothing_else(harness: ApiHarness, camera: Camera) -> None:
    token = _token(harness, camera)
    for path in ("", "/recordings", "/stream/status", "/preview"):
        _refused(_get(harness, f"/camera/{camera.id}{path}", token), 401, "unauthenticated")
    headers = {"Authorization": f"Bearer {token}"}
    result = harness.call("GET", f"/camera/{camera.id}", who=None, headers=headers)
    _refused(result, 401, "unauthenticated")
    hook = {"action": "read", "protocol": "rtsp", "path": camera.path, "token": token}
    assert harness.m2m("check-stream-pwd", hook).status_code == 401


def test_a_token_ends(harness: ApiHarness, camera: Camera, segments: list[Segment]) -> None:
    assert segments
    token = _token(harness, camera, {**BODY, "ttl": 30})
    harness.clock.advance(30)
    path = f"/camera/{camera.id}/recordings/playlist.m3u8"
    _refused(_get(harness, path, token), 401, "unauthenticated")


def test_two_tokens_are_none(harness: ApiHarness, camera: Camera) -> None:
    path, token = f"/camera/{camera.id}/recordings/playlist.m3u8", _token(harness, camera)
    _refused(_get(harness, path, token, f"token={token}"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("grants", "body", "status"),
    [
        ((), BODY, 404),
        (("view",), BODY, 403),
        (("view",), {}, 200),
        (("recordings",), BODY, 200),
        (("recordings",), {}, 403),
        (("control", "publish"), BODY, 403),
    ],
)
def test_a_token_needs_the_grant_for_what_it_plays(
    harness: ApiHarness, camera: Camera, grants: tuple[str, ...], body: object, status: int
) -> None:
    for action in grants:
        grant(harness.storage.grants, camera.id, "bob", action)
    result = harness.call(
        "POST", f"/camera/{camera.id}/recordings/play_token", who="bob", json=body
    )
    assert result.status_code == status


@pytest.mark.parametrize(
    ("grants", "live"), [(("recordings",), False), (("recordings", "view"), True)]
)
def test_a_token_for_recordings_shows_live_pictures_only_to_who_may_see_them(
    harness: ApiHarness, camera: Camera, grants: tuple[str, ...], live: bool
) -> None:
    for action in grants:
        grant(harness.storage.grants, camera.id, "bob", action)
    claims = harness.play_tokens.verify(_token(harness, camera, who="bob"))
    assert (claims.live, claims.sub, claims.camera_id) == (live, "bob", camera.id)
    assert claims.recorded == TimeRange(at(0), at(3_600))


def test_a_live_token_plays_no_recordings(harness: ApiHarness, camera: Camera) -> None:
    path = f"/camera/{camera.id}/recordings/playlist.m3u8"
    _refused(_get(harness, path, _token(harness, camera, {}), HOUR), 403, "permission_denied")


def test_an_inactive_camera_plays_its_recordings_and_nothing_live(harness: ApiHarness) -> None:
    camera = harness.camera(status="inactive")
    assert not harness.play_tokens.verify(_token(harness, camera)).live
    path = f"/camera/{camera.id}/recordings/play_token"
    _refused(harness.call("POST", path, json={}), 403, "camera_inactive")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BODY, "ttl": 29}, "ttl"),
        ({**BODY, "ttl": 86_401}, "ttl"),
        ({"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:00Z"}, "from"),
        ({"from": "noon"}, "from"),
        ({"to": "0001-01-01T00:00:00Z"}, "to"),
    ],
)
def test_a_bad_request_for_a_token_names_its_field(
    harness: ApiHarness, camera: Camera, body: object, field: str
) -> None:
    result = harness.call("POST", f"/camera/{camera.id}/recordings/play_token", json=body)
    assert (result.status_code, result.json["field"]) == (400, field)


def test_nothing_recorded_is_404(harness: ApiHarness, camera: Camera) -> None:
    path = f"/camera/{camera.id}/recordings/playlist.m3u8"
    _refused(harness.call("GET", path, query=HOUR), 404, "nothing_recorded")


def test_too_many_segments_are_refused_in_words(
    harness: ApiHarness, camera: Camera, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(segments) > 2
    monkeypatch.setattr(playback_routes, "MAX_SEGMENTS", 2)
    path = f"/camera/{camera.id}/recordings/playlist.m3u8"
    _refused(harness.call("GET", path, query=HOUR), 400, "range_too_long")


def test_where_a_run_took_over_the_old_one_is_cut(harness: ApiHarness, camera: Camera) -> None:
    old = a_segment(camera.id, start=0, end=20, init_bytes=100, size_bytes=3_100)
    new = a_segment(camera.id, start=15, end=45, run=2, init_bytes=100)
    harness.storage.segments.insert_many([old, new])
    result = harness.call("GET", f"/camera/{camera.id}/recordings/playlist.m3u8", query=HOUR)
    assert "#EXTINF:15.000,\n#EXT-X-BYTERANGE:1500@100\n" in result.text
    assert [name for name, _ in harness.streaming.calls] == ["fragments"]


def test_a_bearer_that_is_shown_counts_whatever_token_stands_beside_it(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    assert segments
    path, token = f"/camera/{camera.id}/recordings/playlist.m3u8", _token(harness, camera)
    result = harness.call("GET", path, who="bob", query=f"{HOUR}&token={token}")
    _refused(result, 404, "camera_not_found")
