"""Secrets are changed one role after the other, and nothing that records or publishes notices."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from streamwarden.auth.jwts import key_id
from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.calls import Answer, Caller, internal
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import database_with_password
from tests.acceptance.metrics_of import metric_value
from tests.acceptance.program import programs

NEXT_TOKEN = secrets.token_hex(32)


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    folder = tmp_path_factory.mktemp("rotation")
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    with programs(folder) as make:
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed={}
        )
        # The first step of a change, in which every role takes both and shows the old one.
        installation.changed["INTERNAL_TOKEN"] = f"{installation.internal_token},{NEXT_TOKEN}"
        installation.move_to(url)
        try:
            installation.start()
            answer = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
            assert answer.status == 200
            yield installation
        finally:
            installation.close()


def token_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def hook(site: ConfiguredInstallation, url: str) -> Answer:
    body = {
        "action": "publish",
        "protocol": "rtsp",
        "path": urlsplit(url).path[1:],
        "token": token_in(url),
    }
    return Caller(site.internal_url).post("/api/v1/m2m/check-stream-pwd", body)


def test_a_new_signing_key_interrupts_no_camera_and_no_link(site: ConfiguredInstallation) -> None:
    camera = site.camera()
    site.publish(camera)
    site.await_published(camera)
    camera.connect()
    camera.await_status("running")
    camera.await_segments(1)
    old_link = camera.publish_url()
    assert key_id(token_in(old_link)) == "stage"

    last_day = datetime.now(UTC).date() + timedelta(days=30)
    fresh = f"fresh:{secrets.token_hex(32)}"
    site.restart_api(STREAM_TOKEN_KEYS=f"{fresh},{site.stream_keys}@{last_day}")

    assert hook(site, old_link).status == 200  # signed with the old key
    new_link = camera.publish_url()
    assert key_id(token_in(new_link)) == "fresh"
    assert hook(site, new_link).status == 200
    status = camera.status()
    assert (status["status"], status["run"], status["respawns"]) == ("running", 1, 0)
    camera.await_segments(3)
    assert site.to_streaming.post(f"/streams/{camera.camera_id}/restart").status == 200
    camera.await_status(lambda seen: seen["run"] == 2 and seen["status"] == "running")
    ends = datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) + timedelta(days=1)
    name = "stream_token_key_expiry_timestamp_seconds"
    assert metric_value(site.internal_url, name, kid="stage") == ends.timestamp()
    assert metric_value(site.internal_url, name, kid="fresh") == float("inf")

    site.restart_api(STREAM_TOKEN_KEYS=fresh)
    assert hook(site, old_link).status == 401  # the old key is gone, and with it what it signed
    assert hook(site, new_link).status == 200
    assert camera.status()["status"] == "running"
    gaps = [item for item in camera.recordings() if item["kind"] == "gap"]
    assert {gap["cause"] for gap in gaps} <= {"starting"}


def test_the_internal_token_is_changed_one_role_after_the_other(
    site: ConfiguredInstallation,
) -> None:
    camera = site.camera()
    camera.connect()
    old, new = site.internal_token, NEXT_TOKEN
    for step in (f"{new},{old}", new):
        site.restart_streaming(INTERNAL_TOKEN=step)
        assert camera.api.get(f"{camera.path}/stream/status").status == 200, step
        site.restart_api(INTERNAL_TOKEN=step)
        assert camera.api.get(f"{camera.path}/stream/status").status == 200, step
        body = {"camera_id": camera.camera_id}
        shown = internal(site.internal_url, step.partition(",")[0])
        assert shown.post("/api/v1/m2m/read-token", body).status == 200
    assert internal(site.streaming_url, old).get("/streams").status == 401
    assert internal(site.streaming_url, new).get("/streams").status == 200
