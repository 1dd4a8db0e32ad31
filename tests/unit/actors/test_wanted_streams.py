from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from streamwarden.workers import SerialExecutor
from tests.fakes.recording import ManualWorkers
from tests.unit.actors.recorder_harness import CAMERA, at

STREAM = WantedStream(camera_id=CAMERA, owner="otto", segment_seconds=30, since=at(0))


class FillableDisk:
    """A file of wanted streams on a disk that may be full."""

    def __init__(self, folder: Path, content: bytes | None = None) -> None:
        self.path = folder / "streams.json"
        self.workers = ManualWorkers()
        if content is not None:
            self.path.write_bytes(content)

    def fill(self) -> None:
        """From now on nothing can be written."""
        (self.path.parent / "streams.json.new").mkdir()

    def free(self) -> None:
        (self.path.parent / "streams.json.new").rmdir()

    def wanted(self) -> WantedStreams:
        return WantedStreams(self.path, SerialExecutor(self.workers))


def test_wanted_streams_survive_a_restart(tmp_path: Path) -> None:
    disk = FillableDisk(tmp_path)
    other = replace(STREAM, camera_id=uuid4(), owner="ümläut / 子", since=at(1.5))
    wanted = disk.wanted()
    wanted.put(STREAM)
    wanted.put(other)
    assert disk.wanted().all() == {STREAM.camera_id: STREAM, other.camera_id: other}
    assert disk.wanted().get(CAMERA) == STREAM


def test_a_wanted_stream_that_ended_does_not_come_back(tmp_path: Path) -> None:
    disk = FillableDisk(tmp_path)
    wanted = disk.wanted()
    wanted.put(STREAM)
    assert wanted.remove(CAMERA) == STREAM
    assert wanted.remove(CAMERA) is None
    assert disk.wanted().all() == {}


def test_a_wanted_stream_repeated_is_not_written_again(tmp_path: Path) -> None:
    disk = FillableDisk(tmp_path)
    wanted = disk.wanted()
    wanted.put(STREAM)
    disk.path.unlink()
    wanted.put(STREAM)
    assert not disk.path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"7",
        b"[7]",
        b'[{"camera_id": 7}]',
        b'[{"camera_id": "x", "owner": "o", "segment_seconds": 30, "since": "2026-01-01"}]',
        b'[{"camera_id": "%s", "owner": "o", "segment_seconds": 30, "since": 7}]'
        % str(CAMERA).encode(),
    ],
)
def test_a_file_that_cannot_be_read_is_no_wanted_stream_and_no_failure(
    tmp_path: Path, content: bytes
) -> None:
    disk = FillableDisk(tmp_path, content)
    wanted = disk.wanted()
    assert wanted.all() == {}
    wanted.put(STREAM)
    assert disk.wanted().all() == {CAMERA: STREAM}


def test_a_full_disk_does_not_hide_a_wanted_stream_and_is_made_good_later(
    tmp_path: Path,
) -> None:
    disk = FillableDisk(tmp_path)
    wanted = disk.wanted()
    disk.fill()
    wanted.put(STREAM)
    assert wanted.get(CAMERA) == STREAM
    disk.free()
    wanted.put(STREAM)
    assert disk.wanted().all() == {CAMERA: STREAM}
    disk.fill()
    assert wanted.remove(CAMERA) == STREAM
    assert wanted.all() == {}


def test_before_the_record_root_is_known_its_file_is_neither_read_nor_written(
    tmp_path: Path,
) -> None:
    disk = FillableDisk(tmp_path)
    disk.wanted().put(STREAM)
    other = replace(STREAM, camera_id=uuid4())
    before = disk.path.read_bytes()
    wanted = WantedStreams(disk.path, SerialExecutor(disk.workers), opened=False)
    wanted.put(other)
    assert wanted.all() == {other.camera_id: other}
    assert disk.path.read_bytes() == before
    wanted.open()
    assert wanted.all() == {STREAM.camera_id: STREAM, other.camera_id: other}
    assert disk.wanted().all() == wanted.all()
