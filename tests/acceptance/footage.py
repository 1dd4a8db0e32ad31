"""What a recorded file says when it is decoded: whether it is whole, and when it was taken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from streamwarden.devkit.clock_reading import clock_in_file, moment_of
from streamwarden.paths import parse_stored, segment_id
from tests.acceptance.pressure import waited_s
from tests.acceptance.user import Item

_DECODED_WITHIN_S = 120


def complaints(ffmpeg: str, file: Path, *, sound: bool = True) -> str:
    """Return what FFmpeg says while it decodes all of ``file``: nothing, if it is whole.

    All is decoded. What comes out goes to formats without timestamps, and of pictures at one time only
    the first: a run's first ones may lie closer together than a frame, or with B-frames two in one
    place (FFmpeg corrects its clock with the first RTCP report), which no decoder minds.
    ``sound`` is decoded where the file has any: on a busy machine it may begin after a run's first file.
    """
    with_sound = sound and "audio" in tracks(ffmpeg, file)
    argv = [ffmpeg, "-v", "error", "-xerror", "-nostdin", "-y", "-i", str(file)]
    argv += ["-map", "0:v", "-fps_mode", "vfr", "-f", "rawvideo", os.devnull]
    argv += ["-map", "0:a", "-f", "s16le", os.devnull] if with_sound else []
    done = subprocess.run(argv, capture_output=True, timeout=_DECODED_WITHIN_S, check=False)
    said = done.stderr.decode(errors="replace").strip()
    return said or ("" if done.returncode == 0 else f"code {done.returncode}")


def tracks(ffmpeg: str, file: Path) -> list[str]:
    """Return the kinds of the file's tracks, by ffprobe where there is one."""
    if probe := shutil.which("ffprobe"):
        argv = [probe, "-v", "error", "-show_streams", "-of", "json", str(file)]
        done = subprocess.run(argv, capture_output=True, timeout=_DECODED_WITHIN_S, check=True)
        assert not done.stderr, done.stderr
        return [stream["codec_type"] for stream in json.loads(done.stdout)["streams"]]
    argv = [ffmpeg, "-hide_banner", "-nostdin", "-i", str(file), "-f", "null", "-"]
    done = subprocess.run(argv, capture_output=True, timeout=_DECODED_WITHIN_S, check=True)
    said = done.stderr.decode(errors="replace").partition("Output #0")[0]
    return [kind.lower() for kind in ("Video", "Audio") if f": {kind}: " in said]


def drift_s(ffmpeg: str, file: Path, segment: Item, *, offset_s: float) -> float:
    """Return by how much the burnt-in clock ``offset_s`` into the file is ahead of the index."""
    expected = moment(segment["started_at"]) + timedelta(seconds=offset_s)
    reading = clock_in_file(ffmpeg, file, offset_s=offset_s)
    assert reading is not None, f"no clock can be read {offset_s} s into {file.name}"
    return (moment_of(reading, near=expected) - expected).total_seconds()


def clock_bound_s(segment: Item) -> float:
    """Return how far a picture's clock and the index may differ: a second, and what the machine cost."""
    return 1.0 + waited_s(moment(segment["started_at"]), moment(segment["ended_at"]))


def moment(text: str) -> datetime:
    """Return a time of the API."""
    return datetime.fromisoformat(text)


def seconds_between(earlier: str, later: str) -> float:
    """Return how long after ``earlier`` ``later`` is."""
    return (moment(later) - moment(earlier)).total_seconds()


def now() -> str:
    """Return the present as the API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def file_of(folder: Path, segment: Item) -> Path:
    """Return the file of a segment, found by what the contract says that its name holds.

    Segments that FFmpeg lists in one instant begin in the same millisecond: their ids tell them apart.
    """
    started = moment(segment["started_at"])
    clock = f"{started:%H%M%S}.{started.microsecond // 1000:03d}Z"
    day = folder / f"{started:%Y-%m-%d}"
    found = list(day.glob(f"{clock}-r{segment['run']}-*.mp4"))
    if len(found) > 1:
        names = {path: parse_stored(day.name, path.name) for path in found}
        camera_id, wanted = UUID(folder.name), UUID(segment["id"])
        found = [
            p for p, n in names.items() if n and segment_id(camera_id, n.run, n.number) == wanted
        ]
    assert len(found) == 1, (segment, found)
    return found[0]


def open_bytes(folder: Path) -> int:
    """Return how much the file that is being written below a camera's ``folder`` holds.

    One that is complete lies beside it for a moment, until it has been stored.
    """
    writing = max((folder / ".live").glob("*.mp4"), default=None)
    with suppress(FileNotFoundError):
        return writing.stat().st_size if writing else 0
    return 0


def stored_files(folder: Path) -> list[Path]:
    """Return every stored segment below ``folder``: what is in progress does not count."""
    return sorted(file for file in folder.rglob("*.mp4") if ".live" not in file.parts)


def holes(items: Sequence[Item], *, seam_s: float = 1.0) -> list[str]:
    """Return every stretch between the first item's start and the last one's that nothing covers."""
    found = []
    covered = items[0]["started_at"]
    for item in items:
        if seconds_between(covered, item["started_at"]) > seam_s:
            found.append(f"{covered} to {item['started_at']}")
        covered = max(covered, item["ended_at"] or now())
    return found
