"""FFmpeg's segment list as it comes through a pipe: CSV lines of name, start and end in seconds.

A line says that a segment is complete, and nothing else does. Source: FFmpeg's ``segment`` muxer,
``segment_list_type csv``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from streamwarden.media.names import parse_live

_MAX_LINE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ListedSegment:
    """A segment that FFmpeg has finished; ``media_s`` is its length on the run's own time line."""

    number: int
    media_s: float


class SegmentListReader:
    """Turns chunks of the list into segments; a line that is not ours is counted and dropped."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._rest = b""
        self._overlong = False
        self.dropped = 0

    def feed(self, chunk: bytes) -> list[ListedSegment]:
        """Return the segments whose lines ``chunk`` completes, in order."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        segments = [self._finish(line) for line in lines]
        if len(self._rest) > _MAX_LINE_BYTES:
            # The rest of such a line is no line of its own.
            self._rest, self._overlong = b"", True
        return [segment for segment in segments if segment is not None]

    def _finish(self, line: bytes) -> ListedSegment | None:
        overlong, self._overlong = self._overlong or len(line) > _MAX_LINE_BYTES, False
        if overlong:
            self.dropped += 1
            return None
        return self._parse(line) if line.strip() else None

    def _parse(self, line: bytes) -> ListedSegment | None:
        name, _, times = line.decode("ascii", "replace").strip().partition(",")
        parsed = parse_live(name)
        if parsed is None or parsed[0] != self._run:
            self.dropped += 1
            return None
        return ListedSegment(parsed[1], _length_s(times))


def _length_s(times: str) -> float:
    """Return end - start, or 0 where the camera's time stamps make no sense."""
    try:
        start, end = (float(text) for text in times.split(","))
    except ValueError:
        return 0.0
    length = end - start
    return length if math.isfinite(length) and length > 0 else 0.0
