"""Pulled cameras: one FFmpeg each, which reads the camera and publishes to the relay.

MediaMTX has its own RTSP client for this; the relay uses the devkit's virtual camera. It is restarted
after a pause and dies with the relay, even on ``kill -9``. Simpler than MediaMTX: always on, at most one
video and one audio, no certificate check.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs

import imageio_ffmpeg  # type: ignore[import-untyped]  # has no types

from streamwarden.devkit.relay.path_config import PathConfig
from streamwarden.devkit.video_source import RealCamera
from streamwarden.devkit.virtual_camera import RestartPauses, VirtualCamera, stop_cameras

_PASS: Final = "pull"  # noqa: S105 - the name of a query's parameter
_PAUSES: Final = RestartPauses(first_s=5.0, most_s=5.0, jitter=lambda: 1.0)
"""MediaMTX waits 5 s after each failure of a static source; a change of the path ends the wait."""
_QUERY: Final = "$MTX_QUERY"
"""MediaMTX puts the reader's query here: for a path that is not on demand, nothing."""


class Pull:
    """One pulled camera. Only its FFmpeg has ``secret``, with which it may publish."""

    def __init__(
        self, config: PathConfig, source: str, *, ffmpeg: str, base_url: Callable[[], str]
    ) -> None:
        name = config.name
        self.name = name
        self.config = config
        self.secret = secrets.token_hex(16)
        self.camera = VirtualCamera(
            f"pull-{name}",
            lambda: f"{base_url()}/{name}?{_PASS}={self.secret}",
            ffmpeg=ffmpeg,
            source=RealCamera(source.replace(_QUERY, ""), config.transport),
            pauses=_PAUSES,
        )

    def __repr__(self) -> str:
        return f"Pull({self.name})"


def _same(before: PathConfig, after: PathConfig) -> bool:
    return before.to_json() == after.to_json()


class Pulls:
    """The pulled cameras by path. Used only on the event loop's thread.

    ``base_url`` is the relay's own URL; ``ffmpeg`` None: found at the first pull.
    """

    def __init__(self, *, ffmpeg: str | None, base_url: Callable[[], str]) -> None:
        self._ffmpeg = ffmpeg
        self._base_url = base_url
        self._running: dict[str, Pull] = {}

    def __contains__(self, name: object) -> bool:
        """Whether the path has a pulled camera, connected or not."""
        return name in self._running

    def __iter__(self) -> Iterator[str]:
        """List the paths."""
        return iter(self._running)

    @property
    def pids(self) -> Mapping[str, int | None]:
        """The process id of each path's FFmpeg, None between attempts."""
        return {name: pull.camera.pid for name, pull in self._running.items()}

    def set(self, name: str, config: PathConfig | None) -> bool:
        """Set the configuration of a path, None for no pull; return whether it changed.

        Any change begins anew, as in MediaMTX.
        """
        source = config.source if config is not None else None
        before = self._running.get(name)
        if before is None and source is None:
            return False
        if before is not None and config is not None and _same(before.config, config):
            return False
        if before is not None:
            before.camera.begin_stop()
            del self._running[name]
        if config is not None and source is not None:
            pull = Pull(config, source, ffmpeg=self._program(), base_url=self._base_url)
            self._running[name] = pull
            pull.camera.start()
        return True

    def admits(self, name: str, query: str) -> bool:
        """Whether ``query`` identifies the path's own FFmpeg."""
        pull = self._running.get(name)
        shown = parse_qs(query).get(_PASS, [""])[0]
        return pull is not None and hmac.compare_digest(pull.secret.encode(), shown.encode())

    async def stop(self) -> None:
        """Stop every FFmpeg."""
        cameras = [pull.camera for pull in self._running.values()]
        self._running.clear()
        await asyncio.to_thread(stop_cameras, cameras)

    def _program(self) -> str:
        if self._ffmpeg is None:
            self._ffmpeg = shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())
        return self._ffmpeg
