"""A camera of each kind at the same time: recorded, indexed, played; or refused by its cause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.devkit.camera_server import CameraServer, Login
from streamwarden.devkit.clips import make_clip
from streamwarden.devkit.picture import LoopedClip
from streamwarden.devkit.relay.faults import Fault, Misbehaviour
from streamwarden.tests.acceptance.calls import Caller
from streamwarden.tests.acceptance.kinds import METADATA, SENT, assert_recorded
from streamwarden.tests.acceptance.stage import Stage
from streamwarden.tests.acceptance.user import CameraUser

LOGIN = Login("viewer", "open-sesame/of:the@camera")


@pytest.fixture(scope="module")
def clips(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoopedClip]:
    """What each kind sends, in a loop."""
    folder = tmp_path_factory.mktemp
    return {kind: make_clip(ffmpeg, clip, folder("kind")) for kind, clip in SENT.items()}


@pytest.fixture
def pushing(stage: Stage, clips: dict[str, LoopedClip]) -> dict[str, CameraUser]:
    """All of them, publishing and wanted."""
    found = {}
    for kind, clip in clips.items():
        found[kind] = stage.camera()
        stage.publish(found[kind], clip)
    for kind, camera in found.items():
        stage.await_published(camera)
        if kind == METADATA:
            stage.fault(camera, describe="ten_tracks")
        assert camera.connect().status == 200
    return found


@pytest.fixture
def served(ffmpeg: str, clips: dict[str, LoopedClip]) -> Iterator[CameraServer]:
    """All of them, serving RTSP behind a password."""
    with CameraServer(ffmpeg=ffmpeg, login=LOGIN) as server:
        for kind, clip in clips.items():
            server.serve(path_of(kind), clip)
        assert all(server.await_picture(path_of(kind)) for kind in clips)
        server.fault(path_of(METADATA), Fault(describe=Misbehaviour.TEN_TRACKS))
        yield server


def path_of(kind: str) -> str:
    """Where a kind is served."""
    return "".join(char for char in kind if char.isalnum())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_camera_of_each_kind_that_pushes_is_recorded_indexed_and_played(
    stage: Stage, pushing: dict[str, CameraUser], ffmpeg: str
) -> None:
    assert_recorded(stage, pushing, ffmpeg)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_camera_of_each_kind_that_is_pulled_is_recorded_indexed_and_played(
    stage: Stage, served: CameraServer, ffmpeg: str
) -> None:
    pulled = {}
    for kind in SENT:
        pulled[kind] = stage.camera()
        pull(stage, pulled[kind], served.url(path_of(kind), LOGIN))
        assert pulled[kind].connect().status == 200
    assert_recorded(stage, pulled, ffmpeg)


def pull(stage: Stage, camera: CameraUser, url: str) -> None:
    """Have the media server pull a camera."""
    control = Caller(stage.relay.control_url)
    answer = control.post(f"/v3/config/paths/add/{stage.path_of(camera)}", {"source": url})
    assert answer.status == 200, answer
