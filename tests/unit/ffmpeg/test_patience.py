"""How long a silent camera is waited for, in numbers."""

from __future__ import annotations

import pytest

from streamwarden.ffmpeg.patience import Arrivals, UsualSilence, silence_limit_s

PICTURE = 3_000
RTCP = 64


def usual(*distances_s: float) -> UsualSilence:
    silence = UsualSilence()
    for distance_s in distances_s:
        silence.add(distance_s)
    return silence


@pytest.mark.parametrize(
    ("distances_s", "limit_s"),
    [
        ((), 8.0),
        ((10.0,), 8.0),
        ((1.0,) * 9, 8.0),
        ((10.0,) * 3, 25.0),
        ((0.2, 10.0) * 4, 25.0),
        ((1.0, 7.0, 1.0, 1.0), 8.0),
        ((50.0, 50.0), 60.0),
    ],
)
def test_a_silence_is_judged_by_the_cameras_usual_one(
    distances_s: tuple[float, ...], limit_s: float
) -> None:
    assert silence_limit_s(8.0, usual(*distances_s).seconds) == limit_s


def test_a_habit_that_has_ended_is_forgotten() -> None:
    assert usual(*(10.0,) * 9, *(1.0,) * 8).seconds == 1.0


def test_a_longer_setting_holds_whatever_is_usual() -> None:
    assert silence_limit_s(60.0, 100.0) == 60.0


def _arrivals(reads: list[tuple[float, int]]) -> Arrivals:
    arrivals = Arrivals(UsualSilence())
    total = 0
    for at_s, read_bytes in reads:
        total += read_bytes
        arrivals.note(total, at_s)
    return arrivals


def test_the_answers_to_the_first_requests_are_no_packets() -> None:
    assert _arrivals([(1, 2_500), (2, 0), (3, 0)]).last_s is None


def test_reports_and_keep_alives_are_no_packets() -> None:
    reads = [(float(second), RTCP if second % 5 == 0 else 0) for second in range(1, 120)]
    reads[30] = (31.0, 250)
    assert _arrivals(reads).last_s is None


@pytest.mark.parametrize("every_s", [1, 2, 5, 10])
def test_a_picture_now_and_then_is_an_arrival_and_tells_what_is_usual(every_s: int) -> None:
    reads = [(float(s), PICTURE if s % every_s == 0 else 0) for s in range(1, 61)]
    arrivals = _arrivals(reads)
    assert arrivals.first_s == pytest.approx(2 if every_s == 1 else every_s)
    assert arrivals.last_s == 60.0
    assert arrivals.usual.seconds == every_s


def test_many_small_pictures_are_arrivals_too() -> None:
    arrivals = _arrivals([(float(second), 500) for second in range(1, 31)])
    assert arrivals.last_s == 30.0


def test_another_connection_begins_anew() -> None:
    arrivals = Arrivals(UsualSilence())
    arrivals.note(1_000_000, 1.0)
    arrivals.note(2_000, 2.0)
    assert arrivals.last_s is None
    arrivals.note(5_000, 3.0)
    assert arrivals.last_s == 3.0


def test_a_time_in_which_nobody_looked_is_no_silence() -> None:
    arrivals = _arrivals([(1, 0), (2, PICTURE)])
    arrivals.postpone(40.0)
    assert arrivals.last_s == 42.0
    arrivals.note(2 * PICTURE, 43.0)
    assert arrivals.last_s == 43.0
