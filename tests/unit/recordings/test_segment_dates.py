"""From when to when a segment is, and where its pictures are missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise

import pytest

from streamwarden.ffmpeg.run import ClosedSegment, Sighting
from streamwarden.model import TimeRange
from streamwarden.mp4.footage import Footage, Span
from streamwarden.mp4.fragments import FileSummary
from streamwarden.recordings.segment_dates import (
    MAX_ERROR_MS,
    CameraDates,
    SegmentDates,
    stamps_stand_still,
)
from tests.unit.actors.recorder_harness import at

FOUR_SECONDS = [100] * 40


def summary(distances: Sequence[int], *, lead_ms: int = 0) -> FileSummary:
    footage = Footage(tuple(accumulate(distances, initial=0)))
    return FileSummary(1, footage.media_ms, True, 1, lead_ms, footage)


class Recording:
    """One run of a camera whose files are closed one after the other."""

    def __init__(self, *, spawned_s: float = 0, grew_s: float | None = 1) -> None:
        self.dates = CameraDates()
        self._spawned_s, self._grew_s = spawned_s, grew_s
        self._number = -1

    def close(
        self,
        distances: Sequence[int],
        *,
        read_s: float,
        written_s: float | None = None,
        listed_from_s: float = 0,
        listed_s: float | None = None,
        paused: tuple[float, float] | None = None,
        clock_set: bool = False,
        lead_ms: int = 0,
        taken: tuple[float, float] | None = None,
    ) -> SegmentDates:
        self._number += 1
        file = summary(distances, lead_ms=lead_ms)
        seen = Sighting(
            spawned_at=at(self._spawned_s),
            grew_at=None if self._grew_s is None else at(self._grew_s),
            paused=None if paused is None else TimeRange(at(paused[0]), at(paused[1])),
            listed_from_s=listed_from_s,
            media_s=sum(distances) / 1000 if listed_s is None else listed_s,
            file_offset_s=None if clock_set else 0.0,
            taken=None if taken is None else TimeRange(at(taken[0]), at(taken[1])),
        )
        segment = ClosedSegment(
            run=1, number=self._number, started_at=at(0), ended_at=at(read_s), seen=seen
        )
        written = at(read_s if written_s is None else written_s).timestamp()
        return self.dates.date(segment, file, written)


def seconds(dates: SegmentDates) -> tuple[float, float]:
    return _s(dates.started_at), _s(dates.ended_at)


def _s(moment: datetime) -> float:
    return (moment - at(0)) / timedelta(seconds=1)


def test_lines_that_are_read_late_date_no_segment() -> None:
    run = Recording()
    assert seconds(run.close(FOUR_SECONDS, read_s=5)) == (1, 5)
    # The program is paused until 45 s; FFmpeg goes on.
    late = [run.close(FOUR_SECONDS, read_s=45, written_s=9 + 4 * n) for n in range(9)]
    assert [seconds(one) for one in late] == [(5 + 4 * n, 9 + 4 * n) for n in range(9)]
    assert all(one.holes == () and one.error_ms == 40 for one in late)


@pytest.mark.parametrize("written_s", [2.0, 60.0, -3600.0])
def test_a_file_time_that_cannot_be_true_is_not_believed(written_s: float) -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close(FOUR_SECONDS, read_s=9, written_s=written_s)) == (5, 9)


def test_a_clock_that_was_set_makes_the_file_time_useless() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close(FOUR_SECONDS, read_s=9, written_s=8.5, clock_set=True)) == (5, 9)


def test_a_hole_is_where_it_was() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    dates = run.close([*[100] * 20, 6_100, *[100] * 19], read_s=15)
    assert seconds(dates) == (5, 15)
    assert dates.holes == (Span(2_100, 8_100),)
    assert dates.holes_text == "2100-8100"


def test_pictures_that_are_missing_at_the_end_end_the_segment() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    # The camera's clock goes on: the list has the next key frame's time as the end.
    dates = run.close(FOUR_SECONDS, read_s=15, listed_from_s=4, listed_s=10)
    assert seconds(dates) == (5, 9)
    assert seconds(run.close(FOUR_SECONDS, read_s=19, listed_from_s=14)) == (15, 19)


def test_a_second_that_is_missing_between_two_files_is_not_lost_sight_of() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close([100] * 30, read_s=9, listed_from_s=4, listed_s=4)) == (5, 8)
    assert seconds(run.close(FOUR_SECONDS, read_s=13, listed_from_s=8)) == (9, 13)


def test_a_second_that_only_the_next_line_tells_of_is_missing_too() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close([100] * 30, read_s=9, listed_from_s=4)) == (5, 8)
    assert seconds(run.close(FOUR_SECONDS, read_s=13, listed_from_s=8)) == (9, 13)


def test_a_border_that_is_late_by_less_than_a_second_leaves_no_gap() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close(FOUR_SECONDS, read_s=9.7, listed_from_s=4)) == (5, 9)
    assert seconds(run.close(FOUR_SECONDS, read_s=13, listed_from_s=8)) == (9, 13)


@pytest.mark.parametrize(("media_ms", "wall_s"), [([84] * 40, 4), ([84] * 50, 5)])
def test_short_segments_of_slow_stamps_leave_no_gap(media_ms: list[int], wall_s: int) -> None:
    run = Recording()
    dated = []
    for n in range(8):
        listed_from_s = n * sum(media_ms) / 1000
        dated.append(run.close(media_ms, read_s=5 + n * wall_s, listed_from_s=listed_from_s))
    for before, after in pairwise(dated):
        assert after.started_at == before.ended_at


def test_a_hole_that_only_the_next_line_tells_of_is_one_too() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert seconds(run.close(FOUR_SECONDS, read_s=15, listed_from_s=4)) == (5, 9)
    assert seconds(run.close(FOUR_SECONDS, read_s=19, listed_from_s=14)) == (15, 19)


def test_a_disk_that_hung_leaves_a_hole_where_the_file_did_not_grow() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    dates = run.close(FOUR_SECONDS, read_s=65, paused=(7, 64))
    assert seconds(dates) == (5, 9)
    in_the_middle = run.close(FOUR_SECONDS, read_s=125, paused=(67, 124))
    assert seconds(in_the_middle) == (65, 69)
    dates = run.close([100] * 60, read_s=185, paused=(127, 182))
    assert seconds(dates) == (125, 185)
    assert dates.holes == (Span(2_000, 56_000),)


def test_stamps_that_run_slow_make_no_gap_but_once() -> None:
    run = Recording()
    run.close([84] * 100, read_s=10)
    ends = [seconds(run.close([84] * 100, read_s=20 + 10 * n))[1] for n in range(4)]
    starts = [seconds(run.close([84] * 100, read_s=60 + 10 * n))[0] for n in range(4)]
    assert ends[0] == pytest.approx(17.8)
    assert ends[1:] == [30, 40, 50]
    assert starts == [50, 60, 70, 80]


def test_stamps_that_run_fast_change_nothing() -> None:
    run = Recording()
    run.close([200] * 40, read_s=5)
    for n in range(3):
        dates = run.close([200] * 40, read_s=9 + 4 * n)
        assert seconds(dates) == (5 + 4 * n, 9 + 4 * n)
        assert dates.holes == ()


def test_stamps_that_stand_still_are_dated_by_the_files_growth() -> None:
    dates = Recording(spawned_s=0, grew_s=2).close([1] * 400, read_s=42)
    assert seconds(dates) == (2, 42)
    assert dates.holes == ()


def test_squeezed_stamps_are_dated_by_the_files_and_missing_pictures_beside_them_are_a_hole() -> (
    None
):
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    dates = run.close([3] * 40, read_s=9)
    assert (*seconds(dates), dates.holes, dates.error_ms) == (5, 9, (), 40)
    assert seconds(run.close([3] * 40, read_s=19)) == (9, 13)
    assert seconds(run.close(FOUR_SECONDS, read_s=23)) == (19, 23)


def test_pictures_that_come_late_are_neither_lost_nor_recorded_twice() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    # The network holds the next key frame back for 3 s, then everything comes at once.
    assert seconds(run.close(FOUR_SECONDS, read_s=12)) == (5, 9)
    assert seconds(run.close(FOUR_SECONDS, read_s=13)) == (9, 13)


@pytest.mark.parametrize("slow", [False, True])
def test_many_files_that_are_written_at_once_after_a_disk_hung_are_when_they_were_taken(
    *, slow: bool
) -> None:
    run = Recording()
    run.dates._slow = slow
    run.close(FOUR_SECONDS, read_s=5)
    # The disk hangs from 7 s to 33 s. What was in the buffers is seven files, written in a moment.
    files = [run.close(FOUR_SECONDS, read_s=33, listed_from_s=4, paused=(7, 33))]
    files += [
        run.close(FOUR_SECONDS, read_s=33 + n / 100, listed_from_s=4 + 4 * n) for n in range(1, 7)
    ]
    files.append(run.close(FOUR_SECONDS, read_s=37, listed_from_s=32))
    for n, one in enumerate(files):
        assert seconds(one) == pytest.approx((5 + 4 * n, 9 + 4 * n), abs=0.1)


def test_what_is_lost_while_a_disk_hangs_is_between_the_files_that_are_written_at_once() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    run.close(FOUR_SECONDS, read_s=33, listed_from_s=4, listed_s=4, paused=(7, 33))
    # By the list the camera's clock went on for 8 s without pictures.
    files = [
        run.close(FOUR_SECONDS, read_s=33 + n / 100, listed_from_s=16 + 4 * n, listed_s=4)
        for n in range(4)
    ]
    for n, one in enumerate(files):
        assert seconds(one) == pytest.approx((17 + 4 * n, 21 + 4 * n), abs=0.1)


def test_a_segment_dated_again_has_the_same_dates() -> None:
    dates = CameraDates()
    file = summary(FOUR_SECONDS)
    one = ClosedSegment(run=1, number=1, started_at=at(0), ended_at=at(4))
    two = ClosedSegment(run=1, number=2, started_at=at(4), ended_at=at(8))
    first = [dates.date(each, file, None) for each in (one, two)]
    assert [dates.date(each, file, None) for each in (one, two)] == first


def test_a_tail_ends_with_its_pictures() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    tail = ClosedSegment(run=1, number=1, started_at=at(5), ended_at=at(30), torn=True)
    dates = run.dates.date(tail, summary([100] * 20), None)
    assert seconds(dates) == (5, 7)


def test_the_sounds_lead_is_no_time_and_no_hole() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    dates = run.close([1_200, *[100] * 39], read_s=9, lead_ms=1_100)
    assert seconds(dates) == (5, 9)
    assert dates.holes == ()


def test_a_hole_right_after_the_first_picture_is_one() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    dates = run.close([3_100, *[100] * 10], read_s=9.1, lead_ms=3_000)
    assert dates.holes == (Span(100, 3_100),)


def test_the_bound_on_the_error_is_what_two_sources_differ_by() -> None:
    run = Recording()
    run.close(FOUR_SECONDS, read_s=5)
    assert run.close(FOUR_SECONDS, read_s=9.4).error_ms == 440
    assert run.close(FOUR_SECONDS, read_s=13.0).error_ms == 440
    error_ms = run.close(FOUR_SECONDS, read_s=18.0).error_ms
    assert error_ms is not None
    assert error_ms <= MAX_ERROR_MS


def test_files_that_were_written_at_once_are_dated_by_when_they_were_taken() -> None:
    # A picture in 5 s, each in a file of its own; FFmpeg decodes seven before it begins the first.
    run = Recording(spawned_s=0, grew_s=31)
    dates = [
        run.close(
            [100],
            read_s=31.1,
            written_s=31,
            listed_from_s=5 * n,
            listed_s=5,
            taken=(1 + 5 * n, 6 + 5 * n),
        )
        for n in range(6)
    ]
    assert [seconds(one) for one in dates] == [(1 + 5 * n, 6 + 5 * n) for n in range(6)]
    assert all(one.holes == () for one in dates)
    assert seconds(run.close([100], read_s=36, listed_from_s=30, listed_s=5)) == (31, 36)


@pytest.mark.parametrize(
    ("distances", "taken_s", "standing"),
    [
        ([0] * 40, 4, True),
        ([1] * 40, 4, True),
        ([1] * 40, 2, False),
        ([100], 10, False),
        ([1] * 7, 7, False),
        ([84] * 40, 4, False),
        (FOUR_SECONDS, 4, False),
    ],
)
def test_only_many_pictures_tell_that_time_stamps_stand_still(
    distances: list[int], taken_s: float, *, standing: bool
) -> None:
    dates = SegmentDates(started_at=at(0), ended_at=at(taken_s))
    assert stamps_stand_still(dates, summary(distances).footage) is standing


def test_time_without_pictures_does_not_tell_that_time_stamps_stand_still() -> None:
    dates = SegmentDates(started_at=at(0), ended_at=at(60), holes=(Span(1_000, 58_000),))
    assert not stamps_stand_still(dates, summary([100] * 30).footage)
