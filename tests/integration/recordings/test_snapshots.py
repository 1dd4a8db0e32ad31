"""Snapshots with a real FFmpeg, of open and of stored files."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from streamwarden.errors import NoPicture, PicturesBusy
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.mp4.fragments import FragmentScan
from streamwarden.recordings import snapshots
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.serving import IndexedFiles
from streamwarden.recordings.snapshots import FRESH_S, PlacesByKey, SnapshotMaker
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.fakes.storage import FakeStorage
from tests.integration.recordings.footage import FFMPEG, rows_of, write_segments


class SnapshotHarness:
    """A camera whose last segment is on disk, and whose next one may be open."""

    def __init__(self, root: Path, jobs: JobRunner, *, ffmpeg: str = FFMPEG) -> None:
        self.root, self.camera_id, self.clock = root, uuid4(), ManualClock(EPOCH)
        self.live, self.storage = LiveIndex(self.clock), FakeStorage()
        self.pictures = SnapshotMaker(
            jobs=jobs,
            ffmpeg=lambda: ffmpeg,
            live=self.live,
            segments=self.storage.segments,
            files=IndexedFiles(self.storage.segments, root),
            folder=root,
            clock=self.clock,
        )

    def store(self) -> Path:
        folder = self.root / "alice" / str(self.camera_id) / "2026-03-01"
        paths = write_segments(folder, seconds=3, segment_s=3)
        self.storage.segments.insert_many(rows_of(self.root, self.camera_id, paths))
        return paths[-1]

    def open_live(self) -> Path:
        folder = self.root / "alice" / str(self.camera_id) / ".live"
        (path,) = write_segments(folder, seconds=3, segment_s=3)
        self.live.opened(self.camera_id, folder)
        return path


@pytest.fixture
def jobs() -> Iterator[JobRunner]:
    runner = JobRunner()
    runner.start()
    yield runner
    runner.close()


@pytest.fixture
def harness(tmp_path: Path, jobs: JobRunner) -> SnapshotHarness:
    return SnapshotHarness(tmp_path, jobs)


def width_of(jpeg: bytes) -> int:
    """Return the width in the frame header (ITU-T T.81, B.2.2)."""
    assert jpeg[:2] == b"\xff\xd8"
    place = jpeg.index(b"\xff\xc0")
    return int(struct.unpack_from(">H", jpeg, place + 7)[0])


def test_every_fragment_of_a_recorder_is_known_by_its_key_frame(harness: SnapshotHarness) -> None:
    folder = harness.root / "long"
    (path,) = write_segments(folder, seconds=4, segment_s=4, gop_s=2)
    fd = os.open(path, os.O_RDONLY)
    fragments = list(FragmentScan().advance(fd, path.stat().st_size))
    os.close(fd)
    assert [one.key for one in fragments[:4]] == [True, False, True, False]
    assert sum(one.media_ms for one in fragments) == pytest.approx(4_000, abs=100)


def test_without_a_recording_there_is_no_picture(harness: SnapshotHarness) -> None:
    with pytest.raises(NoPicture):
        harness.pictures.take(harness.camera_id, 640)


def test_the_last_segment_gives_the_picture_of_a_camera_that_is_off(
    harness: SnapshotHarness,
) -> None:
    harness.store()
    assert width_of(harness.pictures.take(harness.camera_id, 160).jpeg) == 160


def test_a_picture_is_never_made_wider_than_it_is(harness: SnapshotHarness) -> None:
    harness.store()
    assert width_of(harness.pictures.take(harness.camera_id, 1920).jpeg) == 320


def test_the_open_file_comes_before_the_stored_one(harness: SnapshotHarness) -> None:
    stored = harness.store()
    live = harness.open_live()
    stored.unlink()
    # Torn in the middle of a fragment, as it is while FFmpeg writes.
    os.truncate(live, live.stat().st_size - 2_000)
    assert width_of(harness.pictures.take(harness.camera_id, 320).jpeg) == 320


def test_a_picture_has_the_time_at_which_it_was_taken(harness: SnapshotHarness) -> None:
    harness.store()
    last = harness.storage.segments.latest(harness.camera_id)
    assert last is not None
    found = harness.pictures.take(harness.camera_id, 320)
    assert timedelta() < last.ended_at - found.taken_at <= timedelta(seconds=1.1)
    live = harness.open_live()
    harness.clock.advance(FRESH_S + 1)
    written_s = last.ended_at.timestamp() + 500
    os.utime(live, (written_s, written_s))
    newer = harness.pictures.take(harness.camera_id, 320)
    assert 498 < (newer.taken_at - last.ended_at).total_seconds() < 500


def test_a_picture_that_is_older_than_its_reader_wants_is_none(harness: SnapshotHarness) -> None:
    harness.store()
    taken_at = harness.pictures.take(harness.camera_id, 320).taken_at
    harness.clock.wall = taken_at + timedelta(seconds=50)
    assert harness.pictures.take(harness.camera_id, 320, max_age_s=60)
    harness.clock.wall = taken_at + timedelta(seconds=70)
    with pytest.raises(NoPicture, match="70 s old"):
        harness.pictures.take(harness.camera_id, 320, max_age_s=60)
    assert harness.pictures.take(harness.camera_id, 320)


def test_a_lost_file_is_no_picture(harness: SnapshotHarness) -> None:
    harness.store().unlink()
    with pytest.raises(NoPicture):
        harness.pictures.take(harness.camera_id, 320)


def test_a_file_that_is_not_video_is_no_picture(harness: SnapshotHarness) -> None:
    harness.store().write_bytes(b"not video" * 100)
    with pytest.raises(NoPicture):
        harness.pictures.take(harness.camera_id, 320)


def test_a_picture_is_kept_for_a_moment_and_while_nothing_new_comes(
    harness: SnapshotHarness,
) -> None:
    stored = harness.store()
    first = harness.pictures.take(harness.camera_id, 320)
    content = stored.read_bytes()
    stored.write_bytes(b"")
    assert harness.pictures.take(harness.camera_id, 320) is first
    harness.clock.advance(FRESH_S + 1)
    with pytest.raises(NoPicture):
        harness.pictures.take(harness.camera_id, 320)
    stored.write_bytes(content)
    assert harness.pictures.take(harness.camera_id, 320) is first


def test_widths_in_between_are_one_picture(harness: SnapshotHarness) -> None:
    harness.store()
    first = harness.pictures.take(harness.camera_id, 240)
    assert all(
        harness.pictures.take(harness.camera_id, width) is first for width in (241, 300, 319)
    )


def test_a_user_has_some_places_and_others_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_WAIT_S", 0.01)
    places = PlacesByKey(2, busy="too many")
    with places.hold("guest"), places.hold("guest"):
        with pytest.raises(PicturesBusy), places.hold("guest"):
            pass
        with places.hold("owner"):
            pass
    with places.hold("guest"):
        pass
    assert not places._rooms


def test_those_who_wait_are_few(tmp_path: Path, jobs: JobRunner) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nread line < '%s/go'\n" % tmp_path)  # noqa: UP031 - a shell's text
    program.chmod(0o755)
    os.mkfifo(tmp_path / "go")
    harness = SnapshotHarness(tmp_path, jobs, ffmpeg=str(program))
    harness.store()
    ends: list[str] = []

    def ask() -> None:
        try:
            harness.pictures.take(harness.camera_id, 320)
        except (NoPicture, PicturesBusy) as error:
            ends.append(type(error).__name__)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(ends) < 3:
        os.sched_yield()
    assert ends[:3] == ["PicturesBusy"] * 3
    # Let the one FFmpeg at work end, and those that follow it.
    go = os.open(tmp_path / "go", os.O_RDWR)
    for _ in range(8):
        os.write(go, b"\n")
    for thread in threads:
        thread.join(30)
    os.close(go)
    assert len(ends) == 8
