"""What goes into the audit trail, and how it is read."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest

from streamwarden.http.api.audit_routes import TRIES
from streamwarden.model import AuditEvent, Camera
from tests.fakes.storage_samples import NOON, grant
from tests.unit.http.conftest import ApiHarness


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    harness.clock.wall = NOON
    return harness.camera()


def actions(harness: ApiHarness) -> list[tuple[str, str, str]]:
    return [(event.who, event.action, event.outcome) for event in harness.audit.events]


def test_who_starts_stops_watches_and_is_refused_is_noted(
    harness: ApiHarness, camera: Camera
) -> None:
    base = f"/camera/{camera.id}"
    grant(harness.storage.grants, camera.id, "bob", "view")
    harness.call("POST", f"{base}/stream/connect", headers={"X-Request-Id": "id-1"})
    harness.call("GET", f"{base}/preview", who="bob")
    harness.call("POST", f"{base}/stream/disconnect", who="bob")
    harness.call("GET", f"{base}/stream/status")
    assert actions(harness) == [
        ("alice", "start", "done"),
        ("bob", "watch_live", "done"),
        ("bob", "stop", "refused"),
    ]
    first = harness.audit.events[0]
    assert (first.camera_id, first.request_id, first.address) == (camera.id, "id-1", "127.0.0.1")


def test_what_was_granted_to_whom_is_noted(harness: ApiHarness, camera: Camera) -> None:
    path = f"/camera/{camera.id}/grants/bob"
    harness.call("PUT", path, json={"actions": ["view", "publish"]})
    harness.call("PUT", path, json={"actions": ["view"]})
    harness.call("DELETE", path)
    assert [
        (event.action, event.subject, json.loads(event.detail)) for event in harness.audit.events
    ] == [
        ("grant", "bob", {"actions": ["publish", "view"]}),
        ("grant", "bob", {"actions": ["view"], "withdrawn": ["publish"]}),
        ("withdraw_grant", "bob", {"withdrawn": ["view"]}),
    ]


def test_a_link_an_export_and_a_setting_say_what_they_were(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.call("GET", f"/camera/{camera.id}/publish_rtsp_url", query="ttl=60")
    body = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}
    harness.call("POST", f"/camera/{camera.id}/exports", json=body)
    harness.call("PUT", "/settings/video_segment_seconds", who="root", json={"value": 5})
    details = [json.loads(event.detail) for event in harness.audit.events]
    assert details == [
        {"expires_at": "2026-03-01T12:01:00.000Z"},
        {"from": "2026-03-01T11:00:00.000Z", "to": "2026-03-01T12:00:00.000Z"},
        {"key": "video_segment_seconds"},
    ]


def test_watching_is_noted_once_not_for_each_file(harness: ApiHarness, camera: Camera) -> None:
    live = f"/camera/{camera.id}/live.m3u8"
    token = harness.call("POST", f"/camera/{camera.id}/recordings/play_token", json={}).json[
        "token"
    ]
    for _ in range(3):
        harness.call("GET", live, who=None, query=f"token={token}")
        harness.call("GET", live)
    assert actions(harness) == [
        ("alice", "watch_recordings", "done"),
        ("alice", "watch_live", "done"),
    ]
    harness.clock.advance(61)
    harness.call("GET", live)
    assert len(actions(harness)) == 3


def test_a_refusal_that_is_repeated_does_not_fill_the_trail(
    harness: ApiHarness, camera: Camera
) -> None:
    grant(harness.storage.grants, camera.id, "bob", "view")
    for _ in range(5):
        harness.call("POST", f"/camera/{camera.id}/stream/connect", who="bob")
        harness.call("POST", f"/camera/{camera.id}/stream/connect", who="carol")
    assert actions(harness) == [("bob", "start", "refused"), ("carol", "start", "refused")]


def test_who_tries_what_they_may_not_know_is_noted(harness: ApiHarness, camera: Camera) -> None:
    """A camera of somebody else's and one that does not exist look alike to who asks, here too."""
    for camera_id in (camera.id, UUID(int=7)):
        base = f"/camera/{camera_id}"
        for method, path in (
            ("GET", base),
            ("GET", f"{base}/recordings"),
            ("GET", f"{base}/snapshot.jpg"),
            ("POST", f"{base}/stream/disconnect"),
        ):
            assert harness.call(method, path, who="eve").status_code == 404
    assert actions(harness) == 2 * [
        ("eve", "see_camera", "refused"),
        ("eve", "list_recordings", "refused"),
        ("eve", "watch_live", "refused"),
        ("eve", "stop", "refused"),
    ]
    assert {event.camera_id for event in harness.audit.events} == {camera.id, UUID(int=7)}
    assert {event.detail for event in harness.audit.events} == {'{"answer": "camera_not_found"}'}


def test_made_up_cameras_do_not_fill_the_trail(harness: ApiHarness) -> None:
    def try_many(who: str) -> list[AuditEvent]:
        harness.audit.events.clear()
        for number in range(50):
            harness.call("GET", f"/camera/{UUID(int=number)}", who=who)
        return [event for event in harness.audit.events if event.who == who]

    found = try_many("eve")
    assert len(found) == TRIES
    told = [json.loads(event.detail) for event in found]
    assert [one.get("more_not_noted_for_s") for one in told] == [None] * (TRIES - 1) + [60]
    assert len(try_many("mallory")) == TRIES, "each user has a bound of their own"
    harness.clock.advance(60)
    assert len(try_many("eve")) == TRIES


def test_what_is_not_there_of_ones_own_is_no_try(harness: ApiHarness, camera: Camera) -> None:
    gone = f"/camera/{camera.id}/recordings/{UUID(int=9)}"
    assert harness.call("GET", gone).status_code == 404
    assert harness.audit.events == []


def test_a_play_token_that_is_refused_is_noted_for_its_user(
    harness: ApiHarness, camera: Camera
) -> None:
    token = harness.play_tokens.sign(
        "bob", UUID(int=7), live=True, recorded=None, ttl_s=60, asked_at=harness.clock.now()
    ).token
    harness.call("GET", f"/camera/{camera.id}/live.m3u8", who=None, query=f"token={token}")
    assert actions(harness) == [("bob", "watch_live", "refused")]


def test_what_came_to_nothing_is_noted_as_failed(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.down = True
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    assert actions(harness) == [("alice", "start", "failed")]


def event(number: int, **more: object) -> AuditEvent:
    fields: dict[str, object] = {
        "id": UUID(int=number),
        "at": NOON + timedelta(seconds=number),
        "who": "alice",
        "action": "start",
        "outcome": "done",
        "address": "192.0.2.7",
        "detail": '{"a": 1}',
    }
    return AuditEvent(**{**fields, **more})  # type: ignore[arg-type]  # the test names real fields


def test_an_admin_reads_the_trail_newest_first_and_page_by_page(harness: ApiHarness) -> None:
    harness.clock.wall = NOON + timedelta(hours=1)
    harness.storage.audit.insert_many([event(n) for n in range(3)])
    first = harness.call("GET", "/ops/audit", who="root", query="limit=2").json
    assert [item["at"] for item in first["items"]] == [
        "2026-03-01T12:00:02.000Z",
        "2026-03-01T12:00:01.000Z",
    ]
    assert first["items"][0]["detail"] == {"a": 1}
    query = f"limit=2&cursor={first['next_cursor']}"
    second = harness.call("GET", "/ops/audit", who="root", query=query).json
    assert [len(second["items"]), second["next_cursor"]] == [1, None]


def test_the_trail_is_read_by_camera_user_and_time(harness: ApiHarness, camera: Camera) -> None:
    harness.clock.wall = NOON + timedelta(days=8)
    rows = [event(1, camera_id=camera.id), event(2, who="bob"), event(3, subject="bob")]
    harness.storage.audit.insert_many(rows)

    def seconds(query: str) -> list[str]:
        items = harness.call("GET", "/ops/audit", who="root", query=query).json["items"]
        return [item["at"][17:19] for item in items]

    since = "from=2026-03-01T00:00:00Z"
    assert seconds("") == []
    assert seconds(since) == ["03", "02", "01"]
    assert seconds(f"{since}&camera={camera.id}") == ["01"]
    assert seconds(f"{since}&user=bob") == ["03", "02"]
    assert seconds("from=2026-03-01T12:00:02Z&to=2026-03-01T12:00:03Z") == ["02"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "camera=x", "cursor=x", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z"],
)
def test_a_question_that_makes_no_sense_is_refused(harness: ApiHarness, query: str) -> None:
    assert harness.call("GET", "/ops/audit", who="root", query=query).status_code == 400
