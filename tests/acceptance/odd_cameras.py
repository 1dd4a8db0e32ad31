"""Odd cameras (``streamwarden.devkit.odd_camera``) that an installation pulls and records.

A test asks for the fixture ``odd_cameras``:

    def test_x(odd_cameras: OddCameras) -> None:
        odd, camera = odd_cameras.record("small", sound="pcma", sound_after_s=None)
        camera.await_segments(2)  # what the camera's user sees
        odd.change(sound_after_s=0)  # the microphone is switched on
        assert odd_cameras.findings(camera) == []  # stops it, then verifies with every file decoded

``record`` takes streams (``STREAMS``) and the fields of ``Oddities``. ``odd_cameras.site`` is the
installation, shared by the session and with segments of a second; a test that needs settings of its own
makes one with `pulling_installation` and ``OddCameras(installation, stream_library)``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from streamwarden.devkit.odd_camera import OddCamera, Oddities, StreamLibrary
from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.footage import file_of
from tests.acceptance.installation import OWNER, database_with_password
from tests.acceptance.program import programs
from tests.acceptance.user import CameraUser, Item

_PASSWORD = "open-sesame-of-the-database"


@contextmanager
def pulling_installation(
    folder: Path,
    server: EmbeddedPostgres,
    ffmpeg: str,
    *,
    segment_seconds: int = 2,
    changed: dict[str, str | None] | None = None,
) -> Iterator[ConfiguredInstallation]:
    """Yield a running installation that may pull cameras on loopback, with ``changed`` settings."""
    url = database_with_password(server, _PASSWORD)
    with programs(folder) as make:
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed={}
        )
        installation.changed |= {
            "MEDIAMTX_API_URL": installation.relay.control_url,
            "SOURCE_NETWORKS": "127.0.0.1",
            "SOURCE_SECRET_KEYS": secrets.token_hex(32),
            **(changed or {}),
        }
        installation.move_to(url)
        try:
            installation.start()
            setting = {"value": segment_seconds}
            answer = installation.admin.put("/api/v1/settings/video_segment_seconds", setting)
            assert answer.status == 200, answer
            yield installation
        finally:
            installation.close()


class OddCameras:
    """The odd cameras of one test, each pulled and recorded by ``site``."""

    def __init__(self, site: ConfiguredInstallation, library: StreamLibrary) -> None:
        self.site = site
        self._library = library
        self._running: list[tuple[OddCamera, CameraUser]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for odd, camera in self._running:
            camera.disconnect()
            odd.stop()

    def record(self, *streams: str, **oddities: Any) -> tuple[OddCamera, CameraUser]:  # noqa: ANN401  # fields of Oddities
        """Start a camera, have it pulled and recorded; return it, and what its owner sees of it."""
        odd, camera = self.add(*streams, **oddities)
        answer = camera.connect()
        assert answer.status == 200, answer
        return odd, camera

    def add(self, *streams: str, **oddities: Any) -> tuple[OddCamera, CameraUser]:  # noqa: ANN401  # fields of Oddities
        """Start a camera and have it pulled, not yet recorded."""
        odd = OddCamera(self._library, *streams, oddities=Oddities(**oddities))
        odd.start()
        body = {"name": "Odd", "owner": OWNER, "path": f"odd/{uuid4().hex}", "source_url": odd.url}
        if (login := odd.oddities.login) is not None:
            body |= {"source_username": login.user, "source_password": login.password}
        answer = self.site.admin.post("/api/v1/camera", body)
        if answer.status != 201:
            odd.stop()
        assert answer.status == 201, answer
        camera = CameraUser(self.site.user(OWNER), answer.json()["id"])
        self._running.append((odd, camera))
        return odd, camera

    def findings(self, camera: CameraUser) -> list[str]:
        """Stop the recording; return what ``recordings verify`` finds, with every file decoded."""
        self.site.settle(camera)
        return self.site.findings(camera)

    def file(self, camera: CameraUser, segment: Item) -> Path:
        """Return the file of a segment."""
        return file_of(self.site.record_root / OWNER / camera.camera_id, segment)
