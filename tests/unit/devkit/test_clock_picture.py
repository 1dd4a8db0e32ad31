from __future__ import annotations

import pytest

from streamwarden.devkit.clock_picture import (
    LIT_SEGMENTS,
    SEGMENTS,
    Rectangle,
    drawing,
    holes,
    marks,
    panel,
    segment_boxes,
    segment_mask,
)


@pytest.mark.parametrize("digit", range(10))
def test_the_masks_light_each_digit_as_a_seven_segment_display_does(digit: int) -> None:
    lit = {segment for segment in SEGMENTS if segment_mask(segment) >> digit & 1}
    assert lit == set(LIT_SEGMENTS[digit])


def test_no_two_digits_look_alike() -> None:
    assert len({frozenset(lit) for lit in LIT_SEGMENTS}) == 10


@pytest.mark.parametrize("width", [320, 640, 1280, 1920])
def test_nothing_of_the_clock_overlaps_or_leaves_its_panel(width: int) -> None:
    boxes = [box for digit in segment_boxes(width) for box in digit.values()]
    boxes += [*marks(width), *holes(width)]
    ground = panel(width)
    assert all(_inside(box, ground) for box in boxes)
    assert not any(_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_clock_of_a_larger_picture_is_the_same_clock_enlarged() -> None:
    for small, large in zip(segment_boxes(640), segment_boxes(1280), strict=True):
        for name, box in small.items():
            doubled = Rectangle(box.x * 2, box.y * 2, box.width * 2, box.height * 2)
            assert large[name] == doubled


def test_every_segment_of_every_digit_is_drawn_once() -> None:
    filters = drawing(640).split("drawbox=")[1:]
    assert len(filters) == 1 + len(marks(640)) + 7 * 7
    assert sum("enable=" in one for one in filters) == 49


def _inside(box: Rectangle, ground: Rectangle) -> bool:
    across = ground.x <= box.x and box.x + box.width <= ground.x + ground.width
    return across and ground.y <= box.y and box.y + box.height <= ground.y + ground.height


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    across = a.x < b.x + b.width and b.x < a.x + a.width
    return across and a.y < b.y + b.height and b.y < a.y + a.height
