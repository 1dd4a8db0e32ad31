"""Cameras that are hard to reach: other transports, odd passwords, answers in words, quick returns."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from streamwarden.mediamtx.rtsp_client import Login
from tests.acceptance.footage import seconds_between
from tests.acceptance.odd_cameras import OddCameras
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.slow

PAUSE_S = 5.0


def status(camera: CameraUser) -> dict[str, Any]:
    found: dict[str, Any] = camera.api.get(f"{camera.path}/stream/status").json()
    return found


def test_a_camera_that_serves_udp_only_is_recorded(odd_cameras: OddCameras) -> None:
    _, camera = odd_cameras.record("small", transports=("udp",))
    camera.await_segments(2)
    assert odd_cameras.site.admin.get(camera.path).json()["source_transport"] == "automatic"


def test_a_transport_that_is_refused_is_named_until_another_is_set(
    odd_cameras: OddCameras,
) -> None:
    _, camera = odd_cameras.record("small", transports=("udp",), transport_status=406)
    admin = odd_cameras.site.admin
    assert admin.patch(camera.path, {"source_transport": "tcp"}).status == 200
    wait_for("the reason", lambda: status(camera)["source_trouble"] == "not_acceptable")
    assert admin.patch(camera.path, {"source_transport": "udp"}).status == 200
    camera.await_segments(1)
    wait_for("its end", lambda: status(camera)["source_trouble"] is None)


def test_an_empty_password_opens_and_a_wrong_one_is_named(odd_cameras: OddCameras) -> None:
    odd, camera = odd_cameras.record("small", login=Login("root", ""))
    camera.await_segments(1)
    odd.change(login=Login("root", "geheim"))
    odd.reboot()
    wait_for("the reason", lambda: status(camera)["source_trouble"] == "login_wrong")
    wait_for("its words", lambda: "(401)" in (status(camera)["last_error"] or {})["message"])


def test_a_camera_that_is_back_at_once_loses_little(odd_cameras: OddCameras) -> None:
    odd, camera = odd_cameras.record("small")
    runs = [camera.await_segments(1)[-1]["run"]]
    for _ in range(3):
        odd.reboot()
        runs.append(camera.await_segments(1, run_after=runs[-1])[-1]["run"])
    segments = camera.segments()
    lost_s = [
        seconds_between(before["ended_at"], after["started_at"])
        for before, after in pairwise(segments)
        if after["run"] != before["run"]
    ]
    assert len(lost_s) >= 3
    assert min(lost_s) < PAUSE_S, "the relay itself waits so long before it calls a camera again"
