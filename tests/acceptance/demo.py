"""``streamwarden demo``, started as ``make run`` starts it, over either media server."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from streamwarden.auth.users import UserTokens
from streamwarden.clock import Clock
from tests.acceptance.calls import Caller, bearer, internal
from tests.acceptance.program import FROM_THE_CHECKOUT, Program, free_port_base
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

READY_WITHIN_S = 75.0
SEGMENT_S = 3
_READY = "READY "


class DemoProgram:
    """One data directory and one range of ports, and the program on them, started any number of times."""

    def __init__(
        self,
        folder: Path,
        *,
        media: Mapping[str, str],
        cameras: int = 2,
        segment_s: int = SEGMENT_S,
        command: Sequence[str] = FROM_THE_CHECKOUT,
    ) -> None:
        self.data_dir = folder / "data dir"
        self.port_base = free_port_base()
        self.program = Program(
            ("demo", "--data-dir", str(self.data_dir), "--port-base", str(self.port_base),
             "--cameras", str(cameras), "--segment-seconds", str(segment_s)),
            folder,
            environ={"STREAMWARDEN_LOG_FORMAT": "json", **media},
            command=command,
        )  # fmt: skip
        self.ready: Mapping[str, Any] = {}

    def start(self) -> Self:
        """Start it and wait for its READY line."""
        before = len(self._ready_lines())
        self.program.start()

        def look() -> str | None:
            ended = self.program.process.poll()
            assert ended is None, f"ended with {ended}:\n{self.program.tail()}"
            lines = self._ready_lines()
            return lines[-1] if len(lines) > before else None

        line = wait_for("the READY line", look, within_s=READY_WITHIN_S)
        self.ready = json.loads(line.removeprefix(_READY))
        return self

    @property
    def record_root(self) -> Path:
        """Where recordings are."""
        return Path(self.ready["record_root"])

    @property
    def cameras(self) -> list[CameraUser]:
        """The demo's cameras in the hands of its user."""
        api, token = self.ready["api"], self.ready["token"]
        return [CameraUser.of(api, token, camera_id) for camera_id in self.ready["cameras"]]

    @property
    def api(self) -> Caller:
        """The API with the demo user's token."""
        return bearer(self.ready["api"], self.ready["token"])

    @property
    def streaming(self) -> Caller:
        """The streaming role with the roles' own token."""
        return internal(self.ready["streaming"], self.ready["internal_token"])

    @property
    def internal_api(self) -> Caller:
        """The internal API with the roles' own token."""
        return internal(self.ready["internal_api"], self.ready["internal_token"])

    def secrets(self) -> Mapping[str, str]:
        """Return what the demo keeps secret, by name."""
        kept: Mapping[str, str] = json.loads((self.data_dir / "secrets.json").read_text())
        return kept

    def token_of(self, sub: str, *roles: str) -> str:
        """Return a token for another user, as their identity provider would sign it."""
        secret = self.secrets()["user_jwt_secret"]
        tokens = UserTokens(secret, audience="streamwarden", roles_claim="roles", clock=Clock())
        return tokens.sign(sub, roles=roles, ttl_s=3600)

    def folder_of(self, camera: CameraUser) -> Path:
        """Return where a camera's files are."""
        return self.record_root / "demo" / camera.camera_id

    def recorder_of(self, camera: CameraUser) -> psutil.Process | None:
        """Return the FFmpeg that records it now."""
        return self.program.recorder(self.record_root, camera.camera_id)

    def kill_media_server(self) -> None:
        """End it with SIGKILL; the demo starts another on the same ports."""
        self.media_server().send_signal(signal.SIGKILL)

    def media_server(self) -> psutil.Process:
        """Return the media server's process."""
        words = {"mediamtx": "mediamtx.yml", "devkit": "streamwarden.devkit.relay"}
        word = words[str(self.ready["media_server"])]
        return next(child for child in self.program.tree() if word in " ".join(child.cmdline()))

    def _ready_lines(self) -> list[str]:
        return [line for line in self.program.stdout.splitlines() if line.startswith(_READY)]


def relay_only(cache: Path) -> dict[str, str]:
    """Return the environment in which no MediaMTX is to be found, not even by downloading it."""
    found = shutil.which("mediamtx")
    path = os.environ.get("PATH", "")
    kept = [one for one in path.split(":") if not found or Path(one) != Path(found).parent]
    nowhere = "http://127.0.0.1:9"
    return {"PATH": ":".join(kept), "XDG_CACHE_HOME": str(cache), "https_proxy": nowhere}


def real_mediamtx() -> dict[str, str] | None:
    """Return the environment that names a real MediaMTX, or None when this machine has none."""
    found = os.environ.get("STREAMWARDEN_MEDIAMTX") or shutil.which("mediamtx")
    return {"STREAMWARDEN_MEDIAMTX": found} if found else None
