"""Live pictures, snapshots, exports and operators' calls over fakes: who may, and what comes."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from falcon import testing

from streamwarden.errors import NothingRecorded, NotLive, StreamingUnavailable
from streamwarden.http.api.ops_routes import Growth, full_at
from streamwarden.http.api.relay_file import file_stem
from streamwarden.model import Camera
from tests.fakes.http import EPOCH, FakeFile
from tests.fakes.ops import ops_as_json
from tests.fakes.storage_samples import NOON, grant
from tests.unit.http.conftest import ApiHarness

RANGE = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}
LIVE = ("live.m3u8", "live/r3-000004.mp4", "snapshot.jpg")


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    harness.clock.wall = NOON + timedelta(days=1)
    harness.streaming.ops = ops_as_json()
    return harness.camera()


def _token(harness: ApiHarness, camera: Camera, body: object, who: str = "alice") -> str:
    path = f"/camera/{camera.id}/recordings/play_token"
    return str(harness.call("POST", path, who=who, json=body).json["token"])


def _refused(result: testing.Result, status: int, code: str) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)


def test_a_live_playlist_slides_and_its_uris_are_relative(
    harness: ApiHarness, camera: Camera
) -> None:
    token = _token(harness, camera, {})
    result = harness.call("GET", f"/camera/{camera.id}/live.m3u8", who=None, query=f"token={token}")
    lines = result.text.splitlines()
    assert "#EXT-X-MEDIA-SEQUENCE:77" in lines
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:3" in lines
    assert "#EXT-X-TARGETDURATION:1" in lines
    assert lines.count(f"live/r3-000004.mp4?token={token}") == 4
    assert "ENDLIST" not in result.text
    assert result.headers["cache-control"] == "private, no-store"


def test_what_belongs_to_a_user_is_kept_in_no_cache(harness: ApiHarness, camera: Camera) -> None:
    """By bearer: the next user of a shared browser would have it from there."""
    for what in (*LIVE, "", "recordings", "preview", "publish_rtsp_url", "grants", "exports"):
        result = harness.call("GET", f"/camera/{camera.id}/{what}".rstrip("/"))
        assert result.status_code == 200, what
        assert "no-store" in result.headers["cache-control"], what


@pytest.mark.parametrize("what", LIVE)
@pytest.mark.parametrize(
    "case",
    [
        ("alice", (), 200),
        ("root", (), 200),
        ("bob", (), 404),
        ("bob", ("recordings", "control", "publish"), 403),
        ("bob", ("view",), 200),
        (None, (), 401),
    ],
)
def test_what_is_live_needs_view(
    harness: ApiHarness, camera: Camera, what: str, case: tuple[str | None, tuple[str, ...], int]
) -> None:
    who, grants, status = case
    for action in grants:
        grant(harness.storage.grants, camera.id, "bob", action)
    assert harness.call("GET", f"/camera/{camera.id}/{what}", who=who).status_code == status


@pytest.mark.parametrize("what", LIVE)
def test_a_token_shows_live_pictures_of_its_own_camera_alone(
    harness: ApiHarness, camera: Camera, what: str
) -> None:
    query = f"token={_token(harness, camera, {})}"
    result = harness.call("GET", f"/camera/{camera.id}/{what}", who=None, query=query)
    assert result.status_code == 200
    assert result.headers["referrer-policy"] == "no-referrer"
    for other in (harness.camera().id, uuid4()):
        result = harness.call("GET", f"/camera/{other}/{what}", who=None, query=query)
        _refused(result, 403, "permission_denied")


@pytest.mark.parametrize("what", LIVE)
def test_a_token_for_recordings_alone_shows_nothing_live(
    harness: ApiHarness, camera: Camera, what: str
) -> None:
    grant(harness.storage.grants, camera.id, "bob", "recordings")
    query = f"token={_token(harness, camera, RANGE, who='bob')}"
    result = harness.call("GET", f"/camera/{camera.id}/{what}", who=None, query=query)
    _refused(result, 403, "permission_denied")


@pytest.mark.parametrize("what", LIVE)
def test_an_inactive_camera_shows_nothing_live(harness: ApiHarness, what: str) -> None:
    camera = harness.camera(status="inactive")
    _refused(harness.call("GET", f"/camera/{camera.id}/{what}"), 403, "camera_inactive")


@pytest.mark.parametrize(
    "name", ["ledger.json", "r1-1.mp4", "run", "r1-000000.mp4.new", "..", "%2e"]
)
def test_only_a_recorders_name_is_asked_for(harness: ApiHarness, camera: Camera, name: str) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/live/{name}")
    assert result.status_code == 404
    assert not harness.streaming.calls


def test_nothing_live_is_404_in_words(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.failure = NotLive("nothing is being recorded of this camera now")
    _refused(harness.call("GET", f"/camera/{camera.id}/live.m3u8"), 404, "not_live")


def test_an_answer_that_is_no_window_is_503(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.nonsense = {"parts": "none"}
    _refused(harness.call("GET", f"/camera/{camera.id}/live.m3u8"), 503, "unavailable")


@pytest.mark.parametrize("width", ["63", "1921", "x", "-1", "1e3"])
def test_a_width_out_of_bounds_is_400(harness: ApiHarness, camera: Camera, width: str) -> None:
    result = harness.call("GET", f"/camera/{camera.id}/snapshot.jpg", query=f"width={width}")
    assert (result.status_code, result.json["field"]) == (400, "width")


def test_a_snapshot_has_the_time_at_which_it_was_taken(harness: ApiHarness, camera: Camera) -> None:
    path = f"/camera/{camera.id}/snapshot.jpg"
    taken = harness.call("GET", path, query="max_age=60")
    assert taken.headers["last-modified"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert harness.streaming.calls[-1][1]["max_age_s"] == 60
    _refused(harness.call("GET", path, query="max_age=0"), 400, "invalid_request")


def _export(harness: ApiHarness, camera: Camera, who: str = "alice") -> str:
    result = harness.call("POST", f"/camera/{camera.id}/exports", who=who, json=RANGE)
    assert result.status_code == 202, result.text
    assert "user_id" not in result.json
    return str(result.json["id"])


@pytest.mark.parametrize(
    ("grants", "status"), [((), 404), (("view",), 403), (("recordings",), 202)]
)
def test_an_export_needs_recordings(
    harness: ApiHarness, camera: Camera, grants: tuple[str, ...], status: int
) -> None:
    for action in grants:
        grant(harness.storage.grants, camera.id, "bob", action)
    result = harness.call("POST", f"/camera/{camera.id}/exports", who="bob", json=RANGE)
    assert result.status_code == status


@pytest.mark.parametrize(
    ("who", "status"), [("bob", 200), ("alice", 200), ("root", 200), ("carol", 404), ("dave", 404)]
)
def test_an_export_is_for_who_asked_for_it_the_owner_and_admins(
    harness: ApiHarness, camera: Camera, who: str, status: int
) -> None:
    for user in ("bob", "carol"):
        grant(harness.storage.grants, camera.id, user, "recordings")
    export_id = _export(harness, camera, who="bob")
    base = f"/camera/{camera.id}/exports"
    assert harness.call("GET", f"{base}/{export_id}", who=who).status_code == status
    harness.streaming.exported[next(iter(harness.streaming.exported))]["state"] = "done"
    assert harness.call("GET", f"{base}/{export_id}/file", who=who).status_code == status
    listed = harness.call("GET", base, who=who)
    if who != "dave":
        assert len(listed.json["items"]) == (status == 200)
    assert harness.call("DELETE", f"{base}/{export_id}", who=who).status_code == status


def test_a_file_is_saved_under_a_name_and_not_before_it_is_done(
    harness: ApiHarness, camera: Camera
) -> None:
    export_id = _export(harness, camera)
    path = f"/camera/{camera.id}/exports/{export_id}/file"
    _refused(harness.call("GET", path), 404, "export_not_ready")
    next(iter(harness.streaming.exported.values()))["state"] = "done"
    result = harness.call("GET", path)
    assert result.status_code == 200
    assert result.headers["content-disposition"].startswith(
        f'attachment; filename="{file_stem(camera.name)}-2026'
    )


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("alice", RANGE, 200),
        ("bob", RANGE, 404),
        ("alice", {**RANGE, "to": "2026-03-01T12:59:59Z"}, 403),
        ("alice", {}, 403),
    ],
)
def test_a_play_token_fetches_its_users_export_of_its_time(
    harness: ApiHarness, camera: Camera, who: str, body: object, status: int
) -> None:
    for action in ("recordings", "view"):
        grant(harness.storage.grants, camera.id, "bob", action)
    export_id = _export(harness, camera)
    next(iter(harness.streaming.exported.values()))["state"] = "done"
    query = f"token={_token(harness, camera, body, who=who)}"
    path = f"/camera/{camera.id}/exports/{export_id}"
    assert harness.call("GET", f"{path}/file", who=None, query=query).status_code == status
    assert harness.call("GET", path, who=None, query=query).status_code == 401


def test_refusals_of_an_export_are_passed_on(harness: ApiHarness, camera: Camera) -> None:
    path = f"/camera/{camera.id}/exports"
    turned = {"from": RANGE["to"], "to": RANGE["from"]}
    assert harness.call("POST", path, json=turned).json["field"] == "from"
    assert harness.call("POST", path, json={}).json["field"] == "from"
    harness.streaming.failure = NothingRecorded("nothing was recorded then")
    _refused(harness.call("POST", path, json=RANGE), 404, "nothing_recorded")


OPS = (("GET", "/ops/summary"), ("GET", "/ops/supervision"), ("POST", "/ops/supervision/c/restart"))


@pytest.mark.parametrize(("method", "path"), OPS)
def test_operators_calls_need_the_role_admin(
    harness: ApiHarness, camera: Camera, method: str, path: str
) -> None:
    assert camera
    _refused(harness.call(method, path), 403, "permission_denied")
    _refused(harness.call(method, path, who=None), 401, "unauthenticated")
    query = f"token={_token(harness, camera, {})}"
    _refused(harness.call(method, path, who=None, query=query), 401, "unauthenticated")
    assert harness.call(method, path, who="root").status_code == 200


def test_a_camera_without_a_recorder_counts_as_stopped(harness: ApiHarness, camera: Camera) -> None:
    assert camera
    for _ in range(6):
        harness.camera()
    found = harness.call("GET", "/ops/summary", who="root").json["cameras"]
    assert found["by_state"] == {"running": 3, "backoff": 1, "stopped": 3}
    assert sum(found["by_state"].values()) == found["total"]


def test_the_summary_says_what_it_knows(harness: ApiHarness, camera: Camera) -> None:
    assert camera
    harness.coverage.oldest_end = harness.clock.now() - timedelta(days=2)
    found = harness.call("GET", "/ops/summary", who="root").json
    assert found["cameras"] == {"total": 1, "active": 1, "by_state": {"running": 3, "backoff": 1}}
    assert found["day"]["missing_seconds"] == 100.0
    assert found["day"]["causes"] == [{"cause": "source_offline", "seconds": 100.0}]
    assert found["disk"]["bytes_per_day"] == 100
    assert found["disk"]["full_at"] == "2026-03-07T00:00:00.000Z"
    assert found["index"] == {"journal_segments": 2, "lag_seconds": 1.5}
    assert found["respawn_causes"] == [{"cause": "source_offline", "count": 9}]


def test_without_the_streaming_role_the_summary_is_what_postgres_says(
    harness: ApiHarness, camera: Camera
) -> None:
    assert camera
    harness.streaming.failure = StreamingUnavailable("the streaming role did not answer")
    found = harness.call("GET", "/ops/summary", who="root").json
    assert found["streaming"] == {"reachable": False}
    assert (found["disk"], found["index"], found["respawns"]) == (None, None, None)
    assert found["hour"]["recorded_seconds"] == 3500.0


def test_many_who_look_cost_one_question(harness: ApiHarness, camera: Camera) -> None:
    assert camera
    for _ in range(5):
        harness.call("GET", "/ops/summary", who="root")
    assert harness.coverage.asked == 2
    harness.clock.advance(16)
    harness.call("GET", "/ops/summary", who="root")
    assert harness.coverage.asked == 4


@pytest.mark.parametrize(
    ("last_day", "age_days", "free", "expected_days"),
    [
        (100, 10.0, 450, 4.0),
        (100, 10.0, 5_000, None),  # what is old goes first
        (100, 0.5, 450, 2.0),  # half a day's bytes: twice as much a day
        (0, 10.0, 450, None),
        (100, 10.0, 10, 0.0),
        (1, 0.0, 1 << 60, None),
    ],
)
def test_when_the_disk_will_be_full(
    last_day: int, age_days: float, free: int, expected_days: float | None
) -> None:
    growth = Growth(bytes_last_day=last_day, oldest=EPOCH - timedelta(days=age_days))
    found = full_at(
        growth, now=EPOCH, free_bytes=free, reserve_bytes=50, keep_for=timedelta(days=30)
    )
    assert found == (None if expected_days is None else EPOCH + timedelta(days=expected_days))


def test_a_file_that_is_gone_meanwhile_is_404(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.file = FakeFile(404)
    result = harness.call("GET", f"/camera/{camera.id}/live/r3-000004.mp4")
    _refused(result, 404, "segment_not_found")
