"""The running program: who loses access is disconnected and kept out, and the recording goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from streamwarden.devkit.video_source import SMALL_PICTURE
from streamwarden.devkit.virtual_camera import VirtualCamera
from streamwarden.ffmpeg.command import find_ffmpeg
from tests.acceptance.calls import Answer, Caller, bearer
from tests.acceptance.demo import DemoProgram
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import PATIENCE_S, wait_for

LEAVES_WITHIN_S = 20.0
"""The product's own bound is 2 s; a slow machine's FFmpeg needs longer to notice and to end."""

Watch = Callable[[str, str], "Viewer"]


class Viewer:
    """An FFmpeg that watches a camera over RTSP."""

    def __init__(self, ffmpeg: str, url: str) -> None:
        self._process = subprocess.Popen(
            [ffmpeg, "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", url,
             "-map", "0:v", "-c", "copy", "-f", "data", "pipe:1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def await_picture(self) -> None:
        """Wait until something arrives."""
        assert self._process.stdout is not None
        assert self._process.stdout.read(1024), "nothing to see"

    def await_end(self) -> None:
        """Wait until it has been disconnected."""
        began = instant()
        assert self._process.stdout is not None
        while self._process.stdout.read(65536):
            assert had_s(began, instant()) < LEAVES_WITHIN_S, "still watching"
        self._process.wait(PATIENCE_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def watch(demo: DemoProgram) -> Iterator[Watch]:
    """How a camera is watched with a view token; until the end of the test."""
    ffmpeg, viewers = str(find_ffmpeg(None)), list[Viewer]()

    def start(path: str, token: str) -> Viewer:
        viewers.append(Viewer(ffmpeg, f"{demo.ready['rtsp']}/{path}?token={token}"))
        return viewers[-1]

    yield start
    for viewer in viewers:
        viewer.close()


def bob_of(demo: DemoProgram) -> Caller:
    return bearer(demo.ready["api"], demo.token_of("bob"))


def granted(demo: DemoProgram, camera: CameraUser, *actions: str) -> Caller:
    """Grant actions to Bob, and return him."""
    body = {"actions": list(actions)}
    assert demo.api.put(f"{camera.path}/grants/bob", body).status == 200
    return bob_of(demo)


def preview(caller: Caller, camera: CameraUser) -> str:
    answer = caller.get(f"{camera.path}/preview")
    assert answer.status == 200, answer
    return str(answer.json()["token"])


def hook(demo: DemoProgram, path: str, token: str, action: str = "read") -> Answer:
    body = {"action": action, "protocol": "rtsp", "path": path, "token": token}
    return demo.internal_api.post("/api/v1/m2m/check-stream-pwd", body)


def path_of(camera: CameraUser) -> str:
    return str(camera.api.get(camera.path).json()["path"])


def delete(caller: Caller, path: str) -> int:
    return caller.call("DELETE", path).status


@pytest.fixture
def camera(demo: DemoProgram) -> CameraUser:
    found = demo.cameras[0]
    found.await_status("running")
    return found


def test_a_withdrawn_grant_ends_who_watches_keeps_them_out_and_costs_no_frame(
    demo: DemoProgram, camera: CameraUser, watch: Watch
) -> None:
    bob, path = granted(demo, camera, "view"), path_of(camera)
    token, mine = preview(bob, camera), preview(demo.api, camera)
    viewer, owner = watch(path, token), watch(path, mine)
    viewer.await_picture()
    owner.await_picture()
    before = camera.status()

    assert delete(demo.api, f"{camera.path}/grants/bob") == 204

    assert hook(demo, path, token).status == 401
    viewer.await_end()
    assert hook(demo, path, mine).status == 200
    owner.await_picture()
    assert bob.get(f"{camera.path}/preview").status == 404
    camera.await_segments(2, run_after=before["run"] - 1)
    after = camera.status()
    assert (after["status"], after["run"]) == ("running", before["run"])


def test_a_blocked_user_is_disconnected_and_every_call_refused(
    demo: DemoProgram, camera: CameraUser, watch: Watch
) -> None:
    bob, path = granted(demo, camera, "view"), path_of(camera)
    token = preview(bob, camera)
    viewer = watch(path, token)
    viewer.await_picture()
    assert demo.api.put("/api/v1/user/blocked/bob", {"note": "left"}).status == 204
    try:
        assert bob.get("/api/v1/camera").code == "user_blocked"
        assert hook(demo, path, token).status == 401
        viewer.await_end()
    finally:
        assert delete(demo.api, "/api/v1/user/blocked/bob") == 204
    assert hook(demo, path, token).status == 401, "what was held before stays worthless"
    assert hook(demo, path, preview(bob, camera)).status == 200


def test_who_was_refused_and_who_granted_is_in_the_trail(
    demo: DemoProgram, camera: CameraUser
) -> None:
    bob = granted(demo, camera, "view")
    assert bob.post(f"{camera.path}/stream/disconnect").status == 403

    def noted() -> list[Any] | None:
        answer = demo.api.get("/api/v1/ops/audit", {"camera": camera.camera_id, "user": "bob"})
        assert answer.status == 200, answer
        found = {(item["who"], item["action"], item["outcome"]) for item in answer.json()["items"]}
        wanted = {("demo", "grant", "done"), ("bob", "stop", "refused")}
        return sorted(found) if wanted <= found else None

    wait_for("both events", noted)
    assert bob.get("/api/v1/ops/audit").status == 403


def test_a_withdrawn_link_disconnects_the_camera_which_comes_back_with_a_new_one(
    own_demo: DemoProgram,
) -> None:
    own_demo.start()
    camera = own_demo.cameras[0]
    before = camera.await_status("running")
    path, old = path_of(camera), camera.publish_url().rpartition("token=")[2]
    assert hook(own_demo, path, old, "publish").status == 200

    assert own_demo.api.post(f"{camera.path}/publish_rtsp_url/revoke").status == 200

    assert hook(own_demo, path, old, "publish").status == 401
    # Its virtual camera asks for a new URL whenever it is disconnected, as a person would.
    camera.await_segments(1, run_after=before["run"])
    camera.await_gap(lambda gap: gap["cause"] == "source_offline" and bool(gap["ended_at"]))

    assert own_demo.api.patch(camera.path, {"status": "inactive"}).status == 200
    fresh = own_demo.api.get(f"{camera.path}/publish_rtsp_url")
    assert (fresh.status, fresh.code) == (403, "camera_inactive")
    camera.await_status("stopped")
    sessions = "streamwarden_sessions_kicked_total"
    metrics = bearer(own_demo.ready["api"], "").get("/metrics").body.decode()
    assert f'{sessions}{{use="publish",reason="link_withdrawn"}} 1.0' in metrics


def added(demo: DemoProgram, owner: str, path: str) -> CameraUser:
    new = {"name": "x", "owner": owner, "path": path}
    answer = demo.api.post("/api/v1/camera", new)
    assert answer.status == 201, answer
    return CameraUser.of(demo.ready["api"], demo.token_of(owner), answer.json()["id"])


def published_picture(watch: Watch, path: str, token: str) -> Viewer:
    """Watch as soon as the device publishes."""

    def look() -> Viewer | None:
        viewer = watch(path, token)
        try:
            viewer.await_picture()
        except AssertionError:
            return None
        return viewer

    return wait_for("a picture", look)


def test_a_path_that_is_given_on_shows_nothing_of_its_former_camera(
    demo: DemoProgram, watch: Watch
) -> None:
    path = f"given/{uuid4().hex}"
    ffmpeg = str(find_ffmpeg(None))
    first = added(demo, "alice", path)
    signed: list[str] = []

    def link() -> str:
        if not signed:  # a device keeps the link that it was given
            signed.append(
                str(first.api.get(f"{first.path}/publish_rtsp_url").json()["publish_rtsp_url"])
            )
        return signed[0]

    with VirtualCamera(first.camera_id, link, ffmpeg=ffmpeg, source=SMALL_PICTURE) as device:
        view = preview(first.api, first)
        seen = published_picture(watch, path, view)
        attempts = device.attempts
        assert demo.api.patch(first.path, {"path": f"{path}-new"}).status == 200
        second = added(demo, "mallory", path)
        seen.await_end()
        wait_for("the device to be refused", lambda: device.attempts > attempts + 1)
        mine = preview(second.api, second)
        assert hook(demo, path, mine).status == 200
        with pytest.raises(AssertionError, match="nothing to see"):
            watch(path, mine).await_picture()
    for camera in (first, second):
        assert delete(demo.api, f"{camera.path}?recordings=delete") == 204
