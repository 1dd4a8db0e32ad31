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
from streamwarden.model import Camera, DesiredStream
from tests.fakes.storage import FakeStreamRepository
from tests.unit.http.conftest import Bench


@pytest.fixture
def camera(bench: Bench) -> Camera:
    camera = bench.camera(path="front/door")
    bench.storage.streams.want(camera, requested_by="alice", at=bench.clock.now())
    return camera


def _hook(bench: Bench, **body: object) -> testing.Result:
    asked = {"action": "read", "protocol": "rtsp", "path": "front/door", "ip": "1.2.3.4", **body}
    return bench.m2m("check-stream-pwd", asked, token=None)


def _read_token(bench: Bench, camera_id: UUID) -> testing.Result:
    return bench.m2m("read-token", {"camera_id": str(camera_id)})


def _decisions(bench: Bench, action: str, outcome: str) -> float | None:
    return bench.registry.get_sample_value(
        "streamwarden_stream_auth_total", {"action": action, "outcome": outcome}
    )


def test_a_good_token_is_200_again_and_again(bench: Bench) -> None:
    signed = bench.tokens.sign_view("alice", "front/door", ttl_s=60)
    assert _hook(bench, token=signed.token, id=None).status_code == 200
    assert _hook(bench, token=signed.token, id="x", later_field={"a": 1}).status_code == 200
    assert _decisions(bench, "read", "allowed") == 2


def test_a_token_for_another_path_is_refused_without_a_reason(bench: Bench) -> None:
    signed = bench.tokens.sign_view("alice", "back/door", ttl_s=60)
    result = _hook(bench, token=signed.token)
    assert (result.status_code, result.json["code"]) == (401, "unauthenticated")
    assert "path" not in result.text
    assert _decisions(bench, "read", "wrong_path") == 1


def test_an_empty_call_is_401(bench: Bench) -> None:
    result = bench.internal.call("POST", "/api/v1/m2m/check-stream-pwd")
    assert result.status_code == 401
    assert "www-authenticate" in result.headers


@pytest.mark.parametrize("body", [[], "text", 7])
def test_what_is_no_object_is_400(bench: Bench, body: object) -> None:
    assert bench.m2m("check-stream-pwd", body, token=None).status_code == 400


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(("body", "status"), [(b"x", 400), (b"[]", 400), (b"{}", 401)])
def test_the_hook_goes_by_the_body_whatever_its_type_is_called(
    bench: Bench, content_type: str | None, body: bytes, status: int
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    result = testing.TestClient(bench.internal.app).simulate_post(
        "/api/v1/m2m/check-stream-pwd", body=body, headers=headers
    )
    assert result.status_code == status


def test_the_hook_touches_no_database(bench: Bench) -> None:
    bench.storage.down = True
    signed = bench.tokens.sign_publish("alice", "front/door", ttl_s=60)
    assert _hook(bench, token=signed.token, action="publish").status_code == 200
    assert _hook(bench).status_code == 401


def test_a_recorder_gets_a_fresh_token(bench: Bench, camera: Camera) -> None:
    result = _read_token(bench, camera.id)
    assert result.status_code == 200
    url = urlsplit(result.json["rtsp_url"])
    assert (url.netloc, url.path) == ("mediamtx:8554", "/front/door")
    (token,) = parse_qs(url.query)["token"]
    claims = bench.tokens.verify(token, path="front/door", action=StreamAction.READ)
    assert claims.sub == f"recorder:{camera.id}"
    assert datetime.fromisoformat(result.json["expires_at"]) == claims.expires_at
    assert claims.expires_at.timestamp() == int(bench.clock.now().timestamp()) + 300


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_read_token_needs_the_internal_token(
    bench: Bench, camera: Camera, token: str | None
) -> None:
    body = {"camera_id": str(camera.id)}
    assert bench.m2m("read-token", body, token=token).status_code == 401


def test_no_token_for_what_is_not_wanted(bench: Bench, camera: Camera) -> None:
    bench.storage.streams.unwant(camera.id, requested_by="alice", at=bench.clock.now())
    for camera_id in (camera.id, bench.camera().id, uuid4()):
        result = _read_token(bench, camera_id)
        assert (result.status_code, result.json["code"]) == (403, "not_wanted")


def test_no_token_for_an_inactive_camera(bench: Bench, camera: Camera) -> None:
    bench.storage.cameras.update(camera.id, status="inactive")
    result = _read_token(bench, camera.id)
    assert (result.status_code, result.json["code"]) == (403, "camera_inactive")


def test_a_malformed_camera_id_is_named(bench: Bench) -> None:
    result = bench.m2m("read-token", {"camera_id": "x"})
    assert (result.status_code, result.json["field"]) == (400, "camera_id")


def test_with_postgres_away_memory_answers(bench: Bench, camera: Camera) -> None:
    bench.memory.refresh()
    bench.storage.down = True
    assert _read_token(bench, camera.id).status_code == 200
    assert _read_token(bench, uuid4()).status_code == 403


def test_before_memory_is_filled_nobody_is_refused_for_good(bench: Bench, camera: Camera) -> None:
    bench.storage.down = True
    assert _read_token(bench, camera.id).status_code == 503


def test_memory_follows_connect_disconnect_and_removal_at_once(bench: Bench) -> None:
    camera = bench.camera()
    bench.memory.refresh()

    def answered_from_memory() -> int:
        bench.storage.down = True
        status = _read_token(bench, camera.id).status_code
        bench.storage.down = False
        bench.clock.advance(10)
        return status

    assert answered_from_memory() == 403
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    assert answered_from_memory() == 200
    bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
    assert answered_from_memory() == 403
    bench.call("POST", f"/camera/{camera.id}/stream/connect")
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"status": "inactive"})
    assert answered_from_memory() == 403


def test_memory_follows_a_new_path(bench: Bench, camera: Camera) -> None:
    bench.memory.refresh()
    bench.call("PATCH", f"/camera/{camera.id}", who="root", json={"path": "moved"})
    bench.storage.down = True
    assert "/moved?" in _read_token(bench, camera.id).json["rtsp_url"]


def test_a_recent_failure_is_not_waited_for_again(
    bench: Bench, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(_camera_id: UUID) -> None:
        asked.append(1)
        raise Unavailable("away")

    bench.memory.refresh()
    monkeypatch.setattr(bench.storage.cameras, "get", away, raising=False)
    for _ in range(5):
        assert bench.memory.look_up(camera.id) is not None
    assert len(asked) == 1
    bench.clock.advance(2)
    bench.memory.look_up(camera.id)
    assert len(asked) == 2


@pytest.mark.timeout(20)
def test_a_database_that_hangs_holds_up_two_threads_at_most(
    bench: Bench, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()
    get = bench.storage.cameras.get

    def hangs(camera_id: UUID) -> Camera | None:
        entered.release()
        go_on.wait(10)
        return get(camera_id)

    bench.memory.refresh()
    monkeypatch.setattr(bench.storage.cameras, "get", hangs, raising=False)
    threads = [threading.Thread(target=bench.memory.look_up, args=(camera.id,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=5)
    assert entered.acquire(timeout=5)
    assert bench.memory.look_up(camera.id) is not None
    assert not entered.acquire(blocking=False)  # from memory: nobody else was asked
    go_on.set()
    for thread in threads:
        thread.join(5)


def test_a_change_during_a_refresh_is_not_lost(bench: Bench, camera: Camera) -> None:
    class Interrupted(FakeStreamRepository):
        def all(self) -> list[DesiredStream]:
            found = super().all()
            bench.call("POST", f"/camera/{camera.id}/stream/disconnect")
            return found

    bench.memory.refresh()
    bench.memory._desired = Interrupted(bench.storage.tables)  # a race made to happen
    bench.memory.refresh()
    bench.storage.down = True
    known = bench.memory.look_up(camera.id)
    assert known is not None
    assert not known.wanted


@pytest.mark.timeout(20)
def test_memory_fills_itself_and_survives_a_bug(bench: Bench, camera: Camera) -> None:
    rounds = threading.Semaphore(0)
    all_active = bench.storage.cameras.all_active
    failures: list[Exception] = [Unavailable("away"), RuntimeError("a bug")]

    class Flaky:
        def all_active(self) -> list[Camera]:
            rounds.release()
            if failures:
                raise failures.pop(0)
            return all_active()

        def get(self, _camera_id: UUID) -> None:
            raise Unavailable("away")

    memory = DesiredCache(Flaky(), bench.storage.streams, bench.clock, refresh_s=0.01)  # type: ignore[arg-type]  # what it reads, and no more
    memory.start()
    try:
        for _ in range(4):
            assert rounds.acquire(timeout=5)
        assert memory.look_up(camera.id) is not None
    finally:
        memory.stop()
