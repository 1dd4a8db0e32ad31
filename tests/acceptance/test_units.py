"""An installation whose roles run under the filters of their systemd units: it records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.calls import Caller
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import Installation, database_with_password
from tests.acceptance.program import FROM_THE_CHECKOUT, Program
from tests.integration.deploy.unit_filter import libseccomp, under

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"

pytestmark = [
    pytest.mark.skipif(not SYSTEMD.exists(), reason="needs the checkout"),
    pytest.mark.skipif(libseccomp() is None, reason="no libseccomp: install libseccomp2"),
]


@pytest.fixture
def confined(
    tmp_path: Path, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[Installation]:
    made: list[Program] = []

    def make(*arguments: str, environ: Mapping[str, str] | None = None) -> Program:
        unit = SYSTEMD / f"streamwarden-{arguments[-1]}.service"
        folder = tmp_path / arguments[-1]
        command = (*under(unit), *FROM_THE_CHECKOUT)
        made.append(Program(arguments, folder, environ=environ, command=command))
        return made[-1]

    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    installation = Installation(tmp_path, make, database_url=url, ffmpeg=ffmpeg)
    try:
        installation.start()
        yield installation
    finally:
        installation.close()
        for program in reversed(made):
            program.clean_up()


def test_roles_under_the_filters_of_their_units_record(confined: Installation) -> None:
    body = {"value": 1}
    assert confined.admin.put("/api/v1/settings/video_segment_seconds", body).status == 200
    camera = confined.camera()
    confined.publish(camera)
    assert camera.connect({"ttl": 300}).status == 200
    camera.await_segments(1)
    ready = Caller(confined.streaming_url).get("/readyz")
    assert ready.json()["checks"]["ffmpeg"] == {"ok": True, "detail": None}
