"""Missing pictures are told from a camera that stood still: what the acceptance tests judge by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.acceptance.continuity import FRAME_S, unseen

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def pictures(from_s: float, to_s: float) -> list[datetime]:
    """Return what the clocks of a camera's pictures show, in tenths of a second."""
    count = round((to_s - from_s) / FRAME_S)
    shown = (int((from_s + number * FRAME_S) * 10 + 1e-6) / 10 for number in range(count))
    return [NOON + timedelta(seconds=second) for second in shown]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_pictures_that_follow_each_other_miss_none() -> None:
    assert unseen([pictures(0, 2), pictures(2, 4)]) == []
    assert unseen([pictures(2, 4), pictures(0, 3)]) == []


def test_a_lost_second_is_seen_in_a_file_and_between_two() -> None:
    lost = [(at(1.9), at(3))]
    assert unseen([[*pictures(0, 2), *pictures(3, 5)]]) == lost
    assert unseen([pictures(0, 2), pictures(3, 5)]) == lost


def test_a_camera_that_stood_still_and_then_caught_up_has_lost_none() -> None:
    at_once = [at(2.8)] * 9
    assert unseen([[*pictures(0, 2), *at_once, *pictures(2.8, 4)]]) == []


def test_what_two_runs_recorded_at_once_is_no_catching_up() -> None:
    assert unseen([[*pictures(0, 2), *pictures(3, 5)], pictures(3, 5)]) == [(at(1.9), at(3))]
    assert unseen([pictures(0, 2), pictures(3, 5), pictures(3, 5)]) == [(at(1.9), at(3))]
