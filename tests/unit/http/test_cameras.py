from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from falcon import testing

from streamwarden.errors import StreamingUnavailable
from streamwarden.model import Camera
from tests.fakes.storage_samples import a_segment, at, grant
from tests.unit.http.conftest import ApiHarness

AWAY = StreamingUnavailable("the streaming role did not answer")


def _refused(result: testing.Result, status: int, code: str, field: str | None = None) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)
    assert result.json.get("field") == field


def _want(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.streams.want(camera, requested_by="alice", at=harness.clock.now())


def test_an_admin_adds_a_camera_whose_path_is_its_id(harness: ApiHarness) -> None:
    new = {"name": "門口\u3000一", "owner": "alice"}
    result = harness.call("POST", "/camera", who="root", json=new)
    assert result.status_code == 201
    added = result.json
    assert (added["name"], added["owner"], added["status"]) == ("門口\u3000一", "alice", "active")
    assert added["path"] == added["id"]
    assert added["created_at"] == "2026-01-02T03:04:05.678Z"
    assert result.headers["location"] == f"/api/v1/camera/{added['id']}"
    assert harness.call("GET", f"/camera/{added['id']}").json == added


@pytest.mark.parametrize("path", ["a", "a/b_c/d-e/F9", "x" * 64])
def test_a_path_of_the_pattern_is_taken(harness: ApiHarness, path: str) -> None:
    new = {"name": "x", "owner": "alice", "path": path}
    assert harness.call("POST", "/camera", who="root", json=new).json["path"] == path


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
    harness: ApiHarness, changes: dict[str, object], field: str
) -> None:
    new = {"name": "x", "owner": "alice", **changes}
    result = harness.call("POST", "/camera", who="root", json=new)
    _refused(result, 400, "invalid_request", field)


def test_a_path_in_use_is_409(harness: ApiHarness) -> None:
    harness.camera(path="door")
    new = {"name": "x", "owner": "alice", "path": "door"}
    _refused(harness.call("POST", "/camera", who="root", json=new), 409, "path_taken")


def test_only_an_admin_adds(harness: ApiHarness) -> None:
    new = {"name": "x", "owner": "alice"}
    _refused(harness.call("POST", "/camera", json=new), 403, "permission_denied")


def test_a_list_holds_what_its_reader_may_see(harness: ApiHarness) -> None:
    own, granted, _hidden = (
        harness.camera(),
        harness.camera(owner="bob"),
        harness.camera(owner="bob"),
    )
    grant(harness.storage.grants, granted.id, "alice", "view")
    seen = {item["id"] for item in harness.call("GET", "/camera").json["items"]}
    assert seen == {str(own.id), str(granted.id)}
    assert len(harness.call("GET", "/camera", who="root").json["items"]) == 3


def test_a_list_has_the_recordings_of_all_cameras_where_it_is_asked_for_them(
    harness: ApiHarness,
) -> None:
    recorded, never = harness.camera(), harness.camera()
    harness.streaming.running.add(recorded.id)
    assert {one["stream"] for one in harness.call("GET", "/camera").json["items"]} == {None}
    assert harness.streaming.calls == []
    items = harness.call("GET", "/camera", query="include=status").json["items"]
    streams = {one["id"]: one["stream"] for one in items}
    alone = harness.call("GET", f"/camera/{recorded.id}/stream/status").json
    assert streams[str(recorded.id)] == alone
    assert (streams[str(never.id)]["status"], streams[str(never.id)]["run"]) == ("stopped", 0)
    assert [name for name, _ in harness.streaming.calls] == ["statuses", "status"]


def test_a_list_with_recordings_needs_the_streaming_role(harness: ApiHarness) -> None:
    harness.camera()
    harness.streaming.failure = StreamingUnavailable("away")
    answer = harness.call("GET", "/camera", query="include=status")
    assert (answer.status_code, answer.json["code"]) == (503, "streaming_unavailable")
    assert harness.call("GET", "/camera").status_code == 200
    assert harness.call("GET", "/camera", query="include=all").status_code == 400


def test_a_list_is_read_page_by_page(harness: ApiHarness) -> None:
    for _ in range(5):
        harness.camera()
        harness.clock.advance(1)
    seen: set[str] = set()
    pages, query = 0, "limit=2"
    while query:
        page = harness.call("GET", "/camera", query=query).json
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
def test_a_bad_page_is_400_and_named(harness: ApiHarness, query: str, field: str) -> None:
    _refused(harness.call("GET", "/camera", query=query), 400, "invalid_request", field)


def test_a_stranger_finds_no_camera(harness: ApiHarness) -> None:
    path = f"/camera/{harness.camera().id}"
    _refused(harness.call("GET", path, who="mallory"), 404, "camera_not_found")
    _refused(harness.call("PATCH", path, who="mallory", json={}), 404, "camera_not_found")
    _refused(harness.call("DELETE", path, who="mallory"), 404, "camera_not_found")


def test_an_owner_sees_but_does_not_change(harness: ApiHarness) -> None:
    path = f"/camera/{harness.camera().id}"
    assert harness.call("GET", path).status_code == 200
    _refused(harness.call("PATCH", path, json={"name": "y"}), 403, "permission_denied")
    _refused(harness.call("DELETE", path), 403, "permission_denied")


@pytest.mark.parametrize(
    "changes", [{"name": "New"}, {"owner": "bob"}, {"path": "new/path"}, {"status": "inactive"}, {}]
)
def test_what_is_given_changes_and_the_rest_stays(
    harness: ApiHarness, changes: dict[str, str]
) -> None:
    camera = harness.camera()
    before = harness.call("GET", f"/camera/{camera.id}", who="root").json
    result = harness.call("PATCH", f"/camera/{camera.id}", who="root", json=changes)
    assert (result.status_code, result.json) == (200, {**before, **changes})


@pytest.mark.parametrize("name", ["name", "owner", "path", "status"])
def test_nothing_can_be_set_to_null_or_empty(harness: ApiHarness, name: str) -> None:
    camera = harness.camera()
    for value in (None, ""):
        result = harness.call("PATCH", f"/camera/{camera.id}", who="root", json={name: value})
        _refused(result, 400, "invalid_request", name)


def test_deactivating_stops_the_recording(harness: ApiHarness) -> None:
    camera = harness.camera()
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert not harness.wanted(camera.id)
    assert camera.id not in harness.streaming.running


def test_deactivating_succeeds_with_streaming_away(harness: ApiHarness) -> None:
    camera = harness.camera()
    _want(harness, camera)
    harness.streaming.failure = AWAY
    result = harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert result.json["status"] == "inactive"
    assert not harness.wanted(camera.id)


def test_a_new_path_reaches_a_wanted_stream(harness: ApiHarness) -> None:
    camera = harness.camera()
    _want(harness, camera)
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "elsewhere"})
    ((name, sent),) = harness.streaming.calls
    assert name == "start"
    assert str(sent["rtsp_url"]).startswith("rtsp://mediamtx:8554/elsewhere?token=")


def test_a_new_path_starts_nothing_that_is_not_wanted(harness: ApiHarness) -> None:
    camera = harness.camera()
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "elsewhere"})
    assert harness.streaming.calls == []


def test_the_owner_of_a_wanted_camera_cannot_change(harness: ApiHarness) -> None:
    camera = harness.camera()
    _want(harness, camera)
    result = harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"owner": "bob"})
    _refused(result, 409, "stream_wanted")


def test_removing_stops_revokes_and_keeps_the_recordings(harness: ApiHarness) -> None:
    camera = harness.camera()
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    segment = a_segment(camera.id, start=0, end=30)
    harness.storage.segments.insert_many([segment])
    assert harness.call("DELETE", f"/camera/{camera.id}", who="root").status_code == 204
    assert camera.id not in harness.streaming.running
    assert not harness.wanted(camera.id)
    _refused(harness.call("GET", f"/camera/{camera.id}"), 404, "camera_not_found")
    assert harness.m2m("read-token", {"camera_id": str(camera.id)}).status_code == 403
    assert harness.storage.segments.get(camera.id, segment.id) == segment


def test_removing_with_recordings_marks_them_for_deletion(harness: ApiHarness) -> None:
    camera = harness.camera()
    harness.storage.segments.insert_many([a_segment(camera.id, start=0, end=30)])
    harness.call("DELETE", f"/camera/{camera.id}", who="root", query="recordings=delete")
    assert len(harness.storage.segments.deleting(limit=10)) == 1


def test_removing_succeeds_with_streaming_away(harness: ApiHarness) -> None:
    camera = harness.camera()
    _want(harness, camera)
    harness.streaming.failure = AWAY
    assert harness.call("DELETE", f"/camera/{camera.id}", who="root").status_code == 204
    assert not harness.wanted(camera.id)


def test_an_unknown_word_about_recordings_removes_nothing(harness: ApiHarness) -> None:
    camera = harness.camera()
    result = harness.call("DELETE", f"/camera/{camera.id}", who="root", query="recordings=all")
    _refused(result, 400, "invalid_request", "recordings")
    assert harness.storage.cameras.get(camera.id)


def test_what_is_not_there_can_be_neither_changed_nor_removed(harness: ApiHarness) -> None:
    unknown: UUID = uuid4()
    for method in ("GET", "PATCH", "DELETE"):
        result = harness.call(method, f"/camera/{unknown}", who="root")
        _refused(result, 404, "camera_not_found")


def test_the_setting_is_30_until_it_is_changed(harness: ApiHarness) -> None:
    path = "/settings/video_segment_seconds"
    assert harness.call("GET", path, who="root").json["value"] == 30
    assert harness.call("PUT", path, who="root", json={"value": 10}).json["value"] == 10
    assert harness.call("GET", path, who="root").json["value"] == 10


def test_a_changed_setting_reaches_every_wanted_active_stream(harness: ApiHarness) -> None:
    wanted, _other, inactive = harness.camera(), harness.camera(), harness.camera(status="inactive")
    _want(harness, wanted)
    _want(harness, inactive)
    harness.call("PUT", "/settings/video_segment_seconds", who="root", json={"value": 5})
    assert [(n, c["camera_id"], c["segment_seconds"]) for n, c in harness.streaming.calls] == [
        ("start", wanted.id, 5)
    ]


def test_a_setting_is_kept_with_streaming_away(harness: ApiHarness) -> None:
    for _ in range(3):
        _want(harness, harness.camera())
    harness.streaming.failure = AWAY
    path = "/settings/video_segment_seconds"
    assert harness.call("PUT", path, who="root", json={"value": 5}).status_code == 200
    assert harness.storage.settings.get("video_segment_seconds") == 5


@pytest.mark.parametrize("value", [0, 3601, True, 2.5, "30", None, [30]])
def test_a_bad_value_is_400(harness: ApiHarness, value: object) -> None:
    path = "/settings/video_segment_seconds"
    result = harness.call("PUT", path, who="root", json={"value": value})
    _refused(result, 400, "invalid_request", "value")
    _refused(harness.call("PUT", path, who="root"), 400, "invalid_request", "value")


def test_settings_are_the_admins(harness: ApiHarness) -> None:
    path = "/settings/video_segment_seconds"
    _refused(harness.call("GET", path), 403, "permission_denied")
    _refused(harness.call("PUT", path, json={"value": 5}), 403, "permission_denied")


def test_an_unknown_setting_is_404(harness: ApiHarness) -> None:
    result = harness.call("PUT", "/settings/other", who="root", json={"value": 5})
    _refused(result, 404, "setting_not_found")


def _on(harness: ApiHarness, path: str) -> set[str]:
    return {session.state for session in harness.media.there if session.path == path}


def _open_all(harness: ApiHarness, path: str) -> None:
    harness.media.open("publish", path)
    harness.media.open("read", path)


def test_a_path_that_another_camera_had_is_emptied_before_it_is_given(harness: ApiHarness) -> None:
    """By a change of the path, and by the removal of its camera."""
    first = harness.camera(path="yard/old")
    held = harness.tokens.sign_publish("alice", "yard/old", ttl_s=600).token
    harness.clock.advance(1)
    changed = harness.call("PATCH", f"/camera/{first.id}", who="root", json={"path": "yard/new"})
    assert changed.status_code == 200
    _open_all(
        harness, "yard/old"
    )  # its own camera records on there until the new path has a picture
    assert harness.media.done == []

    new = {"name": "x", "owner": "bob", "path": "yard/old"}
    second = harness.call("POST", "/camera", who="root", json=new)
    assert second.status_code == 201
    assert _on(harness, "yard/old") == set()
    asked = {"action": "publish", "protocol": "rtsp", "path": "yard/old", "token": held}
    assert harness.m2m("check-stream-pwd", asked, token=None).status_code == 401

    _open_all(harness, "yard/old")
    assert harness.call("DELETE", f"/camera/{second.json['id']}", who="root").status_code == 204
    back = harness.call("PATCH", f"/camera/{first.id}", who="root", json={"path": "yard/old"})
    assert back.status_code == 200
    assert _on(harness, "yard/old") == set()


def test_a_path_that_cannot_be_emptied_is_not_given_and_nothing_changes(
    harness: ApiHarness,
) -> None:
    first = harness.camera(path="yard/old")
    harness.call("PATCH", f"/camera/{first.id}", who="root", json={"path": "yard/new"})
    harness.media.away = True
    new = {"name": "x", "owner": "bob", "path": "yard/old"}
    refused = harness.call("POST", "/camera", who="root", json=new)
    assert (refused.status_code, refused.json["code"]) == (503, "path_not_emptied")
    assert "retry-after" in refused.headers
    mine = harness.camera(path="yard/mine")
    refused = harness.call("PATCH", f"/camera/{mine.id}", who="root", json={"path": "yard/old"})
    assert refused.status_code == 503
    assert harness.call("GET", f"/camera/{mine.id}", who="root").json["path"] == "yard/mine"
    owner = harness.call("PATCH", f"/camera/{mine.id}", who="root", json={"owner": "bob"})
    assert owner.status_code == 503
    assert harness.call("GET", f"/camera/{mine.id}", who="root").json["owner"] == "alice"
    harness.media.away = False
    assert harness.call("POST", "/camera", who="root", json=new).status_code == 201


def test_a_path_that_no_camera_had_needs_no_media_server(harness: ApiHarness) -> None:
    harness.media.away = True
    new = {"name": "x", "owner": "bob", "path": "yard/fresh"}
    assert harness.call("POST", "/camera", who="root", json=new).status_code == 201


def test_a_path_that_is_taken_is_not_emptied(harness: ApiHarness) -> None:
    first = harness.camera(path="yard/old")
    harness.call("PATCH", f"/camera/{first.id}", who="root", json={"path": "yard/x"})
    harness.call("PATCH", f"/camera/{first.id}", who="root", json={"path": "yard/old"})
    _open_all(harness, "yard/old")
    harness.media.done.clear()
    new = {"name": "x", "owner": "bob", "path": "yard/old"}
    _refused(harness.call("POST", "/camera", who="root", json=new), 409, "path_taken")
    other = harness.camera(path="yard/other")
    taken = harness.call("PATCH", f"/camera/{other.id}", who="root", json={"path": "yard/old"})
    _refused(taken, 409, "path_taken")
    assert _on(harness, "yard/old") == {"publish", "read"}
    assert harness.media.done == []


def test_a_pulled_path_is_forgotten_before_another_camera_gets_it(harness: ApiHarness) -> None:
    first = harness.camera(path="yard/old")
    harness.storage.sources.note_path("yard/old")
    harness.call("DELETE", f"/camera/{first.id}", who="root")
    new = {"name": "x", "owner": "bob", "path": "yard/old"}
    assert harness.call("POST", "/camera", who="root", json=new).status_code == 201
    assert ("forget", "yard/old") in harness.media.done
    assert harness.storage.sources.paths_set() == set()


def test_a_change_of_the_owner_ends_everybodys_sessions_and_links(harness: ApiHarness) -> None:
    camera = harness.camera(path="yard/door")
    held = [
        harness.tokens.sign_publish("root", "yard/door", ttl_s=600).token,
        harness.tokens.sign_publish("alice", "yard/door", ttl_s=600).token,
    ]
    view = harness.tokens.sign_view("carol", "yard/door", ttl_s=600).token
    harness.clock.advance(1)
    _open_all(harness, "yard/door")
    harness.media.open("read", "yard/other")
    harness.storage.sources.note_path("yard/door")
    changed = harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"owner": "bob"})
    assert changed.status_code == 200
    assert _on(harness, "yard/door") == set()
    assert _on(harness, "yard/other") == {"read"}
    assert harness.storage.sources.paths_set() == {"yard/door"}, "its source stays the camera's"
    for action, token in [("publish", held[0]), ("publish", held[1]), ("read", view)]:
        asked = {"action": action, "protocol": "rtsp", "path": "yard/door", "token": token}
        assert harness.m2m("check-stream-pwd", asked, token=None).status_code == 401
    harness.clock.advance(1)
    fresh = harness.tokens.sign_publish("bob", "yard/door", ttl_s=600).token
    asked = {"action": "publish", "protocol": "rtsp", "path": "yard/door", "token": fresh}
    assert harness.m2m("check-stream-pwd", asked, token=None).status_code == 200


def test_a_new_owner_has_neither_the_recordings_nor_the_guests_of_the_former_one(
    harness: ApiHarness,
) -> None:
    camera = harness.camera(path="yard/door")
    for action in ("view", "recordings"):
        grant(harness.storage.grants, camera.id, "eve", action)
    before = a_segment(camera.id, start=0, end=30)
    harness.storage.segments.insert_many([before])
    harness.clock.wall = at(3600)
    base = f"/camera/{camera.id}"
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
    query = f"from={span['from']}&to={span['to']}"
    assert len(harness.call("GET", f"{base}/recordings", query=query).json["items"]) == 1
    changed = harness.call("PATCH", base, who="root", json={"owner": "bob"})
    assert changed.status_code == 200

    def count(who: str) -> int:
        return len(harness.call("GET", f"{base}/recordings", who=who, query=query).json["items"])

    assert count("bob") == 0
    assert harness.call("GET", f"{base}/recordings/{before.id}", who="bob").status_code == 403
    export = harness.call("POST", f"{base}/exports", who="bob", json=span)
    assert export.status_code == 403
    play = harness.call("POST", f"{base}/recordings/play_token", who="bob", json=span).json
    playlist = harness.call(
        "GET", f"{base}/recordings/playlist.m3u8", who=None, query=f"{query}&token={play['token']}"
    )
    assert playlist.status_code in {403, 404}
    for who in ("eve", "alice"):  # whom only the former owner knew, and that one
        for path in ("", "/recordings", "/snapshot.jpg", "/preview"):
            assert harness.call("GET", f"{base}{path}", who=who).status_code == 404
    assert count("root") == 1, "administrators hand out what the former owner may have"
    given = harness.call("PUT", f"{base}/grants/eve", who="bob", json={"actions": ["recordings"]})
    assert given.status_code == 200
    assert count("eve") == 0, "nobody can grant what is not theirs"
    later = a_segment(camera.id, start=3700, end=3730)
    harness.storage.segments.insert_many([later])
    assert (count("bob"), count("eve"), count("root")) == (1, 1, 2)
