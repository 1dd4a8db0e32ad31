"""The joining of files by both builds of FFmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from streamwarden.ffmpeg.jobs import ConcatEntry, concat_argv, concat_list
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, BUNDLED, complaints, ffmpeg_of


@pytest.mark.parametrize("build", BOTH)
def test_h265_of_older_recordings_is_joined_as_every_player_takes_it(
    tmp_path: Path, build: str
) -> None:
    source = tmp_path / "hev1.mp4"
    encode = [
        BUNDLED,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=160x120:rate=10",
        "-t",
        "2",
    ]
    encode += ["-c:v", "libx265", "-x265-params", "log-level=error:pools=1", "-tag:v", "hev1"]
    subprocess.run([*encode, str(source)], check=True, timeout=60)
    assert b"hev1" in source.read_bytes()
    script = concat_list([ConcatEntry(source, 0, 2000)])
    (tmp_path / "list.txt").write_text(script, encoding="utf-8")
    argv = concat_argv(ffmpeg_of(build), "list.txt", "joined.mp4", hevc=True)
    subprocess.run(argv, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    joined = (tmp_path / "joined.mp4").read_bytes()
    assert (b"hvc1" in joined, b"hev1" in joined) == (True, False)
    assert not complaints(tmp_path / "joined.mp4")
