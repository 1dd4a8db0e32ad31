"""The installation that browser tests run against."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

from streamwarden.devkit.virtual_camera import VirtualCamera
from tests.acceptance.installation import Installation
from tests.acceptance.program import Program, free_port_base
from tests.acceptance.user import CameraUser

LATE_S = 60.0
"""On a machine several times slower."""


class DemoSite:
    """An installation with the page in front of it. ``webui`` is its base URL."""

    def __init__(self, installation: Installation, make: Callable[..., Program]) -> None:
        self.installation = installation
        port = free_port_base()
        self.webui = f"http://127.0.0.1:{port}"
        self.program = make(
            "serve", "--role", "webui",
            environ={
                "STREAMWARDEN_PORT_BASE": str(port),
                "STREAMWARDEN_API_URL": installation.api_url,
                "STREAMWARDEN_LOG_FORMAT": "json",
            },
        )  # fmt: skip
        self.program.start().await_listening(port)
        self._cameras: dict[str, CameraUser] = {}

    @property
    def api_port(self) -> int:
        """The users' API."""
        return int(urlsplit(self.installation.api_url).port or 0)

    def token(self, sub: str, *roles: str) -> str:
        """Return a user's token."""
        return self.installation.token_of(sub, *roles)

    def new_owner(self) -> str:
        """Return a user who has nothing yet: each test sees its own cameras alone."""
        return f"owner-{uuid4().hex[:8]}"

    def add(self, owner: str, name: str = "Test", **fields: object) -> CameraUser:
        """Add a camera of ``owner``."""
        answer = self.installation.admin.post(
            "/api/v1/camera", {"name": name, "owner": owner, **fields}
        )
        assert answer.status in {200, 201}, answer
        return CameraUser(self.installation.user(owner), answer.json()["id"])

    def push(self, camera: CameraUser) -> VirtualCamera:
        """Have a test picture pushed to the camera, until ``stop``."""
        pushing = self.installation.publish(camera)
        self.installation.await_published(camera)
        return pushing

    def recording(self, name: str = "Recorded") -> CameraUser:
        """Return a camera that records, the same for every test that only looks at it."""
        if name not in self._cameras:
            camera = self.add("watcher", name)
            self.installation.publish(camera)
            self.installation.await_published(camera)
            assert camera.connect({}).status == 200
            camera.await_segments(2)
            self._cameras[name] = camera
        # A test before may have ended the recording server for a while.
        self._cameras[name].await_status("running")
        return self._cameras[name]
