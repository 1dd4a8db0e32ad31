"""A run's own times and what it keeps, without a process."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.ffmpeg.looks import look_at
from streamwarden.ffmpeg.process import Process
from streamwarden.ffmpeg.run import ClosedSegment, ListedSegment, Run, RunClock, SegmentListReader
from streamwarden.model import TimeRange
from tests.fakes.manual_time import ManualClock
from tests.unit.ffmpeg.run_order import NOON, SampleOrder
from tests.unit.mp4 import box_writer as boxes

HOUR_S = 3600.0
STEPS = st.sampled_from([-HOUR_S, HOUR_S, -2.5, 2.5, 0.0])


def _run(clock: ManualClock, folder: Path = Path("/nowhere")) -> Run:
    return Run(
        order=SampleOrder(folder=folder),
        process=cast("Process", None),
        clock=RunClock(clock),
        reader=SegmentListReader(1),
        born_s=clock.monotonic(),
        grew_s=clock.monotonic(),
    )


def _grown(run: Run) -> bool:
    return run.take(look_at(run.open_file, holds_media=run.wrote_media))


def _open_segment(run: Run) -> ClosedSegment | None:
    return run.open_segment(look_at(run.open_file, holds_media=run.wrote_media))


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_a_runs_clock_goes_on_when_the_machines_is_set(step_s: float) -> None:
    manual = ManualClock(NOON)
    clock = RunClock(manual)
    manual.advance(10)
    manual.step_wall(step_s)
    manual.advance(5)
    assert clock.now() == NOON + timedelta(seconds=15)
    assert clock.stepped_by_s() == pytest.approx(step_s)


@pytest.mark.parametrize("step_s", [1.9, -1.9, 0.0])
def test_a_clock_that_is_slewed_has_not_been_set(step_s: float) -> None:
    manual = ManualClock(NOON)
    clock = RunClock(manual)
    manual.step_wall(step_s)
    assert clock.stepped_by_s() == 0.0


@pytest.mark.parametrize("step_s", [-HOUR_S, 0.0, HOUR_S])
def test_a_files_time_is_the_runs_whatever_was_set_before_it(step_s: float) -> None:
    manual = ManualClock(NOON)
    clock = RunClock(manual)
    manual.step_wall(step_s)
    manual.advance(60)
    written = manual.now().timestamp()
    manual.advance(4)
    assert clock.at_file_time(written) == NOON + timedelta(seconds=60)


def test_a_file_from_the_future_was_written_now() -> None:
    manual = ManualClock(NOON)
    clock = RunClock(manual)
    assert clock.at_file_time(manual.now().timestamp() + HOUR_S) == NOON


@given(st.lists(st.tuples(st.floats(0.001, 40), st.floats(0, 1e308), STEPS), max_size=12))
def test_segments_follow_each_other_without_hole_or_overlap_whatever_the_clocks_do(
    segments: list[tuple[float, float, float]],
) -> None:
    manual = ManualClock(NOON)
    run = _run(manual)
    ends = [NOON - timedelta(seconds=10)]
    for number, (lasted_s, media_s, step_s) in enumerate(segments):
        manual.advance(lasted_s)
        manual.step_wall(step_s)
        listed = run.close_segment(number, media_s)
        assert listed.started_at is not None
        assert listed.started_at <= listed.ended_at
        assert listed.started_at >= ends[-1]
        assert number == 0 or listed.started_at == ends[-1]
        ends.append(listed.ended_at)
    assert list(run.pending) == list(range(len(segments)))


def test_the_first_segment_began_its_medias_length_before_its_end() -> None:
    manual = ManualClock(NOON)
    run = _run(manual)
    manual.advance(20)
    assert run.close_segment(0, 18.5).started_at == NOON + timedelta(seconds=1.5)


def test_time_stamps_that_jump_date_no_segment_hours_back() -> None:
    manual = ManualClock(NOON)
    run = _run(manual)
    manual.advance(20)
    assert run.close_segment(0, HOUR_S).started_at == NOON


def _fragments(folder: Path, count: int, number: int = 0) -> Path:
    path = folder / f"r1-{number:06d}.mp4"
    path.write_bytes(boxes.header() + boxes.fragment(boxes.run([40])) * count)
    return path


def test_a_run_grows_by_media_alone(tmp_path: Path) -> None:
    run = _run(ManualClock(NOON), tmp_path)
    assert not _grown(run)
    path = tmp_path / "r1-000000.mp4"
    for header in (boxes.header()[:10], boxes.header()):
        path.write_bytes(header)
        assert not _grown(run)
    assert _open_segment(run) is not None
    assert not run.wrote_media
    _fragments(tmp_path, 1)
    assert _grown(run)
    assert not _grown(run)
    _fragments(tmp_path, 2)
    assert _grown(run)


def test_a_source_that_goes_before_its_first_frame_leaves_no_media(tmp_path: Path) -> None:
    run = _run(ManualClock(NOON), tmp_path)
    path = tmp_path / "r1-000000.mp4"
    path.write_bytes(boxes.header() + boxes.box(b"mfra", bytes(16)))
    assert not _grown(run)
    run.close_segment(0, 0.0)
    assert not run.wrote_media


def test_after_a_listed_segment_the_next_file_is_looked_at(tmp_path: Path) -> None:
    run = _run(ManualClock(NOON), tmp_path)
    _fragments(tmp_path, 3)
    assert _grown(run)
    run.close_segment(0, 1.0)
    assert not _grown(run)
    _fragments(tmp_path, 1, number=1)
    assert _grown(run)


@pytest.mark.parametrize("step_s", [-HOUR_S, 0.0, HOUR_S])
def test_the_tail_ends_at_its_last_flush(tmp_path: Path, step_s: float) -> None:
    manual = ManualClock(NOON)
    run = _run(manual, tmp_path)
    path = _fragments(tmp_path, 1)
    manual.advance(30)
    os.utime(path, (0, manual.now().timestamp()))
    assert _grown(run)
    run.grew_s = manual.monotonic()
    manual.advance(5)
    manual.step_wall(step_s)
    tail = _open_segment(run)
    assert tail is not None
    assert (tail.number, tail.started_at, tail.ended_at) == (0, NOON, NOON + timedelta(seconds=30))


def test_a_tail_is_never_shorter_than_nothing(tmp_path: Path) -> None:
    manual = ManualClock(NOON)
    run = _run(manual, tmp_path)
    manual.advance(30)
    run.close_segment(0, 15.0)
    os.utime(_fragments(tmp_path, 1, number=1), (0, 0))
    tail = _open_segment(run)
    assert tail is not None
    assert tail.started_at == tail.ended_at == NOON + timedelta(seconds=30)


def test_without_an_open_file_there_is_no_tail(tmp_path: Path) -> None:
    assert _open_segment(_run(ManualClock(NOON), tmp_path)) is None


def test_a_disk_that_refuses_to_look_neither_grows_nor_loses_the_tail(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    manual = ManualClock(NOON)
    run = _run(manual, tmp_path / "file")
    manual.advance(3)
    assert not _grown(run)
    tail = _open_segment(run)
    assert tail is not None
    assert tail.ended_at == NOON


def test_a_pipe_that_is_listed_as_a_segment_does_not_hold_up_the_watching_thread(
    tmp_path: Path,
) -> None:
    run = _run(ManualClock(NOON), tmp_path)
    os.mkfifo(run.open_file)
    assert not _grown(run)
    assert run.close_segment(0, 1.0).number == 0


@given(st.lists(st.binary(max_size=20_000), max_size=20))
def test_the_end_of_what_was_said_is_kept_and_no_more(chunks: list[bytes]) -> None:
    run = _run(ManualClock(NOON))
    for chunk in chunks:
        run.note_stderr(chunk)
    said = b"".join(chunks)
    assert (
        run.stderr_tail().encode("utf-8", "replace")[-20:]
        == (said[-8192:].decode("utf-8", "replace").encode("utf-8", "replace")[-20:])
    )
    assert sum(len(kept) for kept in run.stderr) <= 2 * 8192
    assert len(run.stderr) <= 8193


def test_a_flood_of_tiny_or_empty_pieces_is_bounded_too() -> None:
    run = _run(ManualClock(NOON))
    for _ in range(20_000):
        run.note_stderr(b"x")
        run.note_stderr(b"")
    assert len(run.stderr) <= 8192
    assert run.stderr_tail() == "x" * 8192


def _listed(run: Run, number: int, from_s: float, media_s: float = 0.1) -> None:
    run.list_segment(ListedSegment(number, media_s, from_s), run.clock.monotonic())


def test_files_that_were_written_at_once_wait_for_the_two_after_them() -> None:
    clock = ManualClock(NOON)
    run = _run(clock)
    clock.advance(32)  # a picture in five seconds: the seventh arrives
    for number in range(6):
        _listed(run, number, 5.0 * number)
    run.note_growth(run.clock.monotonic())
    clock.advance(5)
    assert run.holds_back(clock.monotonic())
    _listed(run, 6, 30.0)
    assert run.holds_back(clock.monotonic())
    clock.advance(5)
    _listed(run, 7, 35.0)
    assert not run.holds_back(clock.monotonic())
    taken = [each.seen.taken for each in run.close_held() if each.seen is not None]
    begins = [NOON + timedelta(seconds=2 + 5 * number) for number in range(7)]
    assert taken == [*(TimeRange(*each) for each in pairwise(begins)), None, None]
    assert run.open_number == 8


@pytest.mark.parametrize("open_s", [0.8, 4.0])
def test_a_first_file_that_was_written_as_it_came_waits_for_no_other(open_s: float) -> None:
    clock = ManualClock(NOON)
    run = _run(clock)
    clock.advance(1.0)
    run.note_growth(clock.monotonic())
    clock.advance(open_s)
    _listed(run, 0, 0.0, media_s=open_s + 1.0)
    clock.advance(0.5)
    assert not run.holds_back(clock.monotonic())
    (closed,) = run.close_held()
    assert closed.ended_at == NOON + timedelta(seconds=1 + open_s)
    assert closed.seen is not None
    assert closed.seen.taken is None


def test_a_later_file_waits_for_no_other() -> None:
    clock = ManualClock(NOON)
    run = _run(clock)
    clock.advance(5)
    run.close_segment(0, 4.0)
    clock.advance(0.1)
    _listed(run, 1, 4.0)
    _listed(run, 2, 8.0)
    assert not run.holds_back(clock.monotonic())


def test_first_files_whose_stamps_jump_are_dated_by_their_lines() -> None:
    clock = ManualClock(NOON)
    run = _run(clock)
    clock.advance(10)
    for number, from_s in enumerate([0.0, HOUR_S, HOUR_S + 1, HOUR_S + 2]):
        _listed(run, number, from_s)
    clock.advance(1)
    assert all(each.seen is not None and each.seen.taken is None for each in run.close_held())


def test_what_is_held_when_a_run_ends_is_dated_by_its_lines() -> None:
    clock = ManualClock(NOON)
    run = _run(clock)
    clock.advance(32)
    for number in range(6):
        _listed(run, number, 5.0 * number)
    clock.advance(3)
    assert [each.ended_at for each in run.close_held()] == [NOON + timedelta(seconds=32)] * 6
