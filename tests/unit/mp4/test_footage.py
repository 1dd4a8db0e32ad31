"""Where pictures are missing inside a file, by their times and the time that it took to be written."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.mp4.footage import (
    FIRST_SLACK_MS,
    MAX_HOLES,
    Footage,
    Judgement,
    Span,
    UsualDistance,
    judge,
)
from streamwarden.mp4.fragments import summarise, summarise_finished
from tests.unit.mp4 import box_writer as boxes
from tests.unit.mp4.box_writer import VIDEO, timed_fragment


def shown(*distances: int) -> Footage:
    return Footage(tuple(accumulate(distances, initial=0)))


def judged(footage: Footage, wall_ms: int | None = None, *, lead_ms: int = 0) -> Judgement:
    wall_ms = footage.media_ms if wall_ms is None else wall_ms
    return judge(footage, usual_ms=UsualDistance().of(footage), wall_ms=wall_ms, lead_ms=lead_ms)


def test_a_picture_that_stays_too_long_is_a_hole_after_its_usual_time() -> None:
    found = judged(shown(*[100] * 20, 6100, *[100] * 20))
    assert found == Judgement(10_100, (Span(2_100, 8_100),))


@pytest.mark.parametrize("distance", [40, 100, 1_000, 5_000, 10_000])
def test_a_cameras_usual_distance_is_no_hole(distance: int) -> None:
    assert judged(shown(*[distance] * 12)).holes == ()
    assert judged(shown(*[distance] * 6, 2 * distance, *[distance] * 6)).holes == ()


def test_one_lost_picture_of_a_slow_camera_is_no_hole_and_two_are() -> None:
    assert judged(shown(*[5_000] * 9, 10_000)).holes == ()
    assert judged(shown(*[5_000] * 9, 15_000)).holes == (Span(50_000, 60_000),)


def test_a_file_of_two_pictures_is_judged_with_those_before_it() -> None:
    usual = UsualDistance()
    assert usual.of(shown(*[100] * 30)) == 100
    few = shown(5_000, 100)
    assert judge(few, usual_ms=usual.of(few), wall_ms=5_100, lead_ms=0).holes == (Span(100, 5_000),)


def test_a_slow_camera_is_known_after_some_files() -> None:
    usual = UsualDistance()
    for _ in range(6):
        assert usual.of(shown(10_000, 10_000)) == 10_000


@pytest.mark.parametrize("pictures", [2, 6, 12])
def test_the_last_picture_of_a_file_is_there_until_the_next_one_comes(pictures: int) -> None:
    usual = UsualDistance()
    footage = shown(*[5_000] * (pictures - 1), 100)
    wall_ms = 5_000 * pictures
    for _ in range(3):
        found = judge(footage, usual_ms=usual.of(footage, wall_ms), wall_ms=wall_ms, lead_ms=0)
    assert found == Judgement(wall_ms)


def test_a_camera_with_a_file_for_each_picture_is_known_by_how_long_they_are_open() -> None:
    usual, footage = UsualDistance(), shown(100)
    assert usual.of(footage) == 0.0
    for _ in range(3):
        found = judge(footage, usual_ms=usual.of(footage, 5_000), wall_ms=5_000, lead_ms=0)
        assert found == Judgement(5_000)


def test_few_pictures_whose_stamps_stand_still_tell_no_distance() -> None:
    usual = UsualDistance()
    assert usual.of(shown(0, 100), 5_000) == 5_000
    assert usual.of(shown(100), 5_000) == 5_000


def test_the_end_of_a_fast_cameras_file_is_not_stretched_over_what_is_missing() -> None:
    assert judged(shown(*[100] * 20), wall_ms=8_000) == Judgement(2_000)


def test_a_jump_that_the_wall_clock_has_no_room_for_is_not_a_hole() -> None:
    found = judged(shown(*[100] * 20, 3_000_000, *[100] * 20), wall_ms=4_100)
    assert found == Judgement(4_100)


def test_of_two_long_ones_the_one_that_does_not_fit_is_the_jump() -> None:
    found = judged(shown(*[100] * 20, 3_000_000, *[100] * 20, 5_100, *[100] * 9), wall_ms=10_000)
    assert found == Judgement(10_100, (Span(4_200, 9_200),))


def test_a_runs_first_file_has_no_room_for_more_than_the_run_has_lived() -> None:
    # Measured: a camera whose stamps run twice as fast, and FFmpeg's guess for its first pictures.
    footage = shown(100, 100, 100, 1400, 200, 200, 200, 200, 200, 100)
    room = {"usual_ms": 200, "wall_ms": 2_082, "lead_ms": 0}
    assert judge(footage, **room).holes != ()
    assert judge(footage, **room, slack_ms=FIRST_SLACK_MS).holes == ()


def test_stamps_that_stand_still_say_nothing() -> None:
    assert judged(shown(*[1] * 40), wall_ms=40_000) == Judgement(40, standing=True)


def after_usual_files(*distances: int, wall_ms: int) -> Judgement:
    usual = UsualDistance()
    usual.of(shown(*[100] * 40), 4_000)
    footage = shown(*distances)
    return judge(footage, usual_ms=usual.of(footage, wall_ms), wall_ms=wall_ms, lead_ms=0)


@pytest.mark.parametrize("squeezed", [0, 1, 2, 3, 20])
def test_pictures_whose_stamps_are_squeezed_are_there(squeezed: int) -> None:
    assert after_usual_files(*[squeezed] * 40, wall_ms=4_000) == Judgement(4_000)
    assert after_usual_files(*[100] * 10, *[squeezed] * 30, wall_ms=4_000) == Judgement(4_000)
    jumped = [*[100] * 10, 3_600_000, *[squeezed] * 29]
    assert after_usual_files(*jumped, wall_ms=4_000) == Judgement(4_000)


def test_squeezed_stamps_hide_no_pictures_that_are_missing() -> None:
    assert after_usual_files(*[3] * 40, wall_ms=20_000).media_ms == 4_000


def test_few_pictures_are_not_taken_for_squeezed_ones() -> None:
    # A camera that sends in pairs, and a disk that hung for 8 s; and a camera's new, higher rate.
    pairs = [5, 95] * 40
    assert after_usual_files(*pairs, wall_ms=12_000).media_ms == pytest.approx(4_000, abs=95)
    assert after_usual_files(*[20] * 200, wall_ms=4_000) == Judgement(4_000)


def test_what_the_first_picture_shows_before_it_was_taken_is_no_time() -> None:
    found = judged(shown(3_000, *[100] * 20), lead_ms=2_900)
    assert found == Judgement(2_100)


def test_holes_of_a_camera_whose_stamps_run_too_fast_are_by_the_wall_clock() -> None:
    found = judged(shown(*[200] * 40, 4_200, *[200] * 19), wall_ms=8_000)
    assert found.holes == (Span(4_100, 6_100),)


def test_very_many_holes_are_joined_where_the_fewest_pictures_are_between_them() -> None:
    found = judged(shown(*[100, 100, 1_100] * 60, *[100] * 99)).holes
    assert len(found) == MAX_HOLES
    assert (found[0].from_ms, found[-1].to_ms) == (300, 60 * 1_300)


@given(
    st.lists(st.integers(1, 8_000), min_size=1, max_size=60),
    st.integers(0, 100_000),
)
def test_holes_are_in_order_apart_and_inside_the_file(distances: list[int], wall_ms: int) -> None:
    footage = shown(*distances)
    found = judged(footage, wall_ms)
    position = 0
    for hole in found.holes:
        assert position <= hole.from_ms <= hole.to_ms
        position = hole.to_ms
    assert position <= max(footage.media_ms, wall_ms)


def test_trailer_and_boxes_give_the_same_pictures(tmp_path: Path) -> None:
    fragments = [timed_fragment(5_000, [40] * 25), timed_fragment(9_000, [40] * 25)]
    body = boxes.header() + b"".join(fragments)
    path = tmp_path / "x.mp4"
    path.write_bytes(body + boxes.trailer({VIDEO: boxes.moofs(body)}))
    with path.open("rb") as file:
        found = summarise_finished(file.fileno(), path.stat().st_size).footage
    assert found == summarise(path).footage
    assert found.pictures == 50
    # The time between two fragments belongs to the last picture of the first one.
    assert max(found.distances_ms) == 3_040
    assert judged(found).holes == (Span(1_000, 4_000),)


def test_a_fragment_of_default_durations_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(boxes.header() + boxes.fragment(boxes.run_by_default(5), default=40))
    assert summarise(path).footage == Footage((0, 40, 80, 120, 160, 200))
