"""A painter of the clock in Python: the reader's counterpart without FFmpeg."""

from __future__ import annotations

from streamwarden.devkit.clock_picture import LIT_SEGMENTS, Rectangle, marks, panel, segment_boxes

GREY, BLACK, WHITE = 120, 16, 235


def painted_clock(shown: str, *, width: int = 640, height: int = 360) -> bytearray:
    """Return luma of a picture whose clock shows the seven digits ``shown`` (HHMMSSt)."""
    frame = bytearray([GREY]) * (width * height)
    paint(frame, width, panel(width), BLACK)
    for mark in marks(width):
        paint(frame, width, mark, WHITE)
    for digit, boxes in zip(shown, segment_boxes(width), strict=True):
        for segment in LIT_SEGMENTS[int(digit)]:
            paint(frame, width, boxes[segment], WHITE)
    return frame


def paint(frame: bytearray, width: int, box: Rectangle, luma: int) -> None:
    """Fill ``box`` of ``frame``."""
    for row in range(box.y, box.y + box.height):
        start = row * width + box.x
        frame[start : start + box.width] = bytes([luma]) * box.width
