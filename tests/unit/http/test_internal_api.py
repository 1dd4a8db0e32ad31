from __future__ import annotations

import threading
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from falcon import testing

from streamwarden.auth.stream_tokens import StreamAction
from streamwarden.errors import Unavailable
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.mediamtx.control_secret import control_secret
from streamwarden.model import Camera, DesiredStream
from tests.fakes.storage import FakeStreamRepository
from tests.unit.http.conftest import INTERNAL_TOKEN, ApiHarness


@pytest.fixture
def camera(harness: ApiHarness) -> Camera:
    camera = harness.camera(path="front/door")
    harness.storage.streams.want(camera, requested_by="alice", at=harness.clock.now())
    return camera


def _hook(harness: ApiHarness, **body: object) -> testing.Result:
    asked = {"action": "read", "protocol": "rtsp", "path": "front/door", "ip": "1.2.3.4", **body}
    return harness.m2m("check-stream-pwd", asked, token=None)


def _read_token(harness: ApiHarness, camera_id: UUID) -> testing.Result:
    return harness.m2m("read-token", {"camera_id": str(camera_id)})


def _decisions(harness: ApiHarness, action: str, outcome: str) -> float | None:
    return harness.registry.get_sample_value(
        "streamwarden_stream_auth_total", {"action": action, "outcome": outcome}
    )


def test_a_good_token_is_200_again_and_again(harness: ApiHarness) -> None:
    signed = harness.tokens.sign_view("alice", "front/door", ttl_s=60)
    assert _hook(harness, token=signed.token, id=None).status_code == 200
    assert _hook(harness, token=signed.token, id="x", later_field={"a": 1}).status_code == 200
    assert _decisions(harness, "read", "allowed") == 2


def test_a_token_for_another_path_is_refused_without_a_reason(harness: ApiHarness) -> None:
    signed = harness.tokens.sign_view("alice", "back/door", ttl_s=60)
    result = _hook(harness, token=signed.token)
    assert (result.status_code, result.json["code"]) == (401, "unauthenticated")
    assert "path" not in result.text
    assert _decisions(harness, "read", "wrong_path") == 1


def test_an_empty_call_is_401(harness: ApiHarness) -> None:
    result = harness.internal.call("POST", "/api/v1/m2m/check-stream-pwd")
    assert result.status_code == 401
    assert "www-authenticate" in result.headers


@pytest.mark.parametrize("body", [[], "text", 7])
def test_what_is_no_object_is_400(harness: ApiHarness, body: object) -> None:
    assert harness.m2m("check-stream-pwd", body, token=None).status_code == 400


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(("body", "status"), [(b"x", 400), (b"[]", 400), (b"{}", 401)])
def test_the_hook_goes_by_the_body_whatever_its_type_is_called(
    harness: ApiHarness, content_type: str | None, body: bytes, status: int
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    result = testing.TestClient(harness.internal.app).simulate_post(
        "/api/v1/m2m/check-stream-pwd", body=body, headers=headers
    )
    assert result.status_code == status


def test_a_viewer_with_too_many_sessions_is_refused_and_a_recorder_never(
    harness: ApiHarness,
) -> None:
    harness.denied.read([])
    view = harness.tokens.sign_view("guest", "front/door", ttl_s=60).token
    record = harness.tokens.sign_record(uuid4(), "front/door", ttl_s=60).token
    answers = [_hook(harness, id=f"v{n}", token=view).status_code for n in range(20)]
    assert answers == [200] * 16 + [401] * 4
    assert _decisions(harness, "read", "too_many_views") == 4
    assert _hook(harness, id="v3", token=view).status_code == 200  # the session that is open
    assert {_hook(harness, id=f"r{n}", token=record).status_code for n in range(30)} == {200}


def test_the_media_servers_own_interfaces_are_opened_by_the_secret_without_a_session(
    harness: ApiHarness,
) -> None:
    asked = {"action": "api", "protocol": "", "path": "", "id": None}
    harness.storage.down = True
    assert _hook(harness, **asked, token=control_secret(INTERNAL_TOKEN)).status_code == 200
    assert _hook(harness, **asked).status_code == 401
    assert _hook(harness, **asked, token=INTERNAL_TOKEN).status_code == 401
    assert _decisions(harness, "api", "wrong_secret") == 1
    assert len(harness.sessions) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8083"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8083"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example:8083"},
        {"Host": "a.example.:8083"},
        {"Host": "x:y"},
    ],
)
def test_a_web_page_is_not_answered_by_the_hook(
    harness: ApiHarness, headers: dict[str, str]
) -> None:
    signed = harness.tokens.sign_view("alice", "front/door", ttl_s=60)
    asked = {"action": "read", "protocol": "rtsp", "path": "front/door", "token": signed.token}
    client = testing.TestClient(harness.internal.app)
    route = "/api/v1/m2m/check-stream-pwd"
    answer = client.simulate_post(route, json=asked, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "foreign_caller")
    assert _decisions(harness, "other", "foreign_caller") == 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8083", "[::1]:8083", "172.31.252.7:8083", "api:8083", "localhost", "Hook.lan:8083"],
)
def test_the_media_server_calls_by_an_address_or_a_name_that_is_known(
    harness: ApiHarness, host: str
) -> None:
    signed = harness.tokens.sign_view("alice", "front/door", ttl_s=60)
    asked = {"action": "read", "protocol": "rtsp", "path": "front/door", "token": signed.token}
    client = testing.TestClient(harness.internal.app)
    answer = client.simulate_post(
        "/api/v1/m2m/check-stream-pwd", json=asked, headers={"Host": host}
    )
    assert answer.status_code == 200


def test_the_hook_touches_no_database(harness: ApiHarness) -> None:
    harness.storage.down = True
    signed = harness.tokens.sign_publish("alice", "front/door", ttl_s=60)
    assert _hook(harness, token=signed.token, action="publish").status_code == 200
    assert _hook(harness).status_code == 401


def test_a_recorder_gets_a_fresh_token(harness: ApiHarness, camera: Camera) -> None:
    result = _read_token(harness, camera.id)
    assert result.status_code == 200
    url = urlsplit(result.json["rtsp_url"])
    assert (url.netloc, url.path) == ("mediamtx:8554", "/front/door")
    (token,) = parse_qs(url.query)["token"]
    claims = harness.tokens.verify(token, path="front/door", action=StreamAction.READ)
    assert claims.sub == f"recorder:{camera.id}"
    assert datetime.fromisoformat(result.json["expires_at"]) == claims.expires_at
    assert claims.expires_at.timestamp() == int(harness.clock.now().timestamp()) + 300


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_read_token_needs_the_internal_token(
    harness: ApiHarness, camera: Camera, token: str | None
) -> None:
    body = {"camera_id": str(camera.id)}
    assert harness.m2m("read-token", body, token=token).status_code == 401


def test_no_token_for_what_is_not_wanted(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.streams.unwant(camera.id, requested_by="alice", at=harness.clock.now())
    for camera_id in (camera.id, harness.camera().id, uuid4()):
        result = _read_token(harness, camera_id)
        assert (result.status_code, result.json["code"]) == (403, "not_wanted")


def test_no_token_for_an_inactive_camera(harness: ApiHarness, camera: Camera) -> None:
    harness.storage.cameras.update(camera.id, status="inactive")
    result = _read_token(harness, camera.id)
    assert (result.status_code, result.json["code"]) == (403, "camera_inactive")


def test_a_malformed_camera_id_is_named(harness: ApiHarness) -> None:
    result = harness.m2m("read-token", {"camera_id": "x"})
    assert (result.status_code, result.json["field"]) == (400, "camera_id")


def test_with_postgres_away_memory_answers(harness: ApiHarness, camera: Camera) -> None:
    harness.memory.refresh()
    harness.storage.down = True
    assert _read_token(harness, camera.id).status_code == 200
    assert _read_token(harness, uuid4()).status_code == 403


def test_which_camera_is_at_a_path_is_known_also_without_postgres(
    harness: ApiHarness, camera: Camera
) -> None:
    idle = harness.camera(path="back/door")
    assert harness.memory.camera_at("front/door") == camera.id
    assert harness.memory.camera_at("back/door") == idle.id
    assert harness.memory.camera_at("front") is None
    harness.memory.refresh()
    harness.storage.down = True
    assert harness.memory.camera_at("front/door") == camera.id
    assert harness.memory.camera_at("front") is None


def test_before_memory_is_filled_nobody_is_refused_for_good(
    harness: ApiHarness, camera: Camera
) -> None:
    harness.storage.down = True
    assert _read_token(harness, camera.id).status_code == 503


def test_memory_follows_connect_disconnect_and_removal_at_once(harness: ApiHarness) -> None:
    camera = harness.camera()
    harness.memory.refresh()

    def answered_from_memory() -> int:
        harness.storage.down = True
        status = _read_token(harness, camera.id).status_code
        harness.storage.down = False
        harness.clock.advance(10)
        return status

    assert answered_from_memory() == 403
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    assert answered_from_memory() == 200
    harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert answered_from_memory() == 403
    harness.call("POST", f"/camera/{camera.id}/stream/connect")
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert answered_from_memory() == 403


def test_memory_follows_a_new_path(harness: ApiHarness, camera: Camera) -> None:
    harness.memory.refresh()
    harness.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "moved"})
    harness.storage.down = True
    assert "/moved?" in _read_token(harness, camera.id).json["rtsp_url"]


def test_a_recent_failure_is_not_waited_for_again(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(_camera_id: UUID) -> None:
        asked.append(1)
        raise Unavailable("away")

    harness.memory.refresh()
    monkeypatch.setattr(harness.storage.cameras, "get", away, raising=False)
    for _ in range(5):
        assert harness.memory.look_up(camera.id) is not None
    assert len(asked) == 1
    harness.clock.advance(2)
    harness.memory.look_up(camera.id)
    assert len(asked) == 2


@pytest.mark.timeout(20)
def test_a_database_that_hangs_holds_up_two_threads_at_most(
    harness: ApiHarness, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()
    get = harness.storage.cameras.get

    def hangs(camera_id: UUID) -> Camera | None:
        entered.release()
        go_on.wait(10)
        return get(camera_id)

    harness.memory.refresh()
    monkeypatch.setattr(harness.storage.cameras, "get", hangs, raising=False)
    threads = [threading.Thread(target=harness.memory.look_up, args=(camera.id,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=5)
    assert entered.acquire(timeout=5)
    assert harness.memory.look_up(camera.id) is not None
    assert not entered.acquire(blocking=False)  # from memory: nobody else was asked
    go_on.set()
    for thread in threads:
        thread.join(5)


def test_a_change_during_a_refresh_is_not_lost(harness: ApiHarness, camera: Camera) -> None:
    class Interrupted(FakeStreamRepository):
        def all(self) -> list[DesiredStream]:
            found = super().all()
            harness.call("POST", f"/camera/{camera.id}/stream/disconnect")
            return found

    harness.memory.refresh()
    harness.memory._desired = Interrupted(harness.storage.tables)  # a race made to happen
    harness.memory.refresh()
    harness.storage.down = True
    known = harness.memory.look_up(camera.id)
    assert known is not None
    assert not known.wanted


@pytest.mark.timeout(20)
def test_memory_fills_itself_and_survives_a_bug(harness: ApiHarness, camera: Camera) -> None:
    rounds = threading.Semaphore(0)
    all_active = harness.storage.cameras.all_active
    failures: list[Exception] = [Unavailable("away"), RuntimeError("a bug")]

    class Flaky:
        def all_active(self) -> list[Camera]:
            rounds.release()
            if failures:
                raise failures.pop(0)
            return all_active()

        def get(self, _camera_id: UUID) -> None:
            raise Unavailable("away")

    memory = DesiredCache(Flaky(), harness.storage.streams, harness.clock, refresh_s=0.01)  # type: ignore[arg-type]  # what it reads, and no more
    memory.start()
    try:
        for _ in range(4):
            assert rounds.acquire(timeout=5)
        assert memory.look_up(camera.id) is not None
    finally:
        memory.stop()
