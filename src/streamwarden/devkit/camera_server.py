"""Virtual cameras that serve RTSP, as most real ones do, with or without a password."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Self
from urllib.parse import quote

from streamwarden.devkit.relay.faults import Fault
from streamwarden.devkit.relay.password_auth import PasswordAuth
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.devkit.video_source import SMALL_PICTURE, VideoSource
from streamwarden.devkit.virtual_camera import VirtualCamera, stop_cameras
from streamwarden.mediamtx.rtsp_client import Login

__all__ = ["CameraServer", "Login"]


class CameraServer:
    """One address with any number of cameras, each at its own path.

    The relay's ``faults`` make a camera redirect, send garbage, fall silent or let its clock jump. Faults
    in the video itself come from its source (``clips``: rare key frames, a new size in mid-stream).
    """

    def __init__(
        self,
        *,
        ffmpeg: str,
        login: Login | None = None,
        schemes: Sequence[str] = ("Digest", "Basic"),
    ) -> None:
        self.login = login
        self._ffmpeg = ffmpeg
        self.publish_token = secrets.token_hex(16)
        """Token with which a source publishes, at any path."""
        authenticator = PasswordAuth(login, schemes=schemes, publish_token=self.publish_token)
        self.relay = RelayServer(authenticator=authenticator)
        self._cameras: list[VirtualCamera] = []

    def start(self) -> None:
        """Listen. After a restart the ports are the same."""
        self.relay.start()

    def stop(self) -> None:
        """Stop all cameras and close the listeners. No effect when repeated."""
        stop_cameras(self._cameras)
        self._cameras.clear()
        self.relay.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def serve(self, path: str, source: VideoSource = SMALL_PICTURE) -> str:
        """Serve ``source`` at ``path``; return its URL, without user and password."""
        inside = f"{self.relay.rtsp_url}/{path}?token={self.publish_token}"
        camera = VirtualCamera(f"served-{path}", lambda: inside, ffmpeg=self._ffmpeg, source=source)
        self._cameras.append(camera)
        camera.start()
        return self.url(path)

    def await_picture(self, path: str, *, timeout_s: float = 60.0) -> bool:
        """Wait until ``path`` is published; False on timeout."""
        return self.relay.wait_for_publisher(path, timeout_s=timeout_s)

    def url(self, path: str, login: Login | None = None) -> str:
        """Return the URL of ``path``, with user and password if given."""
        if login is None:
            return f"{self.relay.rtsp_url}/{path}"
        shown = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
        return f"{self.relay.rtsp_url}/{path}".replace("://", f"://{shown}@", 1)

    def fault(self, path: str, fault: Fault) -> None:
        """Set a fault of a camera."""
        self.relay.faults.set(path, fault)
