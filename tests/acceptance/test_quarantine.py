"""A record root that goes away, and the quarantine folder that is recorded into meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.recordings.quarantine_files import count_of
from tests.acceptance.calls import Caller
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import database_with_password
from tests.acceptance.program import FROM_THE_CHECKOUT, clean_environment, programs
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

Operator = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.fixture
def quarantine(tmp_path: Path) -> Path:
    folder = tmp_path / "quarantine"
    folder.mkdir()
    return folder


@pytest.fixture
def site(
    tmp_path: Path, quarantine: Path, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    changed = {"QUARANTINE_FOLDER": str(quarantine), "FREE_SPACE_RESERVE": "1 MiB"}
    with programs(tmp_path) as make:
        installation = ConfiguredInstallation(
            tmp_path, make, database_url=url, ffmpeg=ffmpeg, changed=changed
        )
        try:
            installation.start()
            answer = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 1})
            assert answer.status == 200
            yield installation
        finally:
            installation.close()


def ready(site: ConfiguredInstallation) -> tuple[int, str]:
    answer = Caller(site.streaming_url).get("/readyz")
    return answer.status, answer.body.decode()


def await_quarantined(site: ConfiguredInstallation, quarantine: Path, more: int = 3) -> None:
    before = count_of(quarantine)
    wait_for("segments in the quarantine", lambda: count_of(quarantine) >= before + more)
    wait_for("its metric", lambda: site.metric_value("quarantine_recording") == 1)
    status, text = ready(site)
    assert status == 503
    assert "recorded into the quarantine" in text


def await_home(site: ConfiguredInstallation, camera: CameraUser) -> None:
    """Wait until the record root is recorded into and the quarantine is not."""
    newest = len(camera.segments())
    wait_for("the known record root", lambda: ready(site)[0] == 200)
    wait_for("the end of the quarantine", lambda: bool(site.streaming.events("quarantine_ended")))
    wait_for("its metric", lambda: site.metric_value("quarantine_recording") == 0)
    camera.await_segments(newest + 1)


@pytest.fixture
def operator(site: ConfiguredInstallation) -> Operator:
    """An operators' command, and what it prints."""

    def call(*words: str) -> dict[str, Any]:
        done = subprocess.run(
            [*FROM_THE_CHECKOUT, *words, "--json"],
            env=clean_environment() | site.environ(site.database_url),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return call


def test_what_was_recorded_without_the_record_root_comes_home(
    site: ConfiguredInstallation,
    quarantine: Path,
    operator: Operator,
    tmp_path: Path,
) -> None:
    camera = site.camera()
    site.publish(camera)
    camera.connect()
    camera.await_segments(2)

    # The same as its disk unmounted: another folder is in its place.
    root, away = site.record_root, tmp_path / "unmounted"
    root.rename(away)
    root.mkdir()
    await_quarantined(site, quarantine)
    indexed = len(camera.segments())
    assert camera.status()["last_error"]["cause"] == "record_root_missing"
    root.rmdir()
    away.rename(root)
    await_home(site, camera)
    assert len(camera.segments()) < indexed + count_of(quarantine)

    # Its disk is not there when the machine starts, and the server is killed meanwhile.
    assert site.streaming.stop() == 0
    root.rename(away)
    site.streaming.start()
    await_quarantined(site, quarantine)
    site.streaming.kill()
    away.rename(root)
    before = len(camera.segments())
    site.start_streaming()
    camera.await_segments(before + 1)  # the gap has ended: an open one is left as it is

    held = operator("recordings", "adopt-quarantine", "--dry-run")
    (of_camera,) = held["cameras"]
    assert of_camera["segments"] == count_of(quarantine) >= 6
    assert of_camera["unfinished"] is True
    done = operator("recordings", "adopt-quarantine")
    assert done["moved"] >= of_camera["segments"]
    assert done["indexed"] == done["moved"]
    assert list(quarantine.glob("*/*/*/*.mp4")) == []
    site.settle(camera)
    assert site.findings() == [], camera.recordings()
    began = datetime.fromisoformat(of_camera["from"])
    assert all(
        not datetime.fromisoformat(gap["started_at"])
        <= began
        < datetime.fromisoformat(gap["ended_at"])
        for gap in camera.gaps()
    )
    assert operator("recordings", "adopt-quarantine")["cameras"] == []
