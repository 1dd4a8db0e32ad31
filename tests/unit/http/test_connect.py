from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from falcon import testing

from streamwarden.auth.stream_tokens import StreamAction, StreamUse
from streamwarden.clock import rfc3339
from streamwarden.errors import OtherOwner, StreamingUnavailable
from streamwarden.model import Camera
from streamwarden.storage.refusals import StorageUnavailable
from tests.fakes.storage_samples import grant
from tests.unit.http.conftest import ApiHarness

AWAY = StreamingUnavailable("the streaming role did not answer", retry_after_s=5)


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    return harness.camera(path="front/door")


def _connect(
    harness: ApiHarness,
    camera: Camera,
    who: str | None = "alice",
    *,
    json: object = None,
    headers: dict[str, str] | None = None,
) -> testing.Result:
    path = f"/camera/{camera.id}/stream/connect"
    return harness.call("POST", path, who=who, json=json, headers=headers)


def _refused(result: testing.Result, status: int, code: str) -> None:
    assert (result.status_code, result.json["code"]) == (status, code)


def test_connect_starts_the_recording_and_answers_its_status(
    harness: ApiHarness, camera: Camera
) -> None:
    result = _connect(harness, camera, json={"ttl": 600}, headers={"X-Request-Id": "r-7"})
    assert result.status_code == 200
    assert (result.json["ttl"], result.json["info"]["status"]) == (600, "starting")
    ((name, sent),) = harness.streaming.calls
    assert (name, sent["camera_id"], sent["owner"]) == ("start", camera.id, "alice")
    assert (sent["segment_seconds"], sent["request_id"]) == (30, "r-7")
    assert harness.wanted(camera.id)


def test_the_url_for_ffmpeg_holds_a_read_token_of_that_life(
    harness: ApiHarness, camera: Camera
) -> None:
    _connect(harness, camera, json={"ttl": 600})
    url = urlsplit(str(harness.streaming.calls[0][1]["rtsp_url"]))
    assert (url.scheme, url.netloc, url.path) == ("rtsp", "mediamtx:8554", "/front/door")
    (token,) = parse_qs(url.query)["token"]
    claims = harness.tokens.verify(token, path="front/door", action=StreamAction.READ)
    assert (claims.use, claims.sub) == (StreamUse.RECORD, f"recorder:{camera.id}")
    assert claims.expires_at.timestamp() == int(harness.clock.now().timestamp()) + 600


def test_a_body_is_not_needed(harness: ApiHarness, camera: Camera) -> None:
    assert _connect(harness, camera).json["ttl"] == 300


def test_the_changed_setting_is_taken(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.settings.put("video_segment_seconds", 7)
    _connect(harness, camera)
    assert harness.streaming.calls[0][1]["segment_seconds"] == 7


@pytest.mark.parametrize("value", [0, 3601, True, "30", 2.5, {}])
def test_a_setting_that_makes_no_sense_falls_back_to_30(
    harness: ApiHarness, camera: Camera, value: object
) -> None:
    harness.storage.settings.put("video_segment_seconds", value)
    _connect(harness, camera)
    assert harness.streaming.calls[0][1]["segment_seconds"] == 30


def test_an_admin_connects_in_the_owners_name(harness: ApiHarness, camera: Camera) -> None:
    assert _connect(harness, camera, "root").status_code == 200
    assert harness.streaming.calls[0][1]["owner"] == "alice"


def test_a_grant_of_control_is_enough(harness: ApiHarness, camera: Camera) -> None:
    grant(harness.storage.grants, camera.id, "bob", "control")
    assert _connect(harness, camera, "bob").status_code == 200


def test_a_stranger_gets_403(harness: ApiHarness, camera: Camera) -> None:
    _refused(_connect(harness, camera, "mallory"), 403, "permission_denied")
    assert not harness.wanted(camera.id)
    assert harness.streaming.calls == []


def test_a_grant_of_something_else_is_403(harness: ApiHarness, camera: Camera) -> None:
    grant(harness.storage.grants, camera.id, "bob", "view")
    _refused(_connect(harness, camera, "bob"), 403, "permission_denied")


def test_a_stranger_does_not_learn_that_a_camera_is_inactive(harness: ApiHarness) -> None:
    _refused(
        _connect(harness, harness.camera(status="inactive"), "mallory"), 403, "permission_denied"
    )


def test_an_inactive_camera_is_403(harness: ApiHarness) -> None:
    camera = harness.camera(status="inactive")
    _refused(_connect(harness, camera), 403, "camera_inactive")
    _refused(_connect(harness, camera, "root"), 403, "camera_inactive")
    assert not harness.wanted(camera.id)


def test_an_unknown_camera_is_404(harness: ApiHarness) -> None:
    result = harness.call("POST", f"/camera/{uuid4()}/stream/connect")
    _refused(result, 404, "camera_not_found")


def test_without_a_token_it_is_401(harness: ApiHarness, camera: Camera) -> None:
    _refused(_connect(harness, camera, None), 401, "unauthenticated")


@pytest.mark.parametrize("ttl", [29, 86_401, True, 30.5, "300", None])
def test_a_bad_ttl_is_400_and_named(harness: ApiHarness, camera: Camera, ttl: object) -> None:
    result = _connect(harness, camera, json={"ttl": ttl})
    _refused(result, 400, "invalid_request")
    assert result.json["field"] == "ttl"


def test_connect_may_be_repeated(harness: ApiHarness, camera: Camera) -> None:
    _connect(harness, camera)
    assert _connect(harness, camera).status_code == 200
    assert harness.wanted(camera.id)


def test_streaming_away_is_503_and_leaves_an_unwanted_camera_unwanted(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.streaming.failure = AWAY
    result = _connect(harness, camera)
    _refused(result, 503, "streaming_unavailable")
    assert result.headers["retry-after"] == "5"
    assert not harness.wanted(camera.id)
    assert harness.storage.tables.periods == []


def test_streaming_away_leaves_a_wanted_camera_wanted(harness: ApiHarness, camera: Camera) -> None:
    _connect(harness, camera)
    harness.streaming.failure = AWAY
    assert _connect(harness, camera).status_code == 503
    assert harness.wanted(camera.id)


def test_a_lost_answer_puts_the_desired_state_back_too(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.loses_answers = True
    assert _connect(harness, camera).status_code == 503
    assert camera.id in harness.streaming.running  # until the streaming role reconciles
    assert not harness.wanted(camera.id)


def test_an_answer_that_is_no_status_is_503_and_puts_the_desired_state_back(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.streaming.nonsense = {"status": "dancing"}
    _refused(_connect(harness, camera), 503, "streaming_unavailable")
    assert not harness.wanted(camera.id)


def test_a_bug_while_starting_puts_the_desired_state_back(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.streaming.failure = RuntimeError("a bug")
    assert _connect(harness, camera).status_code == 500
    assert not harness.wanted(camera.id)


def test_another_owners_recording_is_409(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.failure = OtherOwner("recorded for another owner")
    _refused(_connect(harness, camera), 409, "other_owner")
    assert not harness.wanted(camera.id)


def test_postgres_away_is_503_and_starts_nothing(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.down = True
    _refused(_connect(harness, camera), 503, "storage_unavailable")
    assert harness.streaming.calls == []


def test_postgres_lost_before_the_desired_state_could_be_put_back_is_still_503(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> bool:
        raise StorageUnavailable("gone")

    harness.streaming.failure = AWAY
    monkeypatch.setattr(harness.storage.streams, "put_back", lost)
    _refused(_connect(harness, camera), 503, "streaming_unavailable")


@pytest.mark.timeout(20)
def test_two_who_connect_at_once_do_not_undo_each_other(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, left = threading.Event(), threading.Event(), threading.Event()
    start = harness.streaming.start

    def first_fails(**arguments: object) -> object:
        if not entered.is_set():
            entered.set()
            go_on.wait(0.5)
            left.set()
            raise AWAY
        assert left.is_set()  # the first is done with the desired state
        return start(**arguments)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(harness.streaming, "start", first_fails)
    first = threading.Thread(target=_connect, args=(harness, camera))
    first.start()
    assert entered.wait(5)
    second = _connect(harness, camera)
    first.join(5)
    assert second.status_code == 200
    assert harness.wanted(camera.id)


@pytest.mark.timeout(20)
def test_a_camera_that_is_being_removed_is_not_wanted_again_by_a_connect(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, looked_up = threading.Event(), threading.Event()
    cameras, streams = harness.storage.cameras, harness.storage.streams
    get, unwant = cameras.get, streams.unwant

    def noticed(camera_id: UUID) -> Camera | None:
        found = get(camera_id)
        if entered.is_set():
            looked_up.set()
        return found

    def held(*arguments: object, **named: object) -> object:
        entered.set()
        looked_up.wait(0.5)  # a look-up that does not wait for the lock comes now
        return unwant(*arguments, **named)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(cameras, "get", noticed)
    monkeypatch.setattr(streams, "unwant", held)
    path = f"/camera/{camera.id}"
    removal = threading.Thread(target=harness.call, args=("DELETE", path), kwargs={"who": "root"})
    removal.start()
    assert entered.wait(5)
    connected = _connect(harness, camera)
    removal.join(5)
    _refused(connected, 404, "camera_not_found")
    assert not harness.wanted(camera.id)


def test_disconnect_stops_and_answers_the_status(harness: ApiHarness, camera: Camera) -> None:
    _connect(harness, camera)
    result = harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (result.status_code, result.json["status"]) == (200, "stopped")
    assert not harness.wanted(camera.id)
    assert camera.id not in harness.streaming.running


def test_disconnect_with_streaming_away_is_503_and_the_desired_state_stays_off(
    harness: ApiHarness, camera: Camera
) -> None:
    _connect(harness, camera)
    harness.streaming.failure = AWAY
    result = harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
    _refused(result, 503, "streaming_unavailable")
    assert not harness.wanted(camera.id)


def test_disconnect_of_what_was_never_wanted_is_harmless(
    harness: ApiHarness, camera: Camera
) -> None:
    result = harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert (result.status_code, result.json["status"]) == (200, "stopped")


@pytest.mark.parametrize(("method", "action"), [("POST", "disconnect"), ("GET", "status")])
def test_a_stranger_finds_no_camera(
    harness: ApiHarness, camera: Camera, method: str, action: str
) -> None:
    result = harness.call(method, f"/camera/{camera.id}/stream/{action}", who="mallory")
    _refused(result, 404, "camera_not_found")


def test_disconnect_needs_control(harness: ApiHarness, camera: Camera) -> None:
    grant(harness.storage.grants, camera.id, "bob", "view")
    result = harness.call("POST", f"/camera/{camera.id}/stream/disconnect", who="bob")
    _refused(result, 403, "permission_denied")


def test_whoever_sees_a_camera_sees_its_status(harness: ApiHarness, camera: Camera) -> None:
    grant(harness.storage.grants, camera.id, "bob", "view")
    result = harness.call("GET", f"/camera/{camera.id}/stream/status", who="bob")
    assert (result.status_code, result.json["status"]) == (200, "stopped")


def test_status_with_streaming_away_is_503(harness: ApiHarness, camera: Camera) -> None:
    harness.streaming.failure = AWAY
    _refused(
        harness.call("GET", f"/camera/{camera.id}/stream/status"), 503, "streaming_unavailable"
    )


def test_the_status_says_who_has_stopped_a_recording_and_when(
    harness: ApiHarness, camera: Camera
) -> None:
    def shown() -> object:
        return harness.call("GET", f"/camera/{camera.id}/stream/status").json["stopped"]

    assert shown() is None
    _connect(harness, camera)
    assert shown() is None
    harness.call("POST", f"/camera/{camera.id}/stream/disconnect", who="root")
    assert shown() == {"by": "root", "at": rfc3339(harness.clock.now())}
    _connect(harness, camera)
    assert shown() is None
