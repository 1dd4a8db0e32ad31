"""Cameras that serve RTSP themselves, as most real ones do, behind a password or none."""

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
from streamwarden.probe.rtsp_client import Login

__all__ = ["CameraServer", "Login"]


class CameraServer:
    """One address with any number of cameras, each at a path of its own.

    ``faults`` of the relay make one redirect, answer garbage, fall silent or let its clock jump. What
    it sends is its source's business (``clips``: key frames far apart, another size in mid-stream).
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
        """Lets a picture in, at any path."""
        authenticator = PasswordAuth(login, schemes=schemes, publish_token=self.publish_token)
        self.relay = RelayServer(authenticator=authenticator)
        self._cameras: list[VirtualCamera] = []

    def start(self) -> None:
        """Listen, on the ports of before if there were any."""
        self.relay.start()

    def stop(self) -> None:
        """End every camera, and listen no more. Harmless when repeated."""
        stop_cameras(self._cameras)
        self._cameras.clear()
        self.relay.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def serve(self, path: str, source: VideoSource = SMALL_PICTURE) -> str:
        """Serve ``source`` at ``path`` from now on; return its URL, without user and password."""
        inside = f"{self.relay.rtsp_url}/{path}?token={self.publish_token}"
        camera = VirtualCamera(f"served-{path}", lambda: inside, ffmpeg=self._ffmpeg, source=source)
        self._cameras.append(camera)
        camera.start()
        return self.url(path)

    def await_picture(self, path: str, *, timeout_s: float = 60.0) -> bool:
        """Wait until ``path`` has its picture; False when it was not so in time."""
        return self.relay.wait_for_publisher(path, timeout_s=timeout_s)

    def url(self, path: str, login: Login | None = None) -> str:
        """Return the URL of ``path``, with a user and a password in it where some are given."""
        if login is None:
            return f"{self.relay.rtsp_url}/{path}"
        shown = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
        return f"{self.relay.rtsp_url}/{path}".replace("://", f"://{shown}@", 1)

    def fault(self, path: str, fault: Fault) -> None:
        """Have a camera do something wrong from now on."""
        self.relay.faults.set(path, fault)
