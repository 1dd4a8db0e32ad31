from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamwarden.devkit.clock_picture import marks, segment_boxes
from streamwarden.devkit.clock_reading import moment_of, read_clock
from tests.unit.devkit.clock_painter import GREY, WHITE, paint, painted_clock


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (1280, 720)])
@pytest.mark.parametrize(
    ("shown", "time_of_day_s"),
    [("0000000", 0.0), ("2359599", 86399.9), ("1234567", 45296.7), ("0908051", 32885.1)],
)
def test_a_painted_clock_reads_as_what_it_shows(
    size: tuple[int, int], shown: str, time_of_day_s: float
) -> None:
    width, height = size
    frame = painted_clock(shown, width=width, height=height)
    assert read_clock(bytes(frame), width, height) == pytest.approx(time_of_day_s)


def test_a_picture_without_a_clock_reads_as_none() -> None:
    for luma in (0, GREY, 255):
        assert read_clock(bytes([luma]) * (640 * 360), 640, 360) is None


def test_noise_reads_as_none() -> None:
    noise = random.Random(7).randbytes(640 * 360)  # noqa: S311 - a picture, not a secret
    assert read_clock(noise, 640, 360) is None


def test_a_frame_cut_short_reads_as_none() -> None:
    assert read_clock(bytes(painted_clock("1234567"))[:-1], 640, 360) is None


def test_a_picture_too_small_for_the_clock_reads_as_none() -> None:
    assert read_clock(bytes(100 * 50), 100, 50) is None


@pytest.mark.parametrize("shown", ["2400000", "1260000", "1200600"])
def test_a_time_that_no_clock_shows_reads_as_none(shown: str) -> None:
    assert read_clock(bytes(painted_clock(shown)), 640, 360) is None


def test_a_segment_neither_dark_nor_bright_makes_the_frame_unreadable() -> None:
    frame = painted_clock("1234567")
    paint(frame, 640, segment_boxes(640)[3]["g"], GREY)
    assert read_clock(bytes(frame), 640, 360) is None


def test_segments_that_show_no_digit_make_the_frame_unreadable() -> None:
    frame = painted_clock("1111111")
    paint(frame, 640, segment_boxes(640)[0]["d"], WHITE)
    assert read_clock(bytes(frame), 640, 360) is None


def test_a_missing_colon_makes_the_frame_unreadable() -> None:
    frame = painted_clock("1234567")
    paint(frame, 640, marks(640)[0], 16)
    assert read_clock(bytes(frame), 640, 360) is None


def test_smeared_edges_do_not_matter() -> None:
    frame = painted_clock("1234567")
    noise = random.Random(3)  # noqa: S311 - a picture, not a secret
    smeared = bytes(min(255, max(0, luma + noise.randint(-60, 60))) for luma in frame)
    assert read_clock(smeared, 640, 360) == pytest.approx(45296.7)


def test_a_reading_from_before_midnight_belongs_to_the_day_before() -> None:
    near = datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)
    assert moment_of(86399.5, near=near) == near - timedelta(seconds=1.5)


def test_a_reading_from_after_midnight_belongs_to_the_next_day() -> None:
    near = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert moment_of(0.5, near=near) == datetime(2026, 3, 1, 0, 0, 0, 500000, tzinfo=UTC)


def test_the_clock_is_utc_whatever_zone_the_moment_is_told_in() -> None:
    taipei = timezone(timedelta(hours=8))
    near = datetime(2026, 3, 1, 6, 0, 0, tzinfo=taipei)
    assert moment_of(79200.0, near=near) == datetime(2026, 2, 28, 22, tzinfo=UTC)
