"""What FFmpeg draws is what the reader reads, at any time of any day."""

from __future__ import annotations

import shutil
import subprocess

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.clock_picture import drawing
from streamwarden.devkit.clock_reading import read_clock

WIDTH, HEIGHT, DAY_TENTHS = 640, 360, 864_000
FFMPEGS = [
    pytest.param(
        shutil.which("ffmpeg"),
        id="path",
        marks=pytest.mark.skipif(
            shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH: install Debian's ffmpeg"
        ),
    ),
    pytest.param(imageio_ffmpeg.get_ffmpeg_exe(), id="bundled"),
]
DAY_START_S = 1_795_305_600
"""2026-11-22 00:00 UTC."""


@pytest.mark.parametrize("ffmpeg", FFMPEGS)
@pytest.mark.parametrize(
    ("first_tenth", "step_tenths"),
    [(DAY_TENTHS - 20, 1), (0, 9_973), (359_995, 1)],
    ids=["midnight", "all day", "ten o'clock"],
)
def test_each_drawn_time_reads_as_itself(ffmpeg: str, first_tenth: int, step_tenths: int) -> None:
    frames = 90
    readings = drawn(ffmpeg, first_tenth=first_tenth, step_tenths=step_tenths, frames=frames)
    expected = [(first_tenth + n * step_tenths) % DAY_TENTHS / 10 for n in range(frames)]
    assert readings == expected


def drawn(ffmpeg: str, *, first_tenth: int, step_tenths: int, frames: int) -> list[float | None]:
    # Half a tenth in: the moment itself could fall to either side.
    start_us = DAY_START_S * 1_000_000 + first_tenth * 100_000 + 50_000
    graph = (
        f"color=size={WIDTH}x{HEIGHT}:rate=10,format=yuv420p,settb=1/1000000,"
        f"setpts={start_us}+N*{step_tenths * 100_000},{drawing(WIDTH)}"
    )
    argv = [ffmpeg, "-nostdin", "-loglevel", "error", "-copyts", "-f", "lavfi", "-i", graph]
    raw = ["-frames:v", str(frames), "-fps_mode", "passthrough", "-pix_fmt", "gray"]
    ran = subprocess.run(
        [*argv, *raw, "-f", "rawvideo", "pipe:1"], check=True, capture_output=True, timeout=60
    )
    size = WIDTH * HEIGHT
    pictures = (ran.stdout[at : at + size] for at in range(0, len(ran.stdout), size))
    return [read_clock(picture, WIDTH, HEIGHT) for picture in pictures]
