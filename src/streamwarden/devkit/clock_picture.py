"""A clock that FFmpeg draws without a font: seven segments a digit, HH:MM:SS.t of the UTC day.

`drawing` and ``clock_reading`` share the geometry. All lengths are multiples of one unit, 1/160 of the
picture's width, so that a scaled picture is still readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

UNITS_ACROSS = 160


SEGMENTS = "abcdefg"
"""The usual names: a top, b and c right, d bottom, e and f left, g middle."""


LIT_SEGMENTS = (
    "abcdef",
    "bc",
    "abdeg",
    "abcdg",
    "bcfg",
    "acdfg",
    "acdefg",
    "abc",
    "abcdefg",
    "abcdfg",
)
"""The segments of the digits 0 to 9."""


DIGITS = (
    "floor(mod(floor(t/3600),24)/10)",
    "mod(mod(floor(t/3600),24),10)",
    "mod(floor(t/600),6)",
    "mod(floor(t/60),10)",
    "mod(floor(t/10),6)",
    "mod(floor(t),10)",
    "mod(floor(t*10),10)",
)
"""FFmpeg expressions for the seven digits; ``t`` is the frame's time, seconds since 1970 in UTC."""


_LEFT, _TOP = 4, 4


_PANEL_WIDTH, _PANEL_HEIGHT = 98, 20


_DIGIT_TOP = _TOP + 3


_DIGIT_LEFTS = tuple(_LEFT + 3 + x for x in (0, 11, 26, 37, 52, 63, 78))


_DIGIT_WIDTH, _DIGIT_HEIGHT, _STROKE = 8, 14, 2


_COLON_LEFTS = (_LEFT + 25, _LEFT + 51)


_POINT_LEFT = _LEFT + 77


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int


def unit_px(width: int) -> int:
    """Return the size of one unit in pixels (at least 2) in a picture of ``width`` pixels."""
    return max(2, width // UNITS_ACROSS)


def panel(width: int) -> Rectangle:
    """Return the dark rectangle behind the clock."""
    return _scaled(Rectangle(_LEFT, _TOP, _PANEL_WIDTH, _PANEL_HEIGHT), width)


def marks(width: int) -> tuple[Rectangle, ...]:
    """Return the two colons and the point: always lit, so that a clock can be recognised."""
    upper, lower, foot = _DIGIT_TOP + 4, _DIGIT_TOP + 9, _DIGIT_TOP + _DIGIT_HEIGHT - _STROKE
    dots = [Rectangle(x, y, _STROKE, _STROKE) for x in _COLON_LEFTS for y in (upper, lower)]
    return tuple(
        _scaled(dot, width) for dot in (*dots, Rectangle(_POINT_LEFT, foot, _STROKE, _STROKE))
    )


def holes(width: int) -> tuple[Rectangle, ...]:
    """Return the areas inside the digits: never lit."""
    return tuple(
        _scaled(Rectangle(left + 3, _DIGIT_TOP + y, 2, 2), width)
        for left in _DIGIT_LEFTS
        for y in (3, 9)
    )


def segment_boxes(width: int) -> tuple[dict[str, Rectangle], ...]:
    """Return the rectangles of the segments a to g for each of the seven digits."""
    return tuple(_digit_boxes(left, width) for left in _DIGIT_LEFTS)


def drawing(width: int) -> str:
    """Return the chain of FFmpeg filters that draws the clock.

    The frames' times must be the wall clock in seconds since 1970 (``setpts=RTCTIME/...``). Each
    segment is one ``drawbox`` with a timeline expression: bit n of a segment's mask says whether the
    digit n lights it.
    """
    return ",".join((_filled(panel(width), "black"), *_marks(width), *_segments(width)))


def segment_mask(segment: str) -> int:
    """Return the digits which light ``segment``, as bits: bit n is the digit n."""
    return sum(1 << digit for digit, lit in enumerate(LIT_SEGMENTS) if segment in lit)


def _marks(width: int) -> Iterator[str]:
    return (_filled(mark, "white") for mark in marks(width))


def _segments(width: int) -> Iterator[str]:
    for digit, boxes in zip(DIGITS, segment_boxes(width), strict=True):
        for segment, box in boxes.items():
            lit = f"bitand({segment_mask(segment)},pow(2,{digit}))"
            yield f"{_filled(box, 'white')}:enable='{lit}'"


def _filled(box: Rectangle, colour: str) -> str:
    return f"drawbox=x={box.x}:y={box.y}:w={box.width}:h={box.height}:color={colour}:t=fill"


def _digit_boxes(left: int, width: int) -> dict[str, Rectangle]:
    right, foot = left + _DIGIT_WIDTH - _STROKE, _DIGIT_TOP + _DIGIT_HEIGHT - _STROKE
    middle = _DIGIT_TOP + (_DIGIT_HEIGHT - _STROKE) // 2
    across, down = _DIGIT_WIDTH - 2 * _STROKE, middle - _DIGIT_TOP - _STROKE
    boxes = {
        "a": Rectangle(left + _STROKE, _DIGIT_TOP, across, _STROKE),
        "b": Rectangle(right, _DIGIT_TOP + _STROKE, _STROKE, down),
        "c": Rectangle(right, middle + _STROKE, _STROKE, down),
        "d": Rectangle(left + _STROKE, foot, across, _STROKE),
        "e": Rectangle(left, middle + _STROKE, _STROKE, down),
        "f": Rectangle(left, _DIGIT_TOP + _STROKE, _STROKE, down),
        "g": Rectangle(left + _STROKE, middle, across, _STROKE),
    }
    return {name: _scaled(box, width) for name, box in boxes.items()}


def _scaled(box: Rectangle, width: int) -> Rectangle:
    unit = unit_px(width)
    return Rectangle(box.x * unit, box.y * unit, box.width * unit, box.height * unit)
