"""Reading the burnt-in clock of decoded frames."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamwarden.devkit.clock_picture import (
    LIT_SEGMENTS,
    Rectangle,
    holes,
    marks,
    panel,
    segment_boxes,
)
from streamwarden.errors import StreamwardenError

READING_WIDTH, READING_HEIGHT = 640, 360
_DAY_S = 86400
_DARK_BELOW, _BRIGHT_FROM = 100, 150
"""Luma, 0 to 255. A frame with a segment between the two values is not read."""

_DIGIT_OF = {frozenset(lit): digit for digit, lit in enumerate(LIT_SEGMENTS)}


class FrameUnreadable(StreamwardenError):
    """FFmpeg decoded no frame at that offset of the file."""


def read_clock(frame: bytes | memoryview, width: int, height: int) -> float | None:
    """Return the time of day in UTC seconds, to the tenth; None if no clock can be read.

    ``frame`` holds ``width`` x ``height`` bytes of luma (rawvideo ``gray``). Only the middle of each
    segment is sampled, because H.264 smears the edges.
    """
    if len(frame) < width * height or not _has_clock(frame, width, height):
        return None
    digits = [_digit(frame, width, boxes) for boxes in segment_boxes(width)]
    return _time_of_day_s([digit for digit in digits if digit is not None])


def moment_of(reading_s: float, *, near: datetime) -> datetime:
    """Return the moment nearest to the aware ``near`` at which the clock showed ``reading_s``.

    The clock shows no date; this puts a reading from before midnight on the right day.
    """
    near = near.astimezone(UTC)
    midnight = near.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (timedelta(days=d, seconds=reading_s) for d in (-1, 0, 1))
    return min((midnight + day for day in days), key=lambda moment: abs(moment - near))


def clock_in_file(ffmpeg: str, media: str | Path, *, offset_s: float = 0.0) -> float | None:
    """Return the clock's reading ``offset_s`` into a media file, by default at its first frame.

    Raises:
        FrameUnreadable: FFmpeg decodes no frame there.
    """
    for reading in clocks_in_file(ffmpeg, media, offset_s=offset_s, frames=1):
        return reading
    raise FrameUnreadable(f"no frame {offset_s:.3f} s into {media}")


def clocks_in_file(
    ffmpeg: str, media: str | Path, *, offset_s: float = 0.0, frames: int | None = None
) -> Iterator[float | None]:
    """Yield the clock's reading in each frame from ``offset_s`` on, at most ``frames`` of them."""
    argv = _decoding(ffmpeg, str(media), offset_s=offset_s, frames=frames)
    with subprocess.Popen(  # noqa: S603 - the program and its arguments are the developer's own
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as decoder:
        try:
            yield from _readings(decoder)
        finally:
            decoder.kill()


def _readings(decoder: subprocess.Popen[bytes]) -> Iterator[float | None]:
    if decoder.stdout is None:
        raise FrameUnreadable("FFmpeg was started without a pipe")
    size = READING_WIDTH * READING_HEIGHT
    while len(frame := decoder.stdout.read(size)) == size:
        yield read_clock(frame, READING_WIDTH, READING_HEIGHT)


def _decoding(ffmpeg: str, media: str, *, offset_s: float, frames: int | None) -> list[str]:
    seek = ["-ss", f"{offset_s:.3f}"] if offset_s > 0 else []
    limit = ["-frames:v", str(frames)] if frames is not None else []
    scale = f"scale={READING_WIDTH}:{READING_HEIGHT}"
    quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "quiet", "-threads", "1"]
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]
    # Without passthrough FFmpeg repeats frames to reach a constant frame rate.
    return [ffmpeg, *quiet, *seek, "-i", media, "-an", "-fps_mode", "passthrough", "-vf", scale,
            *limit, *raw]  # fmt: skip


def _has_clock(frame: bytes | memoryview, width: int, height: int) -> bool:
    ground = panel(width)
    if ground.y + ground.height > height or ground.x + ground.width > width:
        return False
    bright = (_lit(frame, width, mark) is True for mark in marks(width))
    dark = (_lit(frame, width, hole) is False for hole in holes(width))
    return all(bright) and all(dark)


def _digit(frame: bytes | memoryview, width: int, boxes: dict[str, Rectangle]) -> int | None:
    lit = {name: _lit(frame, width, box) for name, box in boxes.items()}
    if None in lit.values():
        return None
    return _DIGIT_OF.get(frozenset(name for name, on in lit.items() if on))


def _lit(frame: bytes | memoryview, width: int, box: Rectangle) -> bool | None:
    """Return whether the middle half of ``box`` is bright or dark; None if neither."""
    inset_x, inset_y = box.width // 4, box.height // 4
    rows = range(box.y + inset_y, box.y + box.height - inset_y)
    left, right = box.x + inset_x, box.x + box.width - inset_x
    luma = _mean(frame[row * width + left : row * width + right] for row in rows)
    if luma < _DARK_BELOW:
        return False
    return True if luma >= _BRIGHT_FROM else None


def _mean(rows: Iterable[bytes | memoryview]) -> float:
    total = count = 0
    for row in rows:
        total += sum(row)
        count += len(row)
    return total / count


def _time_of_day_s(digits: list[int]) -> float | None:
    if len(digits) != len("HHMMSSt"):
        return None
    h10, h1, m10, m1, s10, s1, tenth = digits
    tenths = ((h10 * 10 + h1) * 3600 + (m10 * 10 + m1) * 60 + s10 * 10 + s1) * 10 + tenth
    possible = m10 < 6 and s10 < 6 and tenths < _DAY_S * 10  # noqa: PLR2004 - sixty minutes, seconds
    return tenths / 10 if possible else None
