"""Real FFmpegs of both builds that must work, and one camera that they publish to many paths."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.relay.relay_server import RelayServer

_SYSTEM = shutil.which("ffmpeg")
BUNDLED = str(imageio_ffmpeg.get_ffmpeg_exe())
BUILDS = {"system": _SYSTEM, "bundled": BUNDLED}
BOTH = [
    pytest.param(
        name, marks=pytest.mark.skipif(path is None, reason="no ffmpeg on PATH: install one")
    )
    for name, path in BUILDS.items()
]
_PUBLISHED_WITHIN_S = 120


def ffmpeg_of(build: str) -> str:
    path = BUILDS[build]
    assert path is not None
    return path


def make_clip(folder: Path) -> Path:
    """Four seconds of picture and tone, with a key frame each half second."""
    clip = folder / "clip.mkv"
    command = [BUNDLED, "-nostdin", "-loglevel", "error"]
    command += ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=20:duration=4"]
    command += ["-f", "lavfi", "-i", "sine=duration=4", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "10", "-c:a", "aac", str(clip)]
    subprocess.run(command, check=True)
    return clip


@contextmanager
def published(
    relay: RelayServer, clip: Path, paths: Sequence[str], *, audio: Sequence[str] = ("copy",)
) -> Iterator[None]:
    """Publish ``clip`` for ever to all ``paths``."""
    command = [BUNDLED, "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1"]
    command += ["-i", str(clip)]
    for path in paths:
        command += ["-map", "0", "-c:v", "copy", "-c:a", *audio]
        command += ["-f", "rtsp", "-rtsp_transport", "tcp", f"{relay.rtsp_url}/{path}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as camera:
        try:
            for path in paths:
                assert relay.wait_for_publisher(path, timeout_s=_PUBLISHED_WITHIN_S)
            yield
        finally:
            camera.kill()


def complaints(path: Path) -> str:
    """What a decoder of the whole file has to say against it; two pictures at one time are no damage."""
    command = [BUNDLED, "-nostdin", "-v", "error", "-i", str(path)]
    command += ["-fps_mode", "vfr", "-f", "null", "-"]
    decoded = subprocess.run(command, capture_output=True, text=True, check=False)
    return decoded.stderr if decoded.returncode == 0 else f"{decoded.returncode} {decoded.stderr}"
