"""What FFmpeg has finished is described by its trailer as by its boxes, whatever the time stamps do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from streamwarden.ffmpeg.command import segment_output
from streamwarden.mp4 import fragments
from streamwarden.mp4.fragments import FileSummary, summarise, summarise_finished
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, ffmpeg_of

_FROM_FRAME_35 = "gte(N\\,35)*{}/TB"
SHIFTS = {
    "even": "0",
    "ahead": _FROM_FRAME_35.format(7.3),
    "hours_ahead": _FROM_FRAME_35.format(7200),
    "back": _FROM_FRAME_35.format(-2.5),
    "uneven": "mod(N*N\\,7)*0.004/TB",
}


def _record(ffmpeg: str, folder: Path, shift: str, *, sound: bool) -> list[Path]:
    command = [ffmpeg, "-v", "fatal", "-nostdin"]
    command += ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=12"]
    command += ["-f", "lavfi", "-i", "sine=duration=12:sample_rate=16000"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"]
    command += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]
    command += ["-bsf:v", f"setts=ts=TS+{shift}", "-f", "nut", "pipe:1"]
    recorder = [ffmpeg, "-v", "fatal", "-nostdin", "-f", "nut", "-i", "pipe:0"]
    recorder += segment_output(
        audio="copy" if sound else "none", segment_seconds=4, pattern="r1-%06d.mp4"
    )
    recorder[recorder.index("pipe:1")] = "list.csv"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        subprocess.run(recorder, stdin=source.stdout, cwd=folder, check=True, timeout=60)
    return sorted(folder.glob("r1-*.mp4"))


def _finished(path: Path) -> FileSummary:
    with path.open("rb") as file:
        return summarise_finished(file.fileno(), path.stat().st_size)


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_trailer_says_what_the_boxes_say(
    tmp_path: Path, build: str, shift: str, sound: bool
) -> None:
    files = _record(ffmpeg_of(build), tmp_path, SHIFTS[shift], sound=sound)
    assert files
    for path in files:
        assert _finished(path) == summarise(path)


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("sound", [True, False])
def test_ffmpegs_trailer_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str, sound: bool
) -> None:
    def refuse(_pictures: object) -> int:
        raise AssertionError("counted box by box")

    files = _record(ffmpeg_of(build), tmp_path, SHIFTS["even"], sound=sound)
    monkeypatch.setattr(fragments, "_shown", refuse)
    assert sum(_finished(path).media_ms for path in files) == pytest.approx(12_000, abs=200)
