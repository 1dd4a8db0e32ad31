from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from falcon import testing

from streamwarden.auth.stream_tokens import StreamAction, StreamUse
from streamwarden.errors import OtherOwner, StreamingUnavailable
from streamwarden.model import Camera
from streamwarden.storage.pool import StorageUnavailable
from tests.fakes.storage_samples import grant
from tests.unit.http.conftest import Bench

AWAY = StreamingUnavailable("the StreamingServer does not answer", retry_after_s=5)


@pytest.fixture
def camera(bench: Bench) -> Camera:
    return bench.camera(path="front/door")


def _connect(
    bench: Bench,
    camera: Camera,
    who: str | None = "alice",
    *,
    json: object = None,
    headers: dict[str, str] | None = None,
) -> testing.Result:
    path = f"/camera/{camera.id}/stream/connect"
    return bench.call("POST", path, who=who, json=json, headers=headers)


def _refused(result: testing.Result, status: int, code: str) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)


def test_connect_starts_the_recording_and_answers_its_status(bench: Bench, camera: Camera) -> None:
    result = _connect(bench, camera, json={"ttl": 600}, headers={"X-Request-Id": "r-7"})
    assert result.status_code == 200
    assert (result.json["ttl"], result.json["info"]["status"]) == (600, "starting")
    ((name, sent),) = bench.streaming.calls
    assert (name, sent["camera_id"], sent["owner"]) == ("start", camera.id, "alice")
    assert (sent["segment_seconds"], sent["request_id"]) == (30, "r-7")
    assert bench.wanted(camera.id)


def test_the_url_for_ffmpeg_holds_a_read_token_of_that_life(bench: Bench, camera: Camera) -> None:
    _connect(bench, camera, json={"ttl": 600})
    url = urlsplit(str(bench.streaming.calls[0][1]["rtsp_url"]))
    assert (url.scheme, url.netloc, url.path) == ("rtsp", "mediamtx:8554", "/front/door")
    (token,) = parse_qs(url.query)["token"]
    claims = bench.tokens.verify(token, path="front/door", action=StreamAction.READ)
    assert (claims.use, claims.sub) == (StreamUse.RECORD, f"recorder:{camera.id}")
    assert claims.expires_at.timestamp() == int(bench.clock.now().timestamp()) + 600


def test_a_body_is_not_needed(bench: Bench, camera: Camera) -> None:
    assert _connect(bench, camera).json["ttl"] == 300


def test_the_changed_setting_is_taken(bench: Bench, camera: Camera) -> None:
    bench.storage.settings.put("video_segment_seconds", 7)
    _connect(bench, camera)
    assert bench.streaming.calls[0][1]["segment_seconds"] == 7


@pytest.mark.parametrize("value", [0, 3601, True, "30", 2.5, {}])
def test_a_setting_that_makes_no_sense_falls_back_to_30(
    bench: Bench, camera: Camera, value: object
) -> None:
    bench.storage.settings.put("video_segment_seconds", value)
    _connect(bench, camera)
    assert bench.streaming.calls[0][1]["segment_seconds"] == 30


def test_an_admin_connects_in_the_owners_name(bench: Bench, camera: Camera) -> None:
    assert _connect(bench, camera, "root").status_code == 200
    assert bench.streaming.calls[0][1]["owner"] == "alice"


def test_a_grant_of_control_is_enough(bench: Bench, camera: Camera) -> None:
    grant(bench.storage.grants, camera.id, "bob", "control")
    assert _connect(bench, camera, "bob").status_code == 200


def test_a_stranger_is_told_403(bench: Bench, camera: Camera) -> None:
    _refused(_connect(bench, camera, "mallory"), 403, "permission_denied")
    assert not bench.wanted(camera.id)
    assert bench.streaming.calls == []


def test_a_grant_of_something_else_is_403(bench: Bench, camera: Camera) -> None:
    grant(bench.storage.grants, camera.id, "bob", "view")
    _refused(_connect(bench, camera, "bob"), 403, "permission_denied")


def test_a_stranger_does_not_learn_that_a_camera_is_inactive(bench: Bench) -> None:
    _refused(_connect(bench, bench.camera(status="inactive"), "mallory"), 403, "permission_denied")


def test_an_inactive_camera_is_403(bench: Bench) -> None:
    camera = bench.camera(status="inactive")
    _refused(_connect(bench, camera), 403, "camera_inactive")
    _refused(_connect(bench, camera, "root"), 403, "camera_inactive")
    assert not bench.wanted(camera.id)


def test_an_unknown_camera_is_404(bench: Bench) -> None:
    result = bench.call("POST", f"/camera/{uuid4()}/stream/connect")
    _refused(result, 404, "camera_not_found")


def test_without_a_token_it_is_401(bench: Bench, camera: Camera) -> None:
    _refused(_connect(bench, camera, None), 401, "unauthenticated")


@pytest.mark.parametrize("ttl", [29, 86_401, True, 30.5, "300", None])
def test_a_bad_ttl_is_400_and_named(bench: Bench, camera: Camera, ttl: object) -> None:
    result = _connect(bench, camera, json={"ttl": ttl})
    _refused(result, 400, "invalid_request")
    assert result.json["field"] == "ttl"


def test_connect_may_be_repeated(bench: Bench, camera: Camera) -> None:
    _connect(bench, camera)
    assert _connect(bench, camera).status_code == 200
    assert bench.wanted(camera.id)


def test_streaming_away_is_503_and_leaves_an_unwanted_camera_unwanted(
    bench: Bench, camera: Camera
) -> None:
    bench.streaming.failure = AWAY
    result = _connect(bench, camera)
    _refused(result, 503, "streaming_unavailable")
    assert result.headers["retry-after"] == "5"
    assert not bench.wanted(camera.id)
    assert bench.storage.tables.periods == []


def test_streaming_away_leaves_a_wanted_camera_wanted(bench: Bench, camera: Camera) -> None:
    _connect(bench, camera)
    bench.streaming.failure = AWAY
    assert _connect(bench, camera).status_code == 503
    assert bench.wanted(camera.id)


def test_a_lost_answer_puts_the_wish_back_too(bench: Bench, camera: Camera) -> None:
    bench.streaming.loses_answers = True
    assert _connect(bench, camera).status_code == 503
    assert camera.id in bench.streaming.running  # until the streaming role reconciles
    assert not bench.wanted(camera.id)


def test_an_answer_that_is_no_status_is_503_and_puts_the_wish_back(
    bench: Bench, camera: Camera
) -> None:
    bench.streaming.nonsense = {"status": "dancing"}
    _refused(_connect(bench, camera), 503, "streaming_unavailable")
    assert not bench.wanted(camera.id)


def test_a_bug_while_starting_puts_the_wish_back(bench: Bench, camera: Camera) -> None:
    bench.streaming.failure = RuntimeError("a bug")
    assert _connect(bench, camera).status_code == 500
    assert not bench.wanted(camera.id)


def test_another_owners_recording_is_409(bench: Bench, camera: Camera) -> None:
    bench.streaming.failure = OtherOwner("recorded for another owner")
    _refused(_connect(bench, camera), 409, "other_owner")
    assert not bench.wanted(camera.id)


def test_postgres_away_is_503_and_starts_nothing(bench: Bench, camera: Camera) -> None:
    bench.storage.down = True
    _refused(_connect(bench, camera), 503, "storage_unavailable")
    assert bench.streaming.calls == []


def test_postgres_lost_before_the_wish_could_be_put_back_is_still_503(
    bench: Bench, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> bool:
        raise StorageUnavailable("gone")

    bench.streaming.failure = AWAY
    monkeypatch.setattr(bench.storage.streams, "put_back", lost)
    _refused(_connect(bench, camera), 503, "streaming_unavailable")


@pytest.mark.timeout(20)
def test_two_who_connect_at_once_do_not_undo_each_other(
    bench: Bench, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, left = threading.Event(), threading.Event(), threading.Event()
    start = bench.streaming.start

    def first_fails(**arguments: object) -> object:
        if not entered.is_set():
            entered.set()
            go_on.wait(0.5)
            left.set()
            raise AWAY
        assert left.is_set()  # the first is done with the wish
        return start(**arguments)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(bench.streaming, "start", first_fails)
    first = threading.Thread(target=_connect, args=(bench, camera))
    first.start()
    assert entered.wait(5)
    second = _connect(bench, camera)
    first.join(5)
    assert second.status_code == 200
    assert bench.wanted(camera.id)


def test_disconnect_stops_and_answers_the_status(bench: Bench, camera: Camera) -> None:
    _connect(bench, camera)
    result = bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (result.status_code, result.json["status"]) == (200, "stopped")
    assert not bench.wanted(camera.id)
    assert camera.id not in bench.streaming.running


def test_disconnect_with_streaming_away_is_503_and_the_wish_stays_off(
    bench: Bench, camera: Camera
) -> None:
    _connect(bench, camera)
    bench.streaming.failure = AWAY
    result = bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
    _refused(result, 503, "streaming_unavailable")
    assert not bench.wanted(camera.id)


def test_disconnect_of_what_was_never_wanted_is_harmless(bench: Bench, camera: Camera) -> None:
    result = bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (result.status_code, result.json["status"]) == (200, "stopped")


@pytest.mark.parametrize(("method", "action"), [("POST", "disconnect"), ("GET", "status")])
def test_a_stranger_finds_no_camera(bench: Bench, camera: Camera, method: str, action: str) -> None:
    result = bench.call(method, f"/camera/{camera.id}/stream/{action}", who="mallory")
    _refused(result, 404, "camera_not_found")


def test_disconnect_needs_control(bench: Bench, camera: Camera) -> None:
    grant(bench.storage.grants, camera.id, "bob", "view")
    result = bench.call("POST", f"/camera/{camera.id}/stream/disconnect", who="bob")
    _refused(result, 403, "permission_denied")


def test_whoever_sees_a_camera_sees_its_status(bench: Bench, camera: Camera) -> None:
    grant(bench.storage.grants, camera.id, "bob", "view")
    result = bench.call("GET", f"/camera/{camera.id}/stream/status", who="bob")
    assert (result.status_code, result.json["status"]) == (200, "stopped")


def test_status_with_streaming_away_is_503(bench: Bench, camera: Camera) -> None:
    bench.streaming.failure = AWAY
    _refused(bench.call("GET", f"/camera/{camera.id}/stream/status"), 503, "streaming_unavailable")
