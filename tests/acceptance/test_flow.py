"""The diagram of "start streaming", arrow by arrow, against two started programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import psutil
import pytest

from streamwarden.auth.users import UserTokens
from streamwarden.clock import Clock
from tests.acceptance.calls import Caller, bearer, internal
from tests.acceptance.footage import complaints, moment, stored_files, tracks
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

STATES = {"starting", "running", "stalled", "backoff", "stopping", "stopped", "parked"}
STATUS_FIELDS = {
    "camera_id", "status", "since", "run", "respawns", "restarts", "segment_seconds", "last_error",
    "next_retry_at", "last_segment",
}  # fmt: skip


def recorder(installation: Installation, camera: CameraUser) -> psutil.Process:
    """Return the camera's FFmpeg as soon as there is one."""

    def look() -> psutil.Process | None:
        return installation.streaming.recorder(installation.record_root, camera.camera_id)

    return wait_for("an FFmpeg", look)


def url_of(process: psutil.Process) -> str:
    argv = process.cmdline()
    return argv[argv.index("-i") + 1]


def test_connect_answers_ttl_and_info_and_the_recording_comes_to_run(
    installation: Installation,
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    answer = camera.connect({"ttl": 120})
    assert answer.status == 200
    assert set(answer.json()) == {"ttl", "info"}
    assert answer.json()["ttl"] == 120
    info = answer.json()["info"]
    assert set(info) == STATUS_FIELDS
    assert info["camera_id"] == camera.camera_id
    assert info["status"] in {"starting", "running"}
    assert camera.await_status("running")["run"] >= 1


def test_connect_without_a_body_signs_for_300_seconds(installation: Installation) -> None:
    camera = installation.camera()
    assert camera.connect().json()["ttl"] == 300


def test_connect_is_harmless_when_repeated(installation: Installation) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    run = camera.await_status("running")["run"]
    for _ in range(3):
        answer = camera.connect()
        assert (answer.status, answer.json()["info"]["run"]) == (200, run)
    assert len([r for r in installation.streaming.recorders(installation.record_root)
                if camera.camera_id in r.cwd()]) == 1  # fmt: skip


def _none(_: Installation) -> dict[str, str]:
    return {}


def _garbage(_: Installation) -> dict[str, str]:
    return {"Authorization": "Bearer not.a.token"}


def _basic(installation: Installation) -> dict[str, str]:
    return {"Authorization": f"Basic {installation.token_of(OWNER)}"}


def _foreign(_: Installation) -> dict[str, str]:
    return {"Authorization": f"Bearer {_signed('another secret' * 3)}"}


def _other_audience(installation: Installation) -> dict[str, str]:
    return {"Authorization": f"Bearer {_signed(installation.user_secret, audience='elsewhere')}"}


def _expired(installation: Installation) -> dict[str, str]:
    past = {"aud": "streamwarden", "sub": OWNER, "exp": int(time.time()) - 600}
    return {"Authorization": f"Bearer {jwt.encode(past, installation.user_secret, 'HS256')}"}


def _unsigned(_: Installation) -> dict[str, str]:
    claims = {"aud": "streamwarden", "sub": OWNER, "exp": int(time.time()) + 600}
    return {"Authorization": f"Bearer {jwt.encode(claims, '', 'none')}"}


def _signed(secret: str, audience: str = "streamwarden") -> str:
    tokens = UserTokens(secret, audience=audience, roles_claim="roles", clock=Clock())
    return tokens.sign(OWNER)


@pytest.mark.parametrize(
    "headers", [_none, _garbage, _basic, _foreign, _other_audience, _expired, _unsigned]
)
def test_without_a_good_bearer_token_connect_is_401(
    installation: Installation, headers: Callable[[Installation], dict[str, str]]
) -> None:
    camera = installation.camera()
    answer = CameraUser(
        Caller(installation.api_url, headers(installation)), camera.camera_id
    ).connect()
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert camera.status()["status"] == "stopped"


def test_a_stream_token_is_no_users_token(installation: Installation) -> None:
    camera = installation.camera()
    token = installation.stream_tokens.sign_view(OWNER, "any", ttl_s=300).token
    answer = CameraUser(bearer(installation.api_url, token), camera.camera_id).connect()
    assert answer.status == 401


def test_a_stranger_is_refused_with_403_and_nothing_starts(installation: Installation) -> None:
    camera = installation.camera()
    stranger = CameraUser(installation.user("mallory"), camera.camera_id)
    answer = stranger.connect()
    assert (answer.status, answer.code) == (403, "permission_denied")
    assert camera.status()["status"] == "stopped"


@pytest.mark.parametrize(
    "path", ["", "/stream/status", "/publish_rtsp_url", "/preview", "/recordings"]
)
def test_elsewhere_a_stranger_learns_of_no_camera(installation: Installation, path: str) -> None:
    camera = installation.camera()
    answer = installation.user("mallory").get(f"{camera.path}{path}")
    assert (answer.status, answer.code) == (404, "camera_not_found")


def test_an_inactive_camera_is_refused_with_403(installation: Installation) -> None:
    camera = installation.camera(status="inactive")
    answer = camera.connect()
    assert (answer.status, answer.code) == (403, "camera_inactive")


def test_an_unknown_camera_is_404(installation: Installation) -> None:
    answer = CameraUser(installation.user(OWNER), str(uuid4())).connect()
    assert (answer.status, answer.code) == (404, "camera_not_found")


def test_the_internal_url_holds_a_read_token_for_this_camera_only(
    installation: Installation,
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    before = time.time()
    camera.connect({"ttl": 600})
    url = urlsplit(url_of(recorder(installation, camera)))
    path = installation.path_of(camera)
    assert f"{url.scheme}://{url.netloc}" == installation.relay.rtsp_url
    assert url.path == f"/{path}"
    token = parse_qs(url.query)["token"][0]
    claims = jwt.decode(
        token, installation.stream_keys.partition(":")[2], algorithms=["HS256"], audience="rtsp"
    )
    assert claims["action"] == "read"
    assert claims["use"] == "record"
    assert claims["path"] == path
    assert claims["sub"] == f"recorder:{camera.camera_id}"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["iat"] >= int(before)
    assert claims["jti"]
    assert jwt.get_unverified_header(token)["kid"] == "stage"


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_streams_start_without_the_internal_token_is_refused(
    installation: Installation, token: str | None
) -> None:
    camera = installation.camera()
    headers = {} if token is None else {"X-Internal-Token": token.encode().decode("latin-1")}
    answer = Caller(installation.streaming_url, headers).post(
        "/streams/start", _start(installation, camera)
    )
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert camera.status()["status"] == "stopped"


def test_a_users_token_does_not_open_the_streaming_role(installation: Installation) -> None:
    admin = Caller(installation.streaming_url, installation.admin.headers)
    assert admin.get("/streams").status == 401
    assert (
        internal(installation.streaming_url, installation.internal_token).get("/streams").status
        == 200
    )


def _start(installation: Installation, camera: CameraUser) -> dict[str, object]:
    url = f"{installation.relay.rtsp_url}/{installation.path_of(camera)}"
    return {
        "user_id": OWNER, "camera_id": camera.camera_id, "rtsp_url": url, "segment_seconds": 2,
    }  # fmt: skip


def test_streams_start_answers_409_for_another_owner(installation: Installation) -> None:
    camera = installation.camera()
    camera.connect()
    body = _start(installation, camera) | {"user_id": "mallory"}
    answer = installation.to_streaming.post("/streams/start", body)
    assert (answer.status, answer.code) == (409, "other_owner")


def test_two_whole_segments_come_to_lie_in_the_folder_of_owner_and_camera(
    installation: Installation,
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    folder = installation.record_root / OWNER / camera.camera_id

    def both() -> list[Path] | None:
        # On a busy machine the sound may begin after the first file.
        kinds = {file: sorted(tracks(installation.ffmpeg, file)) for file in stored_files(folder)}
        assert all("video" in each for each in kinds.values())
        found = [file for file, each in kinds.items() if each == ["audio", "video"]]
        return found if len(found) >= 2 else None

    for file in wait_for("two files with picture and sound", both)[:2]:
        assert complaints(installation.ffmpeg, file) == ""


def test_polling_sees_starting_before_running(installation: Installation) -> None:
    camera = installation.camera()
    assert camera.status()["status"] == "stopped"
    seen = [camera.connect().json()["info"]["status"]]
    installation.publish(camera)

    def look() -> bool:
        seen.append(camera.status()["status"])
        return "running" in seen

    wait_for("running", look)
    assert seen[0] == "starting"
    assert set(seen) <= {"starting", "backoff", "running"}


def test_the_publish_url_takes_a_real_publisher(installation: Installation) -> None:
    camera = installation.camera()
    answer = camera.api.get(f"{camera.path}/publish_rtsp_url", {"ttl": 60})
    assert set(answer.json()) == {"publish_rtsp_url", "ttl", "expires_at"}
    assert answer.json()["ttl"] == 60
    assert 50 < moment(answer.json()["expires_at"]).timestamp() - time.time() <= 61
    installation.publish(camera)
    installation.await_published(camera)


def test_disconnect_stops_and_leaves_the_last_segment_whole_and_indexed(
    installation: Installation,
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    camera.await_segments(1)
    pid = recorder(installation, camera)
    answer = camera.disconnect()
    assert answer.status == 200
    camera.await_status("stopped")
    assert not pid.is_running()
    folder = installation.record_root / OWNER / camera.camera_id
    files = stored_files(folder)
    wait_for("every row", lambda: len(camera.segments()) == len(files))
    assert not list((folder / ".live").glob("*.mp4"))
    assert [complaints(installation.ffmpeg, file) for file in files] == [""] * len(files)
    assert not any(segment["salvaged"] for segment in camera.segments())
    wait_for("closed gaps", lambda: all(gap["ended_at"] for gap in camera.gaps()))


def test_a_camera_that_is_set_to_inactive_is_recorded_no_longer(installation: Installation) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    camera.await_status("running")
    assert installation.admin.patch(camera.path, {"status": "inactive"}).status == 200
    camera.await_status("stopped")
    wait_for("no FFmpeg", lambda: _unrecorded(installation, camera))
    answer = camera.api.get(f"{camera.path}/publish_rtsp_url")
    assert (answer.status, answer.code) == (403, "camera_inactive")


def test_a_removed_camera_is_recorded_no_longer_and_keeps_its_files(
    installation: Installation,
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    camera.await_segments(1)
    assert installation.admin.call("DELETE", camera.path).status in {200, 204}
    wait_for("no FFmpeg", lambda: _unrecorded(installation, camera))
    assert stored_files(installation.record_root / OWNER / camera.camera_id)
    answer = installation.to_internal_api.post(
        "/api/v1/m2m/read-token", {"camera_id": camera.camera_id}
    )  # fmt: skip
    assert answer.status == 403


def _unrecorded(installation: Installation, camera: CameraUser) -> bool:
    return installation.streaming.recorder(installation.record_root, camera.camera_id) is None


def test_a_preview_token_opens_this_camera_for_reading_only(installation: Installation) -> None:
    camera = installation.camera()
    answer = camera.api.get(f"{camera.path}/preview")
    assert set(answer.json()) == {"whep_url", "token", "hls_url", "expires_at"}
    assert answer.json()["whep_url"] is None  # the relay has no WebRTC
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert (claims["use"], claims["action"], claims["sub"]) == ("view", "read", OWNER)
    assert claims["path"] == installation.path_of(camera)


def test_without_a_setting_segments_are_30_seconds_and_a_changed_one_is_taken_over(
    own_installation: Installation,
) -> None:
    camera = own_installation.camera()
    own_installation.publish(camera)
    own_installation.await_published(camera)
    key = "/api/v1/settings/video_segment_seconds"
    assert own_installation.admin.get(key).json()["value"] == 30
    assert camera.connect().json()["info"]["segment_seconds"] == 30
    before = camera.await_status("running")
    assert _segment_time(recorder(own_installation, camera)) == "30"
    assert own_installation.admin.put(key, {"value": 2}).status == 200
    camera.await_status(lambda s: s["status"] == "running" and s["run"] > before["run"])
    assert camera.status()["segment_seconds"] == 2
    made = camera.await_segments(2, run_after=before["run"])
    # FFmpeg corrects its clock with a run's first reports, by a second on a busy machine.
    assert all(0.5 <= segment["media_seconds"] <= 6 for segment in made[:2])
    assert not [gap for gap in camera.gaps() if gap["cause"] != "starting"]


def _segment_time(process: psutil.Process) -> str:
    argv = process.cmdline()
    return argv[argv.index("-segment_time") + 1]
