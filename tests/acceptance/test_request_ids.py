"""One request id from the browser to FFmpeg's run, through three programs and their logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.calls import Answer, Caller
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.program import Program, free_port_base, programs
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.slow


class Page:
    """The role ``webui`` as a third program beside the installation's two, and a browser's calls to it."""

    def __init__(self, program: Program, port: int, installation: Installation) -> None:
        self.program = program
        self._bff = f"http://127.0.0.1:{port}"
        self._token = installation.token_of(OWNER)

    def post(self, camera: CameraUser, call: str, request_id: str) -> Answer:
        """Press a button of the page."""
        headers = {"Authorization": f"Bearer {self._token}", "X-Request-Id": request_id}
        path = f"/bff/v1/camera/{camera.camera_id}/stream/{call}"
        return Caller(self._bff, headers).post(path, {})


@pytest.fixture
def page(installation: Installation, tmp_path: Path) -> Iterator[Page]:
    port = free_port_base()
    settings = {
        "API_URL": installation.api_url,
        "WEBUI_PORT": str(port),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
    }
    environ = {f"STREAMWARDEN_{name}": value for name, value in settings.items()}
    with programs(tmp_path) as make:
        program = make("serve", "--role", "webui", environ=environ)
        program.start().await_listening(port)
        yield Page(program, port, installation)


def lines(program: Program, event: str, request_id: str) -> list[dict[str, Any]]:
    return [line for line in program.events(event) if line.get("request_id") == request_id]


def answered(program: Program, request_id: str) -> list[str]:
    return [str(line["route"]) for line in lines(program, "answered", request_id)]


def states(program: Program, request_id: str) -> list[str]:
    return [str(line["state"]) for line in lines(program, "recorder_state", request_id)]


def test_the_id_that_the_browser_sends_is_in_every_line_up_to_the_run_that_records(
    installation: Installation, page: Page
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    answer = page.post(camera, "connect", "from-the-browser")
    assert (answer.status, answer.headers["x-request-id"]) == (200, "from-the-browser")
    camera.await_status("running")
    connect = "/v1/camera/{camera}/stream/connect"
    assert answered(page.program, "from-the-browser") == [f"/bff{connect}"]
    through = connect.replace("{camera}", "{camera_id}")
    assert answered(installation.api, "from-the-browser") == [f"/api{through}"]
    assert answered(installation.streaming, "from-the-browser") == ["/streams/start"]
    assert len(lines(installation.streaming, "run_ordered", "from-the-browser")) == 1
    assert states(installation.streaming, "from-the-browser")[-1] == "running"


def test_the_lines_of_later_runs_still_name_who_asked_for_the_recording(
    installation: Installation, page: Page
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    page.post(camera, "connect", "asked-first")
    run = camera.await_status("running")["run"]
    recorder = installation.streaming.recorder(installation.record_root, camera.camera_id)
    assert recorder is not None
    recorder.kill()
    camera.await_status(lambda status: status["run"] > run and status["status"] == "running")
    runs = [line["run"] for line in lines(installation.streaming, "run_ordered", "asked-first")]
    assert runs == [run, run + 1]
    (ended,) = lines(installation.streaming, "run_ended", "asked-first")
    assert (ended["run"], ended["cause"]) == (run, "ffmpeg_crashed")
    (error,) = lines(installation.streaming, "recorder_error", "asked-first")
    assert "SIGKILL" in error["detail"]


def test_a_start_right_after_a_stop_is_logged_under_its_own_id(
    installation: Installation, page: Page
) -> None:
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    page.post(camera, "connect", "once")
    camera.await_status("running")
    page.post(camera, "disconnect", "enough")
    page.post(camera, "connect", "once-more")
    wait_for(
        "the second run in the log",
        lambda: lines(installation.streaming, "run_ordered", "once-more"),
    )
    assert answered(installation.streaming, "enough") == ["/streams/stop"]
    assert len(lines(installation.streaming, "run_ordered", "once")) == 1
