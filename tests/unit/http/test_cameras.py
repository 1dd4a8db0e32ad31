from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from falcon import testing

from streamwarden.errors import StreamingUnavailable
from streamwarden.model import Camera
from tests.fakes.storage_samples import a_segment, grant
from tests.unit.http.conftest import Bench

AWAY = StreamingUnavailable("the StreamingServer does not answer")


def _refused(result: testing.Result, status: int, code: str, field: str | None = None) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)
    assert result.json.get("field") == field


def _want(bench: Bench, camera: Camera) -> None:
    bench.storage.streams.want(camera, requested_by="alice", at=bench.clock.now())


def test_an_admin_adds_a_camera_whose_path_is_its_id(bench: Bench) -> None:
    new = {"name": "門口\u3000一", "owner": "alice"}
    result = bench.call("POST", "/camera", who="root", json=new)
    assert result.status_code == 201
    added = result.json
    assert (added["name"], added["owner"], added["status"]) == ("門口\u3000一", "alice", "active")
    assert added["path"] == added["id"]
    assert added["created_at"] == "2026-01-02T03:04:05.678Z"
    assert result.headers["location"] == f"/api/v1/camera/{added['id']}"
    assert bench.call("GET", f"/camera/{added['id']}").json == added


@pytest.mark.parametrize("path", ["a", "a/b_c/d-e/F9", "x" * 64])
def test_a_path_of_the_pattern_is_taken(bench: Bench, path: str) -> None:
    new = {"name": "x", "owner": "alice", "path": path}
    assert bench.call("POST", "/camera", who="root", json=new).json["path"] == path


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"owner": ""}, "owner"),
        ({"owner": "a\u200bb"}, "owner"),
        ({"path": "/a"}, "path"),
        ({"path": "a/../b"}, "path"),
        ({"path": "a/b/c/d/e"}, "path"),
        ({"path": "a\n"}, "path"),
        ({"path": "x" * 65}, "path"),
        ({"status": "asleep"}, "status"),
        ({"id": "x"}, "id"),
    ],
)
def test_a_bad_camera_is_400_and_the_field_named(
    bench: Bench, changes: dict[str, object], field: str
) -> None:
    new = {"name": "x", "owner": "alice", **changes}
    result = bench.call("POST", "/camera", who="root", json=new)
    _refused(result, 400, "invalid_request", field)


def test_a_path_in_use_is_409(bench: Bench) -> None:
    bench.camera(path="door")
    new = {"name": "x", "owner": "alice", "path": "door"}
    _refused(bench.call("POST", "/camera", who="root", json=new), 409, "path_taken")


def test_only_an_admin_adds(bench: Bench) -> None:
    new = {"name": "x", "owner": "alice"}
    _refused(bench.call("POST", "/camera", json=new), 403, "permission_denied")


def test_a_list_holds_what_its_reader_may_see(bench: Bench) -> None:
    own, granted, _hidden = bench.camera(), bench.camera(owner="bob"), bench.camera(owner="bob")
    grant(bench.storage.grants, granted.id, "alice", "view")
    seen = {item["id"] for item in bench.call("GET", "/camera").json["items"]}
    assert seen == {str(own.id), str(granted.id)}
    assert len(bench.call("GET", "/camera", who="root").json["items"]) == 3


def test_a_list_is_read_page_by_page(bench: Bench) -> None:
    for _ in range(5):
        bench.camera()
        bench.clock.advance(1)
    seen: set[str] = set()
    pages, query = 0, "limit=2"
    while query:
        page = bench.call("GET", "/camera", query=query).json
        seen |= {item["id"] for item in page["items"]}
        pages, cursor = pages + 1, page["next_cursor"]
        query = f"limit=2&cursor={cursor}" if cursor else ""
    assert (len(seen), pages) == (5, 3)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=zzz", "cursor"),
        ("cursor=" + "A" * 200, "cursor"),
        ("cursor=%00", "cursor"),
        ("page=2", "page"),
    ],
)
def test_a_bad_page_is_400_and_named(bench: Bench, query: str, field: str) -> None:
    _refused(bench.call("GET", "/camera", query=query), 400, "invalid_request", field)


def test_a_stranger_finds_no_camera(bench: Bench) -> None:
    path = f"/camera/{bench.camera().id}"
    _refused(bench.call("GET", path, who="mallory"), 404, "camera_not_found")
    _refused(bench.call("PATCH", path, who="mallory", json={}), 404, "camera_not_found")
    _refused(bench.call("DELETE", path, who="mallory"), 404, "camera_not_found")


def test_an_owner_sees_but_does_not_change(bench: Bench) -> None:
    path = f"/camera/{bench.camera().id}"
    assert bench.call("GET", path).status_code == 200
    _refused(bench.call("PATCH", path, json={"name": "y"}), 403, "permission_denied")
    _refused(bench.call("DELETE", path), 403, "permission_denied")


@pytest.mark.parametrize(
    "changes", [{"name": "New"}, {"owner": "bob"}, {"path": "new/path"}, {"status": "inactive"}, {}]
)
def test_what_is_given_changes_and_the_rest_stays(bench: Bench, changes: dict[str, str]) -> None:
    camera = bench.camera()
    before = bench.call("GET", f"/camera/{camera.id}", who="root").json
    result = bench.call("PATCH", f"/camera/{camera.id}", who="root", json=changes)
    assert (result.status_code, result.json) == (200, {**before, **changes})


@pytest.mark.parametrize("name", ["name", "owner", "path", "status"])
def test_nothing_can_be_set_to_null_or_empty(bench: Bench, name: str) -> None:
    camera = bench.camera()
    for value in (None, ""):
        result = bench.call("PATCH", f"/camera/{camera.id}", who="root", json={name: value})
        _refused(result, 400, "invalid_request", name)


def test_deactivating_stops_the_recording(bench: Bench) -> None:
    camera = bench.camera()
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert not bench.wanted(camera.id)
    assert camera.id not in bench.streaming.running


def test_deactivating_succeeds_with_streaming_away(bench: Bench) -> None:
    camera = bench.camera()
    _want(bench, camera)
    bench.streaming.failure = AWAY
    result = bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert result.json["status"] == "inactive"
    assert not bench.wanted(camera.id)


def test_a_new_path_reaches_a_wanted_stream(bench: Bench) -> None:
    camera = bench.camera()
    _want(bench, camera)
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "elsewhere"})
    ((name, sent),) = bench.streaming.calls
    assert name == "start"
    assert str(sent["rtsp_url"]).startswith("rtsp://mediamtx:8554/elsewhere?token=")


def test_a_new_path_starts_nothing_that_is_not_wanted(bench: Bench) -> None:
    camera = bench.camera()
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "elsewhere"})
    assert bench.streaming.calls == []


def test_the_owner_of_a_wanted_camera_cannot_change(bench: Bench) -> None:
    camera = bench.camera()
    _want(bench, camera)
    result = bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"owner": "bob"})
    _refused(result, 409, "stream_wanted")


def test_removing_stops_revokes_and_keeps_the_recordings(bench: Bench) -> None:
    camera = bench.camera()
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    segment = a_segment(camera.id, start=0, end=30)
    bench.storage.segments.insert_many([segment])
    assert bench.call("DELETE", f"/camera/{camera.id}", who="root").status_code == 204
    assert camera.id not in bench.streaming.running
    assert not bench.wanted(camera.id)
    _refused(bench.call("GET", f"/camera/{camera.id}"), 404, "camera_not_found")
    assert bench.m2m("read-token", {"camera_id": str(camera.id)}).status_code == 403
    assert bench.storage.segments.get(camera.id, segment.id) == segment


def test_removing_with_recordings_marks_them_for_deletion(bench: Bench) -> None:
    camera = bench.camera()
    bench.storage.segments.insert_many([a_segment(camera.id, start=0, end=30)])
    bench.call("DELETE", f"/camera/{camera.id}", who="root", query="recordings=delete")
    assert len(bench.storage.segments.deleting(limit=10)) == 1


def test_removing_succeeds_with_streaming_away(bench: Bench) -> None:
    camera = bench.camera()
    _want(bench, camera)
    bench.streaming.failure = AWAY
    assert bench.call("DELETE", f"/camera/{camera.id}", who="root").status_code == 204
    assert not bench.wanted(camera.id)


def test_an_unknown_word_about_recordings_removes_nothing(bench: Bench) -> None:
    camera = bench.camera()
    result = bench.call("DELETE", f"/camera/{camera.id}", who="root", query="recordings=all")
    _refused(result, 400, "invalid_request", "recordings")
    assert bench.storage.cameras.get(camera.id)


def test_what_is_not_there_can_be_neither_changed_nor_removed(bench: Bench) -> None:
    unknown: UUID = uuid4()
    for method in ("GET", "PATCH", "DELETE"):
        result = bench.call(method, f"/camera/{unknown}", who="root")
        _refused(result, 404, "camera_not_found")


def test_the_setting_is_30_until_it_is_changed(bench: Bench) -> None:
    path = "/settings/video_segment_seconds"
    assert bench.call("GET", path, who="root").json["value"] == 30
    assert bench.call("PUT", path, who="root", json={"value": 10}).json["value"] == 10
    assert bench.call("GET", path, who="root").json["value"] == 10


def test_a_changed_setting_reaches_every_wanted_active_stream(bench: Bench) -> None:
    wanted, _other, inactive = bench.camera(), bench.camera(), bench.camera(status="inactive")
    _want(bench, wanted)
    _want(bench, inactive)
    bench.call("PUT", "/settings/video_segment_seconds", who="root", json={"value": 5})
    assert [(n, c["camera_id"], c["segment_seconds"]) for n, c in bench.streaming.calls] == [
        ("start", wanted.id, 5)
    ]


def test_a_setting_is_kept_with_streaming_away(bench: Bench) -> None:
    for _ in range(3):
        _want(bench, bench.camera())
    bench.streaming.failure = AWAY
    path = "/settings/video_segment_seconds"
    assert bench.call("PUT", path, who="root", json={"value": 5}).status_code == 200
    assert bench.storage.settings.get("video_segment_seconds") == 5


@pytest.mark.parametrize("value", [0, 3601, True, 2.5, "30", None, [30]])
def test_a_bad_value_is_400(bench: Bench, value: object) -> None:
    path = "/settings/video_segment_seconds"
    result = bench.call("PUT", path, who="root", json={"value": value})
    _refused(result, 400, "invalid_request", "value")
    _refused(bench.call("PUT", path, who="root"), 400, "invalid_request", "value")


def test_settings_are_the_admins(bench: Bench) -> None:
    path = "/settings/video_segment_seconds"
    _refused(bench.call("GET", path), 403, "permission_denied")
    _refused(bench.call("PUT", path, json={"value": 5}), 403, "permission_denied")


def test_an_unknown_setting_is_404(bench: Bench) -> None:
    result = bench.call("PUT", "/settings/other", who="root", json={"value": 5})
    _refused(result, 404, "setting_not_found")
