"""A camera of each kind, pushed and pulled, at the same time: recorded, indexed, played; or refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from uuid import uuid4

import pytest

from streamwarden.devkit.camera_server import CameraServer
from streamwarden.devkit.clips import make_clip
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.relay.faults import Fault, Misbehaviour
from streamwarden.devkit.video_source import LoopedClip
from streamwarden.mediamtx.rtsp_client import Login
from tests.acceptance.camera_kinds import METADATA, SENT, assert_recorded
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import OWNER, Installation, database_with_password
from tests.acceptance.program import programs
from tests.acceptance.user import CameraUser

LOGIN = Login("viewer", "open-sesame/of:the@camera")
PLAIN = "H.264, no sound"


class PullingInstallation(ConfiguredInstallation):
    """An installation that may pull cameras of this machine."""

    def environ(self, database_url: str) -> dict[str, str]:
        """Return the settings, with those that pulling takes."""
        settings = super().environ(database_url)
        return settings | {
            "STREAMWARDEN_MEDIAMTX_API_URL": self.relay.control_url,
            "STREAMWARDEN_SOURCE_NETWORKS": "127.0.0.1",
        }


@pytest.fixture(scope="module")
def pulling_installation(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[PullingInstallation]:
    """Both roles, with segments of two seconds."""
    folder = tmp_path_factory.mktemp("pulling")
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    changed = {"SOURCE_SECRET_KEYS": secrets.token_hex(32)}
    with programs(folder) as make:
        installation = PullingInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed=changed
        )
        try:
            installation.start()
            length = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
            assert length.status == 200
            yield installation
        finally:
            installation.close()


@pytest.fixture(scope="module")
def clips(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoopedClip]:
    """What each kind sends, in a loop."""
    folder = tmp_path_factory.mktemp
    return {kind: make_clip(ffmpeg, clip, folder("kind")) for kind, clip in SENT.items()}


@pytest.fixture(scope="module")
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


def pushing(installation: Installation, clips: Mapping[str, LoopedClip]) -> dict[str, CameraUser]:
    """All of them, publishing and wanted."""
    found = {}
    for kind, clip in clips.items():
        found[kind] = installation.camera()
        installation.publish(found[kind], clip)
    for kind, camera in found.items():
        installation.await_published(camera)
        if kind == METADATA:
            installation.fault(camera, describe="ten_tracks")
        assert camera.connect().status == 200
    return found


def pulled(installation: Installation, url: str, login: Login) -> CameraUser:
    """Add a camera that is pulled."""
    source = {"source_url": url, "source_username": login.user, "source_password": login.password}
    body = {"name": "Pulled", "owner": OWNER, "path": f"pulled/{uuid4().hex}", **source}
    answer = installation.admin.post("/api/v1/camera", body)
    assert answer.status in {200, 201}, answer
    assert LOGIN.password not in answer.body.decode()
    return CameraUser(installation.user(OWNER), answer.json()["id"])


@pytest.mark.slow
def test_a_camera_of_each_kind_pushed_and_pulled_is_recorded_indexed_and_played(
    pulling_installation: PullingInstallation,
    clips: dict[str, LoopedClip],
    served: CameraServer,
    ffmpeg: str,
) -> None:
    installation = pulling_installation
    pulls = {kind: pulled(installation, served.url(path_of(kind)), LOGIN) for kind in SENT}
    for camera in pulls.values():
        installation.await_published(camera)
        assert camera.connect().status == 200
    pushes = pushing(installation, clips)
    assert_recorded(installation, pushes, ffmpeg)
    assert_recorded(installation, pulls, ffmpeg, looked_into=1)

    runs = pulls[PLAIN].status()["run"]
    installation.relay.kill()
    installation.relay.start()
    pulls[PLAIN].await_segments(1, run_after=runs)
    for camera in (*pushes.values(), *pulls.values()):
        camera.disconnect()


@pytest.mark.slow
def test_a_pulled_camera_with_a_wrong_password_is_offline_until_it_has_the_right_one(
    pulling_installation: PullingInstallation, served: CameraServer
) -> None:
    installation = pulling_installation
    camera = pulled(installation, served.url(path_of(PLAIN)), Login(LOGIN.user, "guess"))
    assert camera.connect().status == 200
    offline = camera.await_status(lambda status: status["last_error"] is not None)
    assert offline["last_error"]["cause"] == "source_offline"
    right = {"source_username": LOGIN.user, "source_password": LOGIN.password}
    answer = installation.admin.patch(camera.path, right)
    assert answer.status == 200, answer
    camera.await_segments(1)
    assert camera.disconnect().status == 200
