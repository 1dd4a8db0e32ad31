"""Grants, their windows, and what is left of what was held when they go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from falcon import testing

from streamwarden.model import Camera, Gap, Segment
from tests.fakes.storage_samples import NOON, a_segment, at
from tests.unit.http.conftest import Bench

HALF_PAST = "2026-03-01T12:30:00.000Z"


@pytest.fixture
def camera(bench: Bench) -> Camera:
    bench.clock.wall = NOON + timedelta(days=1)
    return bench.camera(path="house/door")


@pytest.fixture
def segments(bench: Bench, camera: Camera) -> list[Segment]:
    """Two hours from noon, in segments of ten minutes; half past twelve is where one ends."""
    found = [
        a_segment(camera.id, start=600 * n, end=600 * (n + 1), init_bytes=100) for n in range(12)
    ]
    bench.storage.segments.insert_many(found)
    return found


def grant(bench: Bench, camera: Camera, *actions: str, user: str = "bob", **window: str) -> object:
    path = f"/camera/{camera.id}/grants/{user}"
    result = bench.call("PUT", path, json={"actions": list(actions), **window})
    assert result.status_code == 200, result.text
    return result.json


def hook(bench: Bench, camera: Camera, token: str, action: str = "read") -> int:
    body = {"action": action, "protocol": "rtsp", "path": camera.path, "token": token, "id": "s1"}
    return bench.m2m("check-stream-pwd", body).status_code


def preview(bench: Bench, camera: Camera, who: str = "bob") -> str:
    return str(bench.call("GET", f"/camera/{camera.id}/preview", who=who).json["token"])


def link(bench: Bench, camera: Camera, who: str = "alice") -> str:
    url = bench.call("GET", f"/camera/{camera.id}/publish_rtsp_url", who=who).json
    return str(url["publish_rtsp_url"]).rpartition("token=")[2]


def play(bench: Bench, camera: Camera, who: str = "bob", **body: str) -> testing.Result:
    path = f"/camera/{camera.id}/recordings/play_token"
    return bench.call("POST", path, who=who, json=body)


def status(bench: Bench, path: str, token: str) -> int:
    return int(bench.call("GET", path, who=None, query=f"token={token}").status_code)


def test_a_grant_is_given_shown_replaced_and_taken_back(bench: Bench, camera: Camera) -> None:
    given = grant(bench, camera, "recordings", "view", recordings_until=HALF_PAST)
    assert given == {
        "user": "bob",
        "actions": ["recordings", "view"],
        "recordings_from": None,
        "recordings_until": HALF_PAST,
    }
    grant(bench, camera, "publish", user="carol|1")
    path = f"/camera/{camera.id}/grants"
    shown = bench.call("GET", path).json["items"]
    assert shown[0] == given
    assert (shown[1]["user"], shown[1]["actions"]) == ("carol|1", ["publish"])
    grant(bench, camera, "control")
    assert bench.call("GET", path).json["items"][0]["actions"] == ["control"]
    for _ in range(2):
        assert bench.call("DELETE", f"{path}/bob").status_code == 204
    assert [item["user"] for item in bench.call("GET", path).json["items"]] == ["carol|1"]


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
    bench: Bench, camera: Camera, body: object, field: str
) -> None:
    result = bench.call("PUT", f"/camera/{camera.id}/grants/bob", json=body)
    assert (result.status_code, result.json["field"]) == (400, field)


@pytest.mark.parametrize("user", ["alice", "a" * 256, "a%0Ab"])
def test_nobody_is_granted_who_cannot_be_or_needs_none(
    bench: Bench, camera: Camera, user: str
) -> None:
    path = f"/camera/{camera.id}/grants/{user}"
    result = bench.call("PUT", path, json={"actions": ["view"]})
    assert (result.status_code, result.json["field"]) == (400, "user")


def test_what_a_withdrawn_grant_gave_counts_for_nothing_at_once(
    bench: Bench, camera: Camera, segments: list[Segment]
) -> None:
    grant(bench, camera, "view", "recordings", "publish")
    watch, push = preview(bench, camera), link(bench, camera, "bob")
    played = play(bench, camera, **{"from": "2026-03-01T12:00:00Z"}).json["token"]
    live = play(bench, camera).json["token"]
    file = f"/camera/{camera.id}/recordings/{segments[0].id}"
    of_alice = preview(bench, camera, "alice")
    opened: list[Callable[[], int]] = [
        lambda: hook(bench, camera, watch),
        lambda: hook(bench, camera, push, "publish"),
        lambda: status(bench, file, played),
        lambda: (
            bench.call(
                "GET", f"/camera/{camera.id}/live.m3u8", who=None, query=f"token={live}"
            ).status_code
        ),
    ]
    assert [one() for one in opened] == [200] * 4

    bench.clock.advance(0.001)
    assert bench.call("DELETE", f"/camera/{camera.id}/grants/bob").status_code == 204

    assert [one() for one in opened] == [401, 401, 403, 403]
    assert bench.wakes
    assert hook(bench, camera, of_alice) == 200
    bench.clock.advance(0.001)
    grant(bench, camera, "view")
    assert hook(bench, camera, watch) == 401
    assert hook(bench, camera, preview(bench, camera)) == 200


def test_a_grant_that_grows_takes_nothing(bench: Bench, camera: Camera) -> None:
    grant(bench, camera, "view", "recordings", recordings_until=HALF_PAST)
    watch = preview(bench, camera)
    grant(bench, camera, "view", "recordings", "control")
    assert hook(bench, camera, watch) == 200
    assert bench.storage.tables.denials == {}


def test_a_grant_that_is_narrowed_takes_what_it_gave(
    bench: Bench, camera: Camera, segments: list[Segment]
) -> None:
    grant(bench, camera, "recordings")
    whole = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T14:00:00Z"}
    token = play(bench, camera, **whole).json["token"]
    bench.clock.advance(1)
    grant(bench, camera, "recordings", recordings_until=HALF_PAST)
    file = f"/camera/{camera.id}/recordings/{segments[0].id}"
    assert bench.call("GET", file, who=None, query=f"token={token}").status_code == 403
    assert bench.call("GET", file, who="bob").status_code == 200


def test_a_window_shows_what_lies_wholly_within_it(
    bench: Bench, camera: Camera, segments: list[Segment]
) -> None:
    window = {"recordings_from": "2026-03-01T12:05:00Z", "recordings_until": HALF_PAST}
    gap = Gap(
        id=segments[0].id,
        camera_id=camera.id,
        started_at=at(-600),
        ended_at=at(400),
        cause="stalled",
    )
    bench.storage.gaps.upsert_many([gap])
    grant(bench, camera, "recordings", **window)
    base = f"/camera/{camera.id}/recordings"
    query = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"

    listed = bench.call("GET", base, who="bob", query=query).json["items"]
    shown = [item["id"] for item in listed if item["kind"] == "segment"]
    assert shown == [str(segments[1].id), str(segments[2].id)]
    (shown_gap,) = [item for item in listed if item["kind"] == "gap"]
    assert shown_gap["started_at"] == "2026-03-01T12:05:00.000Z"
    assert shown_gap["ended_at"] == "2026-03-01T12:06:40.000Z"
    statuses = [
        bench.call("GET", f"{base}/{one.id}", who="bob").status_code for one in segments[:4]
    ]
    assert statuses == [403, 200, 200, 403]
    assert len(bench.call("GET", base, query=query).json["items"]) == 13, "the owner sees it all"
    later = "from=2026-03-01T13:00:00Z&to=2026-03-01T14:00:00Z"
    assert bench.call("GET", base, who="bob", query=later).json["items"] == []


def test_a_window_limits_playlists_play_tokens_and_exports(
    bench: Bench, camera: Camera, segments: list[Segment]
) -> None:
    grant(bench, camera, "recordings", recordings_from="2026-03-01T12:05:00Z")
    base = f"/camera/{camera.id}/recordings"
    whole = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:30:00Z"}
    query = "&".join(f"{name}={value}" for name, value in whole.items())
    assert bench.call("GET", f"{base}/playlist.m3u8", who="bob", query=query).status_code == 403

    signed = play(bench, camera, **whole).json
    assert (signed["from"], signed["to"]) == ("2026-03-01T12:05:00.000Z", HALF_PAST)
    token = f"token={signed['token']}"
    text = bench.call("GET", f"{base}/playlist.m3u8", who=None, query=token).text
    assert [str(one.id) in text for one in segments[:4]] == [False, True, True, False]
    statuses = [
        bench.call("GET", f"{base}/{one.id}", who=None, query=token).status_code
        for one in segments[:4]
    ]
    assert statuses == [403, 200, 200, 403]
    exports = f"/camera/{camera.id}/exports"
    assert bench.call("POST", exports, who="bob", json=whole).status_code == 403
    within = {**whole, "from": "2026-03-01T12:05:00Z"}
    assert bench.call("POST", exports, who="bob", json=within).status_code == 202
    early = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}
    assert play(bench, camera, **early).status_code == 403


def test_an_export_is_shown_only_while_its_time_may_be_seen(
    bench: Bench, camera: Camera, segments: list[Segment]
) -> None:
    assert segments
    grant(bench, camera, "recordings")
    exports = f"/camera/{camera.id}/exports"
    body = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}
    made = bench.call("POST", exports, who="bob", json=body).json["id"]
    assert bench.call("GET", f"{exports}/{made}", who="bob").status_code == 200
    grant(bench, camera, "recordings", recordings_until=HALF_PAST)
    assert bench.call("GET", f"{exports}/{made}", who="bob").status_code == 404
    assert bench.call("GET", exports, who="bob").json["items"] == []
    assert len(bench.call("GET", exports).json["items"]) == 1


def test_links_are_withdrawn_and_the_next_one_is_good(bench: Bench, camera: Camera) -> None:
    old = link(bench, camera)
    assert hook(bench, camera, old, "publish") == 200
    bench.clock.advance(0.001)
    result = bench.call("POST", f"/camera/{camera.id}/publish_rtsp_url/revoke")
    assert result.json == {"issued_before": "2026-03-02T12:00:00.001Z"}
    assert hook(bench, camera, old, "publish") == 401
    bench.clock.advance(0.001)
    assert hook(bench, camera, link(bench, camera), "publish") == 200


@pytest.mark.parametrize("how", ["deactivate", "delete"])
def test_nothing_opens_a_camera_that_was_retired(bench: Bench, camera: Camera, how: str) -> None:
    record = bench.tokens.sign_record(camera.id, camera.path, ttl_s=300).token
    tokens = [(preview(bench, camera, "alice"), "read"), (record, "read")]
    tokens.append((link(bench, camera), "publish"))
    assert [hook(bench, camera, *one) for one in tokens] == [200] * 3
    bench.clock.advance(1)
    path = f"/camera/{camera.id}"
    if how == "delete":
        assert bench.call("DELETE", path, who="root").status_code == 204
    else:
        assert bench.call("PATCH", path, who="root", json={"status": "inactive"}).status_code == 200
    assert [hook(bench, camera, *one) for one in tokens] == [401] * 3


def test_a_path_that_another_camera_gets_opens_with_none_of_the_old_tokens(
    bench: Bench, camera: Camera
) -> None:
    tokens = [(preview(bench, camera, "alice"), "read"), (link(bench, camera), "publish")]
    bench.clock.advance(1)
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "house/back"})
    other = bench.camera(path="house/door", owner="carol")
    assert [hook(bench, other, *one) for one in tokens] == [401] * 2


def test_a_former_owner_keeps_nothing(bench: Bench, camera: Camera) -> None:
    tokens = [(preview(bench, camera, "alice"), "read"), (link(bench, camera), "publish")]
    bench.clock.advance(1)
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"owner": "carol"})
    assert [hook(bench, camera, *one) for one in tokens] == [401] * 2


def test_a_disconnected_cameras_recorder_reads_no_more_until_it_is_connected_again(
    bench: Bench, camera: Camera
) -> None:
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    record = bench.tokens.sign_record(camera.id, camera.path, ttl_s=300).token
    watch = preview(bench, camera, "alice")
    bench.clock.advance(1)
    bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (hook(bench, camera, record), hook(bench, camera, watch)) == (401, 200)
    bench.clock.advance(1)
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    url = str(bench.streaming.calls[-1][1]["rtsp_url"])
    assert hook(bench, camera, url.rpartition("token=")[2]) == 200


def test_a_block_takes_all_that_a_user_holds_and_lifting_it_gives_none_back(
    bench: Bench, camera: Camera
) -> None:
    push, watch = link(bench, camera), preview(bench, camera, "alice")
    bench.clock.advance(1)
    path = "/user/blocked"
    assert bench.call("PUT", f"{path}/alice", who="root", json={"note": "left"}).status_code == 204
    listed = bench.call("GET", path, who="root").json["items"]
    assert [(row["user"], row["blocked_by"], row["note"]) for row in listed] == [
        ("alice", "root", "left")
    ]
    assert bench.call("GET", "/camera").json["code"] == "user_blocked"
    assert [hook(bench, camera, push, "publish"), hook(bench, camera, watch)] == [401, 401]
    bench.clock.advance(1)
    for _ in range(2):
        assert bench.call("DELETE", f"{path}/alice", who="root").status_code == 204
    assert bench.call("GET", "/camera").status_code == 200
    assert [hook(bench, camera, push, "publish"), hook(bench, camera, watch)] == [401, 401]
    assert hook(bench, camera, preview(bench, camera, "alice")) == 200


def test_nobody_locks_themselves_out(bench: Bench) -> None:
    result = bench.call("PUT", "/user/blocked/root", who="root", json={})
    assert (result.status_code, result.json["field"]) == (400, "user")


def test_the_hook_notes_whose_session_is_whose(bench: Bench, camera: Camera) -> None:
    assert hook(bench, camera, preview(bench, camera, "alice")) == 200
    claims = bench.sessions.claims_of("s1")
    assert claims is not None
    assert (claims.sub, claims.path) == ("alice", camera.path)
    assert hook(bench, camera, "nonsense") == 401
    assert len(bench.sessions) == 1


def test_a_clock_that_is_set_back_neither_saves_a_link_nor_spoils_the_next(
    bench: Bench, camera: Camera
) -> None:
    base = f"/camera/{camera.id}"
    bench.clock.advance(3600)
    of_the_future = link(bench, camera)
    bench.call("POST", f"{base}/stream/connect")
    bench.call("POST", f"{base}/stream/disconnect")
    bench.clock.advance(-7200)
    assert bench.call("POST", f"{base}/publish_rtsp_url/revoke").status_code == 200
    assert hook(bench, camera, of_the_future, "publish") == 401
    fresh = link(bench, camera)
    assert hook(bench, camera, fresh, "publish") == 200
    bench.call("POST", f"{base}/stream/connect")
    url = str(bench.streaming.calls[-1][1]["rtsp_url"])
    assert hook(bench, camera, url.rpartition("token=")[2]) == 200
    bench.memory.refresh()
    respawn = bench.m2m("read-token", {"camera_id": str(camera.id)}).json["rtsp_url"]
    assert hook(bench, camera, respawn.rpartition("token=")[2]) == 200
    bench.call("POST", f"{base}/publish_rtsp_url/revoke")
    assert hook(bench, camera, fresh, "publish") == 401
