"""Exports and snapshots with real FFmpegs over real files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.app import exports as module
from streamwarden.app.export_orders import (
    KEPT_FOR,
    ExportNotFound,
    ExportNotReady,
    ExportsBusy,
    NoSpace,
    NothingRecorded,
    RangeTooLong,
)
from streamwarden.app.exports import Exports
from streamwarden.http.exports import OwnedExport
from streamwarden.media.jobs import JobRunner
from streamwarden.storage.rows import Segment
from streamwarden.tests.fakes.http import FakeClock
from streamwarden.tests.fakes.storage import FakeStorage
from streamwarden.tests.fakes.storage_samples import at
from streamwarden.tests.integration.playback.footage import (
    FFMPEG,
    probe,
    rows_of,
    write_segments,
)

WITHIN_S = 20.0


class Office:
    """Exports over a record root with twelve seconds of footage, then a gap, then three more."""

    def __init__(self, root: Path, jobs: JobRunner, *, ffmpeg: str = FFMPEG) -> None:
        self.root, self.camera_id, self.clock = root, uuid4(), FakeClock(at(3_600))
        folder = root / "alice" / str(self.camera_id) / "2026-03-01"
        self.rows = rows_of(root, self.camera_id, write_segments(folder, seconds=15, segment_s=3))
        late = timedelta(seconds=30)
        last = self.rows[-1]
        self.rows[-1] = moved(last, by=late)
        self.storage = FakeStorage()
        self.storage.segments.insert_many(self.rows)
        self.reserve_bytes = 0
        self.exports = Exports(
            jobs=jobs,
            ffmpeg=lambda: ffmpeg,
            segments=self.storage.segments,
            record_root=root,
            reserve_bytes=lambda _: self.reserve_bytes,
            clock=self.clock,
        )
        self.exports.start()

    def add(self, start: float, end: float) -> OwnedExport:
        return self.exports.add(self.camera_id, "alice", at(start), at(end))

    def ended(self, export_id: UUID) -> OwnedExport:
        return self.until(export_id, lambda one: one.state not in {"queued", "running"})

    def until(self, export_id: UUID, so: Callable[[OwnedExport], bool]) -> OwnedExport:
        deadline = time.monotonic() + WITHIN_S
        while not so(found := self.exports.get(self.camera_id, export_id)):
            assert time.monotonic() < deadline, found
            os.sched_yield()
        return found

    def folder(self) -> list[str]:
        return sorted(one.name for one in (self.root / ".streamwarden" / "exports").iterdir())


def moved(row: Segment, *, by: timedelta) -> Segment:
    return replace(row, started_at=row.started_at + by, ended_at=row.ended_at + by)


@pytest.fixture
def jobs() -> Iterator[JobRunner]:
    runner = JobRunner()
    runner.start()
    yield runner
    runner.close()


@pytest.fixture
def office(tmp_path: Path, jobs: JobRunner) -> Iterator[Office]:
    made = Office(tmp_path / "it's a root", jobs)
    yield made
    made.exports.stop()


@pytest.fixture
def stuck(tmp_path: Path, jobs: JobRunner) -> Iterator[Office]:
    """Exports whose FFmpeg never ends by itself."""
    program = tmp_path / "stuck"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    made = Office(tmp_path / "root", jobs, ffmpeg=str(program))
    yield made
    made.exports.stop()


def test_a_range_becomes_one_file_from_key_frame_to_key_frame(office: Office) -> None:
    made = office.add(2.4, 10.3)
    done = office.ended(made.id)
    assert (done.state, done.progress, done.error) == ("done", 1.0, None)
    assert [(one.from_, one.to) for one in done.covers] == [(at(2.4), at(10.3))]
    with office.exports.open(office.camera_id, made.id).stream as file:
        content = file.read()
    assert len(content) == done.size_bytes
    # Faststart: what a player needs first stands first.
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"moof" not in content
    path = office.root / "out.mp4"
    path.write_bytes(content)
    seconds, complaints = probe(path)
    assert complaints == ""
    assert seconds == pytest.approx(9.0, abs=0.2)  # 2 to 11, by key frames a second apart


def test_a_gap_is_left_out_and_told(office: Office) -> None:
    made = office.ended(office.add(0, 60).id)
    first, last = office.rows[3], office.rows[-1]
    expected = [(at(0), first.ended_at), (last.started_at, last.ended_at)]
    assert [(one.from_, one.to) for one in made.covers] == expected
    with office.exports.open(office.camera_id, made.id).stream as file:
        (office.root / "out.mp4").write_bytes(file.read())
    seconds, complaints = probe(office.root / "out.mp4")
    assert (round(seconds), complaints) == (15, "")


def test_what_is_not_there_is_not_exported(office: Office) -> None:
    with pytest.raises(NothingRecorded):
        office.add(20, 30)
    with pytest.raises(ExportNotFound):
        office.exports.get(uuid4(), office.add(0, 3).id)
    with pytest.raises(ExportNotFound):
        office.exports.get(office.camera_id, uuid4())


def test_too_many_segments_are_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEGMENTS", 2)
    with pytest.raises(RangeTooLong):
        office.add(0, 60)


def test_the_reserve_is_respected(office: Office) -> None:
    office.reserve_bytes = 1 << 60
    with pytest.raises(NoSpace):
        office.add(0, 3)


def test_a_lost_file_fails_its_export_in_words(office: Office) -> None:
    for row in office.rows[:4]:
        (office.root / row.path).unlink()
    found = office.ended(office.add(0, 12).id)
    assert (found.state, found.error) == ("failed", "nothing of the range is left")
    assert office.folder() == []


def test_a_row_that_leads_outside_is_left_out(office: Office) -> None:
    outside = office.root.parent / "outside.mp4"
    (office.root / office.rows[0].path).rename(outside)
    (office.root / office.rows[0].path).symlink_to(outside)
    found = office.ended(office.add(0, 2).id)
    assert found.state == "failed"


def test_at_most_two_run_and_the_rest_wait_in_a_bounded_queue(stuck: Office) -> None:
    made = [stuck.add(0, 3) for _ in range(18)]
    states = [one.state for one in stuck.exports.of_camera(stuck.camera_id)]
    assert (states.count("running"), states.count("queued")) == (2, 16)
    with pytest.raises(ExportsBusy):
        stuck.add(0, 3)
    with pytest.raises(ExportNotReady):
        stuck.exports.open(stuck.camera_id, made[0].id)


def test_cancelling_ends_the_ffmpeg_and_lets_the_next_one_begin(stuck: Office) -> None:
    first, second, third, fourth = (stuck.add(0, 3) for _ in range(4))
    for export in (first, second):
        stuck.until(export.id, lambda _: any(n.endswith(".txt") for n in stuck.folder()))
    assert stuck.exports.cancel(stuck.camera_id, fourth.id).state == "cancelled"
    assert stuck.exports.cancel(stuck.camera_id, first.id).state == "cancelled"
    stuck.until(third.id, lambda one: one.state == "running")
    assert stuck.exports.get(stuck.camera_id, second.id).state == "running"
    assert stuck.exports.get(stuck.camera_id, fourth.id).state == "cancelled"


def test_what_is_a_day_old_goes(office: Office) -> None:
    made = office.ended(office.add(0, 3).id)
    assert office.folder() == [f"{made.id}.mp4"]
    office.clock.advance(KEPT_FOR.total_seconds() + 1)
    assert office.exports.of_camera(office.camera_id) == []
    assert office.folder() == []


def test_what_a_former_process_left_is_removed_at_the_start(office: Office) -> None:
    (office.root / ".streamwarden" / "exports" / "old.part").write_bytes(b"x")
    office.exports.start()
    assert office.folder() == []


def test_a_cancelled_export_leaves_no_file(office: Office) -> None:
    made = office.ended(office.add(0, 3).id)
    office.exports.cancel(office.camera_id, made.id)
    assert office.folder() == []
    with pytest.raises(ExportNotReady):
        office.exports.open(office.camera_id, made.id)
