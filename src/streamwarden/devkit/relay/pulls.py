"""Cameras that serve RTSP: the relay pulls each with an FFmpeg, and has it publish into itself.

MediaMTX has a client of its own for this, the relay borrows the devkit's camera: it pulls, publishes,
is started again after a pause that grows to a bound, and dies with the relay, even by ``kill -9``.
It is simpler in this: over TCP whatever ``rtspTransport`` says, always and not on demand, one picture
and one sound at most, no look at certificates.
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

from streamwarden.devkit.video_source import RealCamera
from streamwarden.devkit.virtual_camera import RestartPauses, VirtualCamera, stop_cameras

_PASS: Final = "pull"  # noqa: S105 - the name of a query's parameter
_PAUSES: Final = RestartPauses(first_s=0.5, most_s=5.0)
"""MediaMTX waits 5 s after each failure (its static sources' retry pause)."""


class Pull:
    """One camera being pulled. ``secret`` lets its FFmpeg in, and nobody else."""

    def __init__(self, name: str, source: str, *, ffmpeg: str, base_url: Callable[[], str]) -> None:
        self.name = name
        self.source = source
        self.secret = secrets.token_hex(16)
        self.camera = VirtualCamera(
            f"pull-{name}",
            lambda: f"{base_url()}/{name}?{_PASS}={self.secret}",
            ffmpeg=ffmpeg,
            source=RealCamera(source),
            pauses=_PAUSES,
        )

    def __repr__(self) -> str:
        return f"Pull({self.name})"


class Pulls:
    """All of them, by path. Used on the event loop's thread only.

    ``base_url`` is where the relay itself is; ``ffmpeg`` None looks for one with the first pull.
    """

    def __init__(self, *, ffmpeg: str | None, base_url: Callable[[], str]) -> None:
        self._ffmpeg = ffmpeg
        self._base_url = base_url
        self._running: dict[str, Pull] = {}

    def __contains__(self, name: object) -> bool:
        """Whether the path has a camera of its own, be it there or not."""
        return name in self._running

    def __iter__(self) -> Iterator[str]:
        """List the paths."""
        return iter(self._running)

    @property
    def pids(self) -> Mapping[str, int | None]:
        """The FFmpeg of each path; None between two attempts."""
        return {name: pull.camera.pid for name, pull in self._running.items()}

    def set(self, name: str, source: str | None) -> bool:
        """Pull ``source`` for a path from now on, or with None nothing; False: as it was before."""
        before = self._running.get(name)
        if (before.source if before is not None else None) == source:
            return False
        if before is not None:
            before.camera.begin_stop()
            del self._running[name]
        if source is not None:
            pull = Pull(name, source, ffmpeg=self._program(), base_url=self._base_url)
            self._running[name] = pull
            pull.camera.start()
        return True

    def admits(self, name: str, query: str) -> bool:
        """Whether ``query`` shows that it is the path's own FFmpeg that publishes."""
        pull = self._running.get(name)
        shown = parse_qs(query).get(_PASS, [""])[0]
        return pull is not None and hmac.compare_digest(pull.secret.encode(), shown.encode())

    async def stop(self) -> None:
        """End every FFmpeg."""
        cameras = [pull.camera for pull in self._running.values()]
        self._running.clear()
        await asyncio.to_thread(stop_cameras, cameras)

    def _program(self) -> str:
        if self._ffmpeg is None:
            self._ffmpeg = shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())
        return self._ffmpeg
