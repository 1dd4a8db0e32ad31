"""Files against the dates of their rows: what verify finds by structure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Segment, TimeRange
from streamwarden.mp4.footage import Footage
from streamwarden.mp4.fragments import FileSummary
from streamwarden.recordings.footage_check import FootageCheck
from tests.unit.actors.recorder_harness import at

CAMERA = UUID("22222222-2222-2222-2222-222222222222")
PLAIN = [100] * 40


def row(start_s: float, end_s: float, *, number: int = 1, run: int = 1, holes: str = "") -> Segment:
    return Segment(
        id=uuid4(),
        camera_id=CAMERA,
        owner="otto",
        run=run,
        number=number,
        started_at=at(start_s),
        ended_at=at(end_s),
        media_ms=0,
        size_bytes=1,
        path="x",
        holes=holes,
    )


def file(distances: Sequence[int]) -> FileSummary:
    footage = Footage(tuple(accumulate(distances, initial=0)))
    return FileSummary(1, footage.media_ms, True, 1, 0, footage)


def missing(
    *pairs: tuple[Segment, Sequence[int]], known: Sequence[TimeRange] = ()
) -> list[TimeRange]:
    check = FootageCheck()
    for one, distances in pairs:
        check.add(one, file(distances))
    return [found.where for found in check.missing(known)]


def between(from_s: float, to_s: float) -> TimeRange:
    return TimeRange(at(from_s), at(to_s))


@pytest.mark.parametrize(
    ("lost_s", "every_s"), [(6, 20), (2, 10), (1, 5)], ids=["6@20", "2@10", "1@5"]
)
def test_pictures_that_were_never_sent_are_found(lost_s: int, every_s: int) -> None:
    played = [100] * ((every_s - lost_s) * 10 - 1)
    distances = [*played, lost_s * 1000 + 100, *played, 100]
    whole = row(0, sum(distances) / 1000)
    (found,) = missing((whole, distances))
    assert found.length == timedelta(seconds=lost_s)
    assert missing((whole, distances), known=[found]) == []
    from_ms = (found.from_ - whole.started_at) // timedelta(milliseconds=1)
    known = row(0, sum(distances) / 1000, holes=f"{from_ms}-{from_ms + lost_s * 1000}")
    # The row knows of it: whether the ledger does is asked of the seconds, not of the file.
    assert missing((known, distances)) == []


def test_a_disk_that_hung_is_found() -> None:
    assert missing((row(0, 60.32), PLAIN)) == [between(4, 60.32)]


def test_a_program_that_was_paused_is_found() -> None:
    check = FootageCheck()
    check.add(row(0, 42.8), file(PLAIN))
    for number in range(2, 11):
        check.add(row(42.8, 42.8, number=number), file(PLAIN))
    assert [one.where for one in check.missing(())] == [between(4, 42.8)]
    assert len(check.wrong) == 9


@pytest.mark.parametrize("distance", [75, 100, 119, 200])
def test_stamps_that_run_fast_or_slow_are_no_finding(distance: int) -> None:
    check = FootageCheck()
    check.add(row(0, 8), file([distance] * 80))
    assert [*check.missing(())] == []
    assert check.wrong == []


def test_stamps_that_stand_still_are_no_finding() -> None:
    assert missing((row(0, 40), [1] * 400)) == []


def test_squeezed_stamps_are_no_finding_but_what_is_missing_beside_them_is() -> None:
    squeezed = [3] * 40
    assert missing((row(0, 4), PLAIN), (row(4, 8, number=2), squeezed)) == []
    found = missing((row(0, 4), PLAIN), (row(4, 14, number=2), squeezed))
    assert found == [between(8, 14)]
    # Where nothing tells the usual distance they are no pictures of that time.
    assert missing((row(0, 4), squeezed)) != []


def test_what_another_run_recorded_is_not_missing() -> None:
    other = row(8, 20, run=2)
    holed = [100] * 40 + [6_100] + [100] * 40
    assert missing((row(0, 14.1), holed), (other, [100] * 120)) == [between(4.1, 8)]


def test_two_files_of_one_run_at_the_same_time_are_found() -> None:
    check = FootageCheck()
    check.add(row(0, 4, number=1), file(PLAIN))
    check.add(row(2, 6, number=2), file(PLAIN))
    assert [one.row.number for one in check.wrong] == [2]
