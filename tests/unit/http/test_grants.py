"""Grants, their windows, and what is left of what was held when they go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from falcon import testing

from streamwarden.http.api import grant_routes
from streamwarden.model import Camera, Gap, Segment
from tests.fakes.storage_samples import NOON, a_gap, a_segment, at
from tests.unit.http.conftest import ApiHarness

HALF_PAST = "2026-03-01T12:30:00.000Z"


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    harness.clock.wall = NOON + timedelta(days=1)
    return harness.camera(path="house/door")


@pytest.fixture
def segments(harness: ApiHarness, camera: Camera) -> list[Segment]:
    """Two hours from noon, in segments of ten minutes; half past twelve is where one ends."""
    found = [
        a_segment(camera.id, start=600 * n, end=600 * (n + 1), init_bytes=100) for n in range(12)
    ]
    harness.storage.segments.insert_many(found)
    return found


def grant(
    harness: ApiHarness, camera: Camera, *actions: str, user: str = "bob", **window: str
) -> object:
    path = f"/camera/{camera.id}/grants/{user}"
    result = harness.call("PUT", path, json={"actions": list(actions), **window})
    assert result.status_code == 200, result.text
    return result.json


def hook(harness: ApiHarness, camera: Camera, token: str, action: str = "read") -> int:
    body = {"action": action, "protocol": "rtsp", "path": camera.path, "token": token, "id": "s1"}
    return harness.m2m("check-stream-pwd", body).status_code


def preview(harness: ApiHarness, camera: Camera, who: str = "bob") -> str:
    return str(harness.call("GET", f"/camera/{camera.id}/preview", who=who).json["token"])


def link(harness: ApiHarness, camera: Camera, who: str = "alice") -> str:
    url = harness.call("GET", f"/camera/{camera.id}/publish_rtsp_url", who=who).json
    return str(url["publish_rtsp_url"]).rpartition("token=")[2]


def play(harness: ApiHarness, camera: Camera, who: str = "bob", **body: str) -> testing.Result:
    path = f"/camera/{camera.id}/recordings/play_token"
    return harness.call("POST", path, who=who, json=body)


def status(harness: ApiHarness, path: str, token: str) -> int:
    return int(harness.call("GET", path, who=None, query=f"token={token}").status_code)


def test_a_grant_is_given_shown_replaced_and_taken_back(
    harness: ApiHarness, camera: Camera
) -> None:
    given = grant(harness, camera, "recordings", "view", recordings_until=HALF_PAST)
    assert given == {
        "user": "bob",
        "actions": ["recordings", "view"],
        "recordings_from": None,
        "recordings_until": HALF_PAST,
    }
    grant(harness, camera, "publish", user="carol|1")
    path = f"/camera/{camera.id}/grants"
    shown = harness.call("GET", path).json["items"]
    assert shown[0] == given
    assert (shown[1]["user"], shown[1]["actions"]) == ("carol|1", ["publish"])
    grant(harness, camera, "control")
    assert harness.call("GET", path).json["items"][0]["actions"] == ["control"]
    for _ in range(2):
        assert harness.call("DELETE", f"{path}/bob").status_code == 204
    assert [item["user"] for item in harness.call("GET", path).json["items"]] == ["carol|1"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"actions": []}, "actions"),
        ({"actions": ["burn"]}, "actions.0"),
        ({"actions": ["view"], "recordings_from": HALF_PAST}, "recordings_from"),
        (
            {
                "actions": ["recordings"],
                "recordings_from": HALF_PAST,
                "recordings_until": HALF_PAST,
            },
            "recordings_from",
        ),
        ({"actions": ["recordings"], "recordings_from": "yesterday"}, "recordings_from"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(
    harness: ApiHarness, camera: Camera, body: object, field: str
) -> None:
    result = harness.call("PUT", f"/camera/{camera.id}/grants/bob", json=body)
    assert (result.status_code, result.json["field"]) == (400, field)


@pytest.mark.parametrize("user", ["alice", "a" * 256, "a%0Ab"])
def test_nobody_is_granted_who_cannot_be_or_needs_none(
    harness: ApiHarness, camera: Camera, user: str
) -> None:
    path = f"/camera/{camera.id}/grants/{user}"
    result = harness.call("PUT", path, json={"actions": ["view"]})
    assert (result.status_code, result.json["field"]) == (400, "user")


def test_what_a_withdrawn_grant_gave_counts_for_nothing_at_once(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    grant(harness, camera, "view", "recordings", "publish")
    watch, push = preview(harness, camera), link(harness, camera, "bob")
    played = play(harness, camera, **{"from": "2026-03-01T12:00:00Z"}).json["token"]
    live = play(harness, camera).json["token"]
    file = f"/camera/{camera.id}/recordings/{segments[0].id}"
    of_alice = preview(harness, camera, "alice")
    opened: list[Callable[[], int]] = [
        lambda: hook(harness, camera, watch),
        lambda: hook(harness, camera, push, "publish"),
        lambda: status(harness, file, played),
        lambda: (
            harness.call(
                "GET", f"/camera/{camera.id}/live.m3u8", who=None, query=f"token={live}"
            ).status_code
        ),
    ]
    assert [one() for one in opened] == [200] * 4

    harness.clock.advance(0.001)
    assert harness.call("DELETE", f"/camera/{camera.id}/grants/bob").status_code == 204

    assert [one() for one in opened] == [401, 401, 403, 403]
    assert harness.wakes
    assert hook(harness, camera, of_alice) == 200
    harness.clock.advance(0.001)
    grant(harness, camera, "view")
    assert hook(harness, camera, watch) == 401
    assert hook(harness, camera, preview(harness, camera)) == 200


def test_a_grant_that_grows_takes_nothing(harness: ApiHarness, camera: Camera) -> None:
    grant(harness, camera, "view", "recordings", recordings_until=HALF_PAST)
    watch = preview(harness, camera)
    grant(harness, camera, "view", "recordings", "control")
    assert hook(harness, camera, watch) == 200
    assert harness.storage.tables.denials == {}


def test_a_grant_that_is_narrowed_takes_what_it_gave(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    grant(harness, camera, "recordings")
    whole = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T14:00:00Z"}
    token = play(harness, camera, **whole).json["token"]
    harness.clock.advance(1)
    grant(harness, camera, "recordings", recordings_until=HALF_PAST)
    file = f"/camera/{camera.id}/recordings/{segments[0].id}"
    assert harness.call("GET", file, who=None, query=f"token={token}").status_code == 403
    assert harness.call("GET", file, who="bob").status_code == 200


def test_a_window_shows_what_lies_wholly_within_it(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    window = {"recordings_from": "2026-03-01T12:05:00Z", "recordings_until": HALF_PAST}
    gap = Gap(
        id=segments[0].id,
        camera_id=camera.id,
        started_at=at(-600),
        ended_at=at(400),
        cause="stalled",
    )
    harness.storage.gaps.upsert_many([gap])
    grant(harness, camera, "recordings", **window)
    base = f"/camera/{camera.id}/recordings"
    query = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"

    listed = harness.call("GET", base, who="bob", query=query).json["items"]
    shown = [item["id"] for item in listed if item["kind"] == "segment"]
    assert shown == [str(segments[1].id), str(segments[2].id)]
    (shown_gap,) = [item for item in listed if item["kind"] == "gap"]
    assert shown_gap["started_at"] == "2026-03-01T12:05:00.000Z"
    assert shown_gap["ended_at"] == "2026-03-01T12:06:40.000Z"
    statuses = [
        harness.call("GET", f"{base}/{one.id}", who="bob").status_code for one in segments[:4]
    ]
    assert statuses == [403, 200, 200, 403]
    assert len(harness.call("GET", base, query=query).json["items"]) == 13, "the owner sees it all"
    later = "from=2026-03-01T13:00:00Z&to=2026-03-01T14:00:00Z"
    assert harness.call("GET", base, who="bob", query=later).json["items"] == []


@pytest.mark.parametrize(
    ("window", "ended_at"),
    [
        ({"recordings_until": HALF_PAST}, HALF_PAST),
        ({"recordings_from": "2026-03-01T12:00:30.000Z"}, None),
    ],
)
def test_an_open_gap_is_shown_up_to_the_end_of_the_window(
    harness: ApiHarness, camera: Camera, window: dict[str, str], ended_at: str | None
) -> None:
    harness.storage.gaps.upsert_many([a_gap(camera.id, start=60, end=None)])
    grant(harness, camera, "recordings", **window)
    query = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"
    listed = harness.call("GET", f"/camera/{camera.id}/recordings", who="bob", query=query).json
    assert [item["ended_at"] for item in listed["items"]] == [ended_at]


def test_a_window_limits_playlists_play_tokens_and_exports(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    grant(harness, camera, "recordings", recordings_from="2026-03-01T12:05:00Z")
    base = f"/camera/{camera.id}/recordings"
    whole = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:30:00Z"}
    query = "&".join(f"{name}={value}" for name, value in whole.items())
    assert harness.call("GET", f"{base}/playlist.m3u8", who="bob", query=query).status_code == 403

    signed = play(harness, camera, **whole).json
    assert (signed["from"], signed["to"]) == ("2026-03-01T12:05:00.000Z", HALF_PAST)
    token = f"token={signed['token']}"
    text = harness.call("GET", f"{base}/playlist.m3u8", who=None, query=token).text
    assert [str(one.id) in text for one in segments[:4]] == [False, True, True, False]
    statuses = [
        harness.call("GET", f"{base}/{one.id}", who=None, query=token).status_code
        for one in segments[:4]
    ]
    assert statuses == [403, 200, 200, 403]
    exports = f"/camera/{camera.id}/exports"
    assert harness.call("POST", exports, who="bob", json=whole).status_code == 403
    within = {**whole, "from": "2026-03-01T12:05:00Z"}
    assert harness.call("POST", exports, who="bob", json=within).status_code == 202
    early = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}
    assert play(harness, camera, **early).status_code == 403


def test_an_export_is_shown_only_while_its_time_may_be_seen(
    harness: ApiHarness, camera: Camera, segments: list[Segment]
) -> None:
    assert segments
    grant(harness, camera, "recordings")
    exports = f"/camera/{camera.id}/exports"
    body = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}
    made = harness.call("POST", exports, who="bob", json=body).json["id"]
    assert harness.call("GET", f"{exports}/{made}", who="bob").status_code == 200
    grant(harness, camera, "recordings", recordings_until=HALF_PAST)
    assert harness.call("GET", f"{exports}/{made}", who="bob").status_code == 404
    assert harness.call("GET", exports, who="bob").json["items"] == []
    assert len(harness.call("GET", exports).json["items"]) == 1


def test_links_are_withdrawn_and_the_next_one_is_good(harness: ApiHarness, camera: Camera) -> None:
    old = link(harness, camera)
    assert hook(harness, camera, old, "publish") == 200
    harness.clock.advance(0.001)
    result = harness.call("POST", f"/camera/{camera.id}/publish_rtsp_url/revoke")
    assert result.json == {"issued_before": "2026-03-02T12:00:00.001Z"}
    assert hook(harness, camera, old, "publish") == 401
    harness.clock.advance(0.001)
    assert hook(harness, camera, link(harness, camera), "publish") == 200


@pytest.mark.parametrize("how", ["deactivate", "delete"])
def test_nothing_opens_a_camera_that_was_retired(
    harness: ApiHarness, camera: Camera, how: str
) -> None:
    record = harness.tokens.sign_record(camera.id, camera.path, ttl_s=300).token
    tokens = [(preview(harness, camera, "alice"), "read"), (record, "read")]
    tokens.append((link(harness, camera), "publish"))
    assert [hook(harness, camera, *one) for one in tokens] == [200] * 3
    harness.clock.advance(1)
    path = f"/camera/{camera.id}"
    if how == "delete":
        assert harness.call("DELETE", path, who="root").status_code == 204
    else:
        assert (
            harness.call("PATCH", path, who="root", json={"status": "inactive"}).status_code == 200
        )
    assert [hook(harness, camera, *one) for one in tokens] == [401] * 3


def test_a_path_that_another_camera_gets_opens_with_none_of_the_old_tokens(
    harness: ApiHarness, camera: Camera
) -> None:
    tokens = [(preview(harness, camera, "alice"), "read"), (link(harness, camera), "publish")]
    harness.clock.advance(1)
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "house/back"})
    other = harness.camera(path="house/door", owner="carol")
    assert [hook(harness, other, *one) for one in tokens] == [401] * 2


def test_a_former_owner_keeps_nothing(harness: ApiHarness, camera: Camera) -> None:
    tokens = [(preview(harness, camera, "alice"), "read"), (link(harness, camera), "publish")]
    harness.clock.advance(1)
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"owner": "carol"})
    assert [hook(harness, camera, *one) for one in tokens] == [401] * 2


def test_a_disconnected_cameras_recorder_reads_no_more_until_it_is_connected_again(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    record = harness.tokens.sign_record(camera.id, camera.path, ttl_s=300).token
    watch = preview(harness, camera, "alice")
    harness.clock.advance(1)
    harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (hook(harness, camera, record), hook(harness, camera, watch)) == (401, 200)
    harness.clock.advance(1)
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    url = str(harness.streaming.calls[-1][1]["rtsp_url"])
    assert hook(harness, camera, url.rpartition("token=")[2]) == 200


def test_a_block_takes_all_that_a_user_holds_and_lifting_it_gives_none_back(
    harness: ApiHarness, camera: Camera
) -> None:
    push, watch = link(harness, camera), preview(harness, camera, "alice")
    harness.clock.advance(1)
    path = "/user/blocked"
    assert (
        harness.call("PUT", f"{path}/alice", who="root", json={"note": "left"}).status_code == 204
    )
    listed = harness.call("GET", path, who="root").json["items"]
    assert [(row["user"], row["blocked_by"], row["note"]) for row in listed] == [
        ("alice", "root", "left")
    ]
    assert harness.call("GET", "/camera").json["code"] == "user_blocked"
    assert [hook(harness, camera, push, "publish"), hook(harness, camera, watch)] == [401, 401]
    harness.clock.advance(1)
    for _ in range(2):
        assert harness.call("DELETE", f"{path}/alice", who="root").status_code == 204
    assert harness.call("GET", "/camera").status_code == 200
    assert [hook(harness, camera, push, "publish"), hook(harness, camera, watch)] == [401, 401]
    assert hook(harness, camera, preview(harness, camera, "alice")) == 200


def test_nobody_locks_themselves_out(harness: ApiHarness) -> None:
    result = harness.call("PUT", "/user/blocked/root", who="root", json={})
    assert (result.status_code, result.json["field"]) == (400, "user")


def test_the_hook_notes_whose_session_is_whose(harness: ApiHarness, camera: Camera) -> None:
    assert hook(harness, camera, preview(harness, camera, "alice")) == 200
    claims = harness.sessions.claims_of("s1")
    assert claims is not None
    assert (claims.sub, claims.path) == ("alice", camera.path)
    assert hook(harness, camera, "nonsense") == 401
    assert len(harness.sessions) == 1


def test_a_clock_that_is_set_back_neither_saves_a_link_nor_spoils_the_next(
    harness: ApiHarness, camera: Camera
) -> None:
    base = f"/camera/{camera.id}"
    harness.clock.advance(3600)
    of_the_future = link(harness, camera)
    harness.call("POST", f"{base}/stream/connect")
    harness.call("POST", f"{base}/stream/disconnect")
    harness.clock.advance(-7200)
    assert harness.call("POST", f"{base}/publish_rtsp_url/revoke").status_code == 200
    assert hook(harness, camera, of_the_future, "publish") == 401
    fresh = link(harness, camera)
    assert hook(harness, camera, fresh, "publish") == 200
    harness.call("POST", f"{base}/stream/connect")
    url = str(harness.streaming.calls[-1][1]["rtsp_url"])
    assert hook(harness, camera, url.rpartition("token=")[2]) == 200
    harness.memory.refresh()
    respawn = harness.m2m("read-token", {"camera_id": str(camera.id)}).json["rtsp_url"]
    assert hook(harness, camera, respawn.rpartition("token=")[2]) == 200
    harness.call("POST", f"{base}/publish_rtsp_url/revoke")
    assert hook(harness, camera, fresh, "publish") == 401


def test_an_owner_cannot_make_denials_by_inventing_users(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grant_routes, "MOST_USERS_OF_CAMERA", 3)
    for number in range(3):
        grant(harness, camera, "view", user=f"user{number}")
        path = f"/camera/{camera.id}/grants/user{number}"
        assert harness.call("DELETE", path).status_code == 204
    path = f"/camera/{camera.id}/grants/another"
    refused = harness.call("PUT", path, json={"actions": ["view"]})
    assert (refused.status_code, refused.json["code"]) == (409, "too_many_grants")
    assert harness.call("DELETE", path).status_code == 204
    grant(harness, camera, "view", user="user1")
    other = harness.camera(path="house/garden")
    grant(harness, other, "view", user="another")
