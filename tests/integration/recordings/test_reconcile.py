"""``recordings reconcile``: it mends what it says, once, and what it cannot mend it leaves alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.model import Camera, Cause, Gap
from streamwarden.mp4.fragments import FileSummary
from streamwarden.paths import live_name
from streamwarden.recordings import reconcile
from streamwarden.recordings.gap_ledger import GapChange, Ledger, OpenGap
from streamwarden.recordings.reconcile import Repair
from streamwarden.recordings.verify import FindingKind, VerifyOptions
from streamwarden.storage.pool import Database
from tests.integration.recordings.harness import Recordings, at
from tests.unit.mp4 import box_writer as boxes


@pytest.fixture
def camera(made: Recordings) -> Camera:
    """Two runs with an outage between them; the second one's segments last 1.9, 2.1 and 2 s."""
    camera = made.camera()
    made.record_all(camera, 0, 6)
    made.next_run(camera)
    made.miss(camera, 6, 10)
    for start_s, end_s in ((10, 11.9), (11.9, 14), (14, 16)):
        made.record(camera, start_s, end_s)
    made.unwant(camera, 16)
    return camera


def outcome(mended: list[Repair]) -> list[tuple[str, bool]]:
    return [(one.finding.kind.value, bool(one.how)) for one in mended]


def seconds(gap: Gap) -> tuple[float, float | None, str]:
    end = gap.ended_at
    return (
        (gap.started_at - at(0)).total_seconds(),
        None if end is None else (end - at(0)).total_seconds(),
        gap.cause,
    )


def lost(made: Recordings, camera: Camera) -> list[tuple[float, float | None, str]]:
    return [seconds(gap) for gap in made.ledger(camera) if gap.cause != "source_offline"]


def test_where_nothing_is_wrong_nothing_is_changed(made: Recordings, camera: Camera) -> None:
    rows, gaps = made.rows(camera), made.ledger(camera)
    assert made.reconcile() == []
    assert (made.rows(camera), made.ledger(camera)) == (rows, gaps)


def test_a_lost_index_is_made_again_from_the_files(made: Recordings, camera: Camera) -> None:
    before = made.rows(camera)
    made.forget_rows(*(row.id for row in before))
    assert outcome(made.reconcile(camera)) == [("row_missing", True)] * 6
    # The same ids, times, sizes and digests: where one segment ends is where the next one starts.
    assert made.rows(camera) == before
    assert made.verify() == []
    assert made.reconcile() == []


def test_an_index_lost_with_its_ledger_and_its_wanted_periods_is_right_to_within_rounding(
    made: Recordings, camera: Camera, database: Database
) -> None:
    before = made.rows(camera)
    database.execute(b"truncate segment, gap, wanted_period, stream")
    assert outcome(made.reconcile()) == [("row_missing", True)] * 6
    after = made.rows(camera)
    assert [row.id for row in after] == [row.id for row in before]
    assert [row.digest for row in after] == [row.digest for row in before]
    for was, row in zip(before, after, strict=True):
        assert row.started_at == was.started_at
        assert abs((row.ended_at - was.ended_at).total_seconds()) <= 0.1


def test_a_file_that_was_cut_at_a_fragment_is_indexed_as_salvaged(
    made: Recordings, camera: Camera
) -> None:
    row, path = made.rows(camera)[5], made.files(camera)[5]
    content = path.read_bytes()
    os.truncate(path, content.rindex(b"mfra") - 4)
    made.forget_rows(row.id)
    made.reconcile()
    assert made.rows(camera)[5].salvaged
    assert not made.rows(camera)[4].salvaged


def test_a_row_without_its_file_becomes_a_gap(made: Recordings, camera: Camera) -> None:
    made.files(camera)[1].unlink()
    assert outcome(made.reconcile(camera)) == [("file_missing", True)]
    assert lost(made, camera) == [(2, 4, "file_lost")]
    assert len(made.rows(camera)) == 5
    assert made.verify() == []
    assert made.reconcile() == []


def test_a_lost_file_whose_time_another_run_has_too_leaves_only_the_rest_missing(
    made: Recordings,
) -> None:
    camera = made.camera()
    first = made.record(camera, 0, 2)
    made.next_run(camera)
    made.record(camera, 1, 3)
    first.unlink()
    made.reconcile(camera)
    assert lost(made, camera) == [(0, 1, "file_lost")]
    assert made.verify() == []


def test_a_second_left_out_is_entered_in_the_ledger(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.record(camera, 3, 5)
    assert outcome(made.reconcile(camera)) == [("second_missing", True)]
    assert lost(made, camera) == [(2, 3, "internal")]
    assert made.verify() == []


def test_a_gap_left_open_ends_with_its_wanted_period_and_not_with_a_later_one(
    made: Recordings,
) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    made.unwant(camera, 9)
    made.streams.want(camera, requested_by="bob", at=at(20))
    made.record(camera, 20, 22)
    made.unwant(camera, 22)
    assert outcome(made.reconcile(camera)) == [("gap_left_open", True)]
    assert [seconds(gap) for gap in made.ledger(camera)] == [(2, 9, "source_offline")]
    assert made.verify() == []


def test_a_gap_left_open_ends_where_recording_went_on(made: Recordings) -> None:
    camera = made.camera()
    made.miss(camera, 0, None)
    made.record_all(camera, 4, 8)
    assert outcome(made.reconcile(camera)) == [("gap_left_open", True)]
    assert [seconds(gap) for gap in made.ledger(camera)] == [(0, 4, "source_offline")]
    assert made.verify() == []


def test_a_gap_that_the_ledger_holds_open_waits_for_its_end_though_footage_was_brought_into_it(
    made: Recordings,
) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    gap_id = made.miss(camera, 2, None)
    made.record_all(camera, 4, 8)
    open_gap = OpenGap(id=gap_id, started_at=at(2), cause=Cause.SOURCE_OFFLINE)
    files = made.camera_files.camera(camera.id, camera.owner)
    files.write_ledger(Ledger(covered_until=at(2), gap=open_gap), ())
    assert ("gap_left_open", True) not in outcome(made.reconcile(camera))
    assert [seconds(gap) for gap in made.ledger(camera)] == [(2, None, "source_offline")]

    ended = GapChange(id=gap_id, started_at=at(2), ended_at=at(10), cause=Cause.SOURCE_OFFLINE)
    files.write_ledger(Ledger(covered_until=at(12)), (ended,))
    made.record(camera, 10, 12)
    made.index()
    made.reconcile(camera)
    assert [seconds(gap) for gap in made.ledger(camera)] == [
        (2, 4, "source_offline"),
        (8, 10, "source_offline"),
    ]
    assert made.verify() == []


def test_a_gap_left_open_that_covers_nothing_goes(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    made.unwant(camera, 2)
    assert outcome(made.reconcile(camera)) == [("gap_left_open", True)]
    assert made.ledger(camera) == []
    assert made.verify() == []


def test_a_gap_that_is_rightly_open_stays_open(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    assert made.reconcile() == []
    assert [seconds(gap) for gap in made.ledger(camera)] == [(2, None, "source_offline")]


def test_changed_bytes_are_left_as_they_are_and_said_to_be(
    made: Recordings, camera: Camera
) -> None:
    path, rows = made.files(camera)[0], made.rows(camera)
    content = path.read_bytes()[:-9]
    path.write_bytes(content)
    for _ in range(2):
        assert outcome(made.reconcile(camera)) == [("file_cut_short", False)]
    assert path.read_bytes() == content
    assert made.rows(camera) == rows


def test_what_was_recorded_is_taken_out_of_a_gap_that_claims_it(
    made: Recordings, camera: Camera
) -> None:
    before = made.ledger(camera)
    made.miss(camera, 2, 4)
    assert outcome(made.reconcile(camera)) == [("second_twice", True)]
    assert made.reconcile(camera) == []
    assert made.ledger(camera) == before


def test_a_gap_over_which_the_clock_was_set_back_may_also_be_recorded(
    made: Recordings, camera: Camera
) -> None:
    made.miss(camera, 2, 4, clock_set=True)
    assert made.verify(camera) == []


@pytest.mark.parametrize(
    ("start", "end", "cause", "left"),
    [
        (6000, None, Cause.STALLED, []),
        (4000, 9000, Cause.CLOCK_STEP, [(4000, 5000, "clock_step")]),
    ],
)
def test_a_gap_in_the_future_is_taken_back(  # noqa: PLR0917 - a case a column
    made: Recordings,
    camera: Camera,
    start: float,
    end: float | None,
    cause: Cause,
    left: list[tuple[float, float, str]],
) -> None:
    made.miss(camera, start, end, cause=cause)
    scope = VerifyOptions(to=at(5000), now=at(5000))
    assert outcome(made.reconcile(camera, scope=scope)) == [("gap_in_future", True)]
    assert made.verify(camera, scope=scope) == []
    assert lost(made, camera) == left


@pytest.mark.parametrize(
    "name",
    ["120030.000Z-r999999999999-0.mp4", "120030.000Z-r7-999999999999.mp4", "120030.000Z-r7-0.mp4"],
)
def test_a_file_that_no_row_can_hold_stops_nothing(
    made: Recordings, camera: Camera, name: str
) -> None:
    row, path = made.rows(camera)[0], made.files(camera)[0]
    content = path.read_bytes() if "999" in name else b"not a video at all"
    (path.parent / name).write_bytes(content)
    made.forget_rows(row.id)
    assert outcome(made.reconcile(camera)) == [("row_missing", False), ("row_missing", True)]
    assert [found.kind for found in made.verify()] == [FindingKind.ROW_MISSING]


def test_footage_of_a_wrong_clock_is_reported_and_left_as_it_is(made: Recordings) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 60)
    made.next_run(camera)
    made.record_all(camera, 4, 60)
    before = made.rows(camera)
    found = made.reconcile(camera, scope=VerifyOptions(to=at(45), now=at(45)))
    assert sorted(outcome(found)) == [("recorded_twice", False), ("segment_in_future", False)]
    assert made.rows(camera) == before


def test_a_second_file_with_the_same_run_and_number_gets_a_number_of_its_own(
    made: Recordings, camera: Camera
) -> None:
    # As after a change of owner that began to count its runs anew.
    path = made.files(camera)[0]
    twin = path.with_name("120040.000Z-r1-1.mp4")
    twin.write_bytes(path.read_bytes())
    before = made.rows(camera)
    assert outcome(made.reconcile(camera)) == [("row_missing", True)]
    assert made.verify() == []
    assert not twin.exists()
    assert {row.path for row in made.rows(camera)} - {row.path for row in before} == {
        str(twin.with_name("120040.000Z-r1-1000000001.mp4").relative_to(made.root))
    }


def test_a_row_under_another_name_makes_room_for_the_file(made: Recordings, camera: Camera) -> None:
    path = made.files(camera)[5]
    path.rename(path.with_name("120014.100Z-r2-3.mp4"))
    assert outcome(made.reconcile(camera)) == [("row_missing", True), ("file_missing", True)]
    assert made.rows(camera)[5].started_at == at(14.1)
    assert lost(made, camera) == []
    assert made.verify() == []


def test_time_stamps_that_jumped_end_no_segment_in_another_year(
    made: Recordings, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made.rows(camera)
    made.forget_rows(rows[1].id, rows[5].id)
    jumped = FileSummary(whole_bytes=9, init_bytes=5, media_ms=2**62, complete=True)
    monkeypatch.setattr(reconcile, "summarise", lambda _: jumped)
    assert outcome(made.reconcile(camera)) == [("row_missing", True)] * 2
    after = made.rows(camera)
    assert after[1].ended_at == rows[1].ended_at
    assert after[5].media_ms == 2**31 - 1
    assert (after[5].ended_at - after[5].started_at).total_seconds() <= 86_400


def test_only_the_asked_time_and_camera_are_mended(made: Recordings, camera: Camera) -> None:
    other = made.camera()
    made.record(other, 0, 2).unlink()
    files = made.files(camera)
    files[0].unlink()
    files[5].unlink()
    scope = VerifyOptions(from_=at(12), to=at(100))
    assert outcome(made.reconcile(camera, scope=scope)) == [("file_missing", True)]
    assert lost(made, camera) == [(14, 16, "file_lost")]
    assert [found.kind for found in made.verify()] == [FindingKind.FILE_MISSING] * 2


def test_a_file_that_reaches_into_the_asked_time_is_indexed_and_not_called_lost(
    made: Recordings, camera: Camera
) -> None:
    before = made.rows(camera)
    made.forget_rows(before[1].id)  # 2 to 4
    made.reconcile(camera, scope=VerifyOptions(from_=at(3), to=at(100)))
    assert made.rows(camera) == before
    assert lost(made, camera) == []


def test_a_mending_that_was_cut_off_is_carried_through_by_the_next(
    made: Recordings, camera: Camera
) -> None:
    # A crash after the row went and before its gap was entered.
    made.files(camera)[1].unlink()
    made.forget_rows(made.rows(camera)[1].id)
    assert outcome(made.reconcile(camera)) == [("second_missing", True)]
    assert made.verify() == []


_BODY = boxes.header() + b"".join(
    boxes.timed_fragment(from_ms, [100] * 20) for from_ms in (0, 8_000)
)
HOLED = _BODY + boxes.trailer({boxes.VIDEO: boxes.moofs(_BODY)})
"""Two seconds of pictures, six seconds without, and two more."""


def holed(made: Recordings, camera: Camera, start_s: float) -> None:
    files = made.camera_files.camera(camera.id, camera.owner)
    files.open((9,))
    (made.live(camera) / live_name(9, 1)).write_bytes(HOLED)
    closed = ClosedSegment(run=9, number=1, started_at=at(start_s), ended_at=at(start_s + 10))
    assert files.publish(closed) is not None
    made.index()


def test_a_hole_that_a_crash_kept_out_of_the_ledger_is_entered(made: Recordings) -> None:
    camera = made.camera()
    holed(made, camera, 0)
    assert [one.kind for one in made.verify(camera)] == [FindingKind.SECOND_MISSING]
    assert outcome(made.reconcile(camera)) == [("second_missing", True)]
    assert lost(made, camera) == [(2, 8, "pictures_missing")]
    assert made.verify() == []
    assert made.reconcile() == []


def test_a_hole_in_a_row_of_an_earlier_version_is_found_and_entered(made: Recordings) -> None:
    camera = made.camera()
    holed(made, camera, 0)
    (row,) = made.rows(camera)
    made.segments.set_holes(row.id, "")
    assert [one.kind for one in made.verify(camera)] == [FindingKind.PICTURES_MISSING]
    assert outcome(made.reconcile(camera)) == [
        ("pictures_missing", True),
        ("second_missing", True),
    ]
    assert lost(made, camera) == [(2, 8, "pictures_missing")]
    assert made.rows(camera) == [row]
    assert made.verify() == []


def test_a_lost_row_comes_back_with_its_holes(made: Recordings) -> None:
    camera = made.camera()
    holed(made, camera, 0)
    made.reconcile(camera)
    before = made.rows(camera)
    made.forget_rows(*(row.id for row in before))
    made.reconcile(camera)
    assert made.rows(camera) == before
    assert before[0].holes == "2000-8000"
    assert made.verify() == []


class Shelf:
    """A place for files of the record root that are lost for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def take(self, path: Path) -> None:
        path.rename(self._folder / path.name)

    def put_back(self, path: Path) -> None:
        """Put a copy back: a backup need not keep the times of files."""
        shutil.copyfile(self._folder / path.name, path)


def long_first(made: Recordings) -> Camera:
    """A run whose first file has 2 s of media for 1.4 s, as a relay sends what it has kept."""
    camera = made.camera()
    made.first_number(camera, 0)
    for start_s, end_s in ((0, 1.4), (1.4, 3.4)):
        made.record(camera, start_s, end_s)
    made.unwant(camera, 3.4)
    return camera


def long_only(made: Recordings) -> Camera:
    """The same, of one file."""
    camera = made.camera()
    made.first_number(camera, 0)
    made.record(camera, 0, 1.4)
    made.unwant(camera, 1.4)
    return camera


def slow(made: Recordings) -> Camera:
    """A run of which every file has less media than its time: the camera's clock runs slow."""
    camera = made.camera()
    for start_s, end_s in ((0, 2.7), (2.7, 5.4), (5.4, 8.1)):
        made.record(camera, start_s, end_s)
    made.unwant(camera, 8.1)
    return camera


def with_hole(made: Recordings) -> Camera:
    """A file that misses pictures from 2 to 8 s, before another."""
    camera = made.camera()
    holed(made, camera, 0)
    made.miss(camera, 2, 8, cause=Cause.PICTURES_MISSING)
    made.record(camera, 10, 12)
    made.unwant(camera, 12)
    return camera


def with_overlap(made: Recordings) -> Camera:
    """Two runs that both have the second from 1 to 2."""
    camera = made.camera()
    made.record(camera, 0, 2)
    made.next_run(camera)
    made.record(camera, 1, 3)
    made.unwant(camera, 3)
    return camera


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (long_first, (0,)),
        (long_first, (0, 1)),
        (long_only, (0,)),
        (slow, (2, 0, 1)),
        (with_hole, (0, 1)),
        (with_overlap, (0,)),
        (with_overlap, (1, 0)),
    ],
)
def test_files_that_come_back_take_their_gaps_away(
    made: Recordings,
    tmp_path: Path,
    kind: Callable[[Recordings], Camera],
    order: tuple[int, ...],
) -> None:
    camera, files = kind(made), {}
    before, ledger = made.rows(camera), lost(made, camera)
    assert made.verify() == []
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for number in order:
        files[number] = made.files(camera)[number]
    for path in files.values():
        path.rename(shelf / path.name)
    assert set(outcome(made.reconcile())) == {("file_missing", True)}
    assert made.verify() == []
    # One after the other; what is still away stays in the ledger. A backup need not keep times of files.
    for path in files.values():
        shutil.copyfile(shelf / path.name, path)
        assert all(how for _, how in outcome(made.reconcile()))
        assert made.verify() == []
        assert made.reconcile() == []
    after = made.rows(camera)
    assert [row.id for row in after] == [row.id for row in before]
    for was, row in zip(before, after, strict=True):
        assert row.started_at == was.started_at
        assert abs((row.ended_at - was.ended_at).total_seconds()) <= 0.1
        assert row.holes == was.holes
    assert lost(made, camera) == ledger
