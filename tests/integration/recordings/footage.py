"""Segments as the recorder's FFmpeg writes them, of a test picture, with their rows."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from streamwarden.ffmpeg.command import _FRAGMENTS, find_ffmpeg
from streamwarden.model import Segment
from streamwarden.mp4.fragments import summarise
from tests.fakes.storage_samples import NOON, a_segment

FFMPEG = find_ffmpeg(None)


def write_segments(folder: Path, *, seconds: int, segment_s: int, gop_s: int = 1) -> list[Path]:
    """Write a test picture with a tone into ``folder``, cut every ``segment_s``."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = [
        *(FFMPEG, "-v", "error", "-nostdin"),
        *("-f", "lavfi", "-i", f"testsrc=size=320x180:rate=10:duration={seconds}"),
        *("-f", "lavfi", "-i", f"sine=duration={seconds}:sample_rate=16000"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
        *("-pix_fmt", "yuv420p", "-g", str(10 * gop_s), "-keyint_min", str(10 * gop_s)),
        *("-sc_threshold", "0", "-c:a", "aac", "-b:a", "32k"),
        *("-f", "segment", "-segment_time", str(segment_s), "-reset_timestamps", "1"),
        *("-segment_format", "mp4", "-segment_format_options", _FRAGMENTS, "r1-%06d.mp4"),
    ]
    subprocess.run(argv, cwd=folder, check=True, timeout=60)
    return sorted(folder.glob("r1-*.mp4"))


def rows_of(root: Path, camera_id: UUID, paths: list[Path], *, run: int = 1) -> list[Segment]:
    """Return the rows of files that follow each other from noon on."""
    rows, at_s = [], 0.0
    for number, path in enumerate(paths):
        summary = summarise(path)
        end_s = at_s + summary.media_ms / 1000
        row = a_segment(
            camera_id,
            start=at_s,
            end=end_s,
            run=run,
            number=number,
            media_ms=summary.media_ms,
            size_bytes=path.stat().st_size,
            path=str(path.relative_to(root)),
            init_bytes=summary.init_bytes,
        )
        rows.append(row)
        at_s = end_s
    assert rows[0].started_at == NOON + timedelta(0)
    return rows


def probe(path: Path | str) -> tuple[float, str]:
    """Play a file or a playlist to nowhere; return how many seconds it has, and complaints."""
    argv = [FFMPEG, "-v", "error", "-nostdin", "-nostats", "-progress", "pipe:1"]
    argv += ["-i", str(path), "-map", "0:v:0", "-f", "null", "-"]
    played = subprocess.run(argv, check=False, timeout=60, capture_output=True)
    times = [line for line in played.stdout.splitlines() if line.startswith(b"out_time_us=")]
    seconds = int(times[-1].partition(b"=")[2]) / 1e6 if times else 0.0
    return seconds, played.stderr.decode()
