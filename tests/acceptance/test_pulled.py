"""A camera that serves RTSP behind a password: from its address to its recordings, and no word of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psutil
import pytest

from streamwarden.devkit.camera_server import CameraServer
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.relay.faults import Fault, Misbehaviour
from streamwarden.mediamtx.rtsp_client import Login
from tests.acceptance.calls import Answer, Caller
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.installation import OWNER
from tests.acceptance.metrics_of import exposition
from tests.acceptance.odd_cameras import pulling_installation
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.slow

LOGIN = Login("viewer", "open-sesame/of:the@camera")


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    folder = tmp_path_factory.mktemp("pulled")
    with pulling_installation(folder, postgres_server, ffmpeg) as installation:
        yield installation


@pytest.fixture(scope="module")
def served(ffmpeg: str) -> Iterator[CameraServer]:
    with CameraServer(ffmpeg=ffmpeg, login=LOGIN) as server:
        server.serve("yard")
        assert server.await_picture("yard")
        yield server


def add(site: ConfiguredInstallation, **source: str) -> Answer:
    body = {"name": "Yard", "owner": OWNER, "path": f"test/{uuid4().hex}", **source}
    return site.admin.post("/api/v1/camera", body)


def shown(login: Login = LOGIN) -> dict[str, str]:
    return {"source_username": login.user, "source_password": login.password}


def leaks(text: str) -> list[str]:
    """The ways in which the password stands in ``text``, as it is or as a URL has it."""
    return [one for one in (LOGIN.password, quote(LOGIN.password, safe="")) if one in text]


def test_a_camera_is_pulled_recorded_and_back_after_the_media_server_was_killed(
    site: ConfiguredInstallation, served: CameraServer
) -> None:
    answers = [add(site, source_url=served.url("yard"), **shown())]
    assert answers[0].status == 201, answers[0]
    camera = CameraUser(site.user(OWNER), answers[0].json()["id"])
    assert camera.connect().status == 200
    segments = camera.await_segments(1)
    assert camera.api.get(f"{camera.path}/publish_rtsp_url").json()["code"] == "camera_is_pulled"

    site.relay.kill()
    site.relay.start()
    camera.await_segments(1, run_after=segments[-1]["run"])

    wrong = shown(Login(LOGIN.user, "guess"))
    answers += [
        site.admin.patch(camera.path, wrong),
        site.admin.get(camera.path),
        site.admin.get("/api/v1/camera"),
        site.admin.get("/api/v1/ops/audit"),
        camera.api.get(f"{camera.path}/stream/status"),
    ]
    camera.await_status(lambda s: s["status"] != "running")
    answers.append(site.admin.patch(camera.path, shown()))
    camera.await_status("running")
    for answer in answers:
        assert answer.status < 300, answer
        assert leaks(answer.body.decode()) == []
    assert_nothing_shows_the_password(site)

    path = answers[0].json()["path"]
    control = Caller(site.relay.control_url, site.relay.control_headers)
    assert site.admin.patch(camera.path, {"source_url": None}).json()["source_url"] is None
    wait_for(
        "the path gone",
        lambda: control.get(f"/v3/config/paths/get/{path}").status == 404,
    )
    camera.disconnect()


def assert_nothing_shows_the_password(site: ConfiguredInstallation) -> None:
    for program in (site.api, site.streaming):
        assert program.stderr  # at level debug
        assert leaks(program.stdout + program.stderr) == []
        for process in (psutil.Process(program.pid), *program.tree()):
            with suppress(psutil.NoSuchProcess):
                assert leaks(" ".join(process.cmdline())) == []
    for base in (site.api_url, site.streaming_url, site.internal_url):
        assert leaks(exposition(base)) == []
    for file in Path(site.record_root).rglob("*"):
        if file.is_file() and file.suffix != ".mp4":
            assert leaks(file.read_text(errors="replace")) == [], file
    with site.database() as database:
        found = database.fetch_values(b"select sealed from camera_source")
    assert found
    assert not any(
        LOGIN.password.encode() in sealed for sealed in found if isinstance(sealed, bytes)
    )


@pytest.mark.parametrize(
    "fault", [Fault(redirect="rtsp://10.0.0.7/x"), Fault(describe=Misbehaviour.NOT_RTSP)]
)
def test_what_redirects_or_answers_garbage_is_refused_with_a_word(
    site: ConfiguredInstallation, served: CameraServer, fault: Fault
) -> None:
    served.fault("odd", fault)
    refused = add(site, source_url=served.url("odd"), **shown())
    assert (refused.status, refused.json()["code"]) == (400, "source_refused"), refused
    assert leaks(refused.body.decode()) == []


def test_what_may_not_be_pulled_is_refused_and_credentials_in_the_url_are_cleaned(
    site: ConfiguredInstallation, served: CameraServer
) -> None:
    port = urlsplit(served.url("yard")).port
    for url in (f"rtsp://localhost.:{port}/x", f"rtsp://127.0.0.2:{port}/x", "rtsp://10.0.0.7/x"):
        refused = add(site, source_url=url, **shown())
        assert refused.status == 400, refused
        assert refused.json()["field"] == "source_url"
        assert leaks(refused.body.decode()) == []
    added = add(site, source_url=served.url("yard", LOGIN)).json()
    assert (added["source_url"], added["source_credentials"]) == (served.url("yard"), True)
    assert site.admin.call("DELETE", f"/api/v1/camera/{added['id']}").status == 204
