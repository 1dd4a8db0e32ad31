"""What a recorder relies on in a camera's folder: the same for the real one and its fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamwarden.model import Cause
from streamwarden.recordings import gap_ledger
from streamwarden.recordings.camera_files import CameraFiles
from streamwarden.recordings.gap_ledger import Ledger
from tests.fakes.recording import FakeCameraFiles
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import CameraFilesHarness, torn, whole


class FakeFolder:
    def __init__(self, _: Path) -> None:
        self.fake = FakeCameraFiles()
        self.files: CameraFiles = self.fake

    def write(self, run: int, number: int, *, seconds: int) -> None:
        if seconds == 0:
            self.fake.hollow.add((run, number))

    def close(self) -> None:
        """Nothing is open."""


class RealFolder:
    def __init__(self, folder: Path) -> None:
        self._desk = CameraFilesHarness(folder)
        self.files: CameraFiles = self._desk.files()

    def write(self, run: int, number: int, *, seconds: int) -> None:
        self._desk.write(run, number, seconds=seconds)

    def close(self) -> None:
        self._desk.close()


Folder = FakeFolder | RealFolder


@pytest.fixture(params=[FakeFolder, RealFolder], ids=["fake", "real"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    folder: Folder = request.param(tmp_path)
    yield folder
    folder.close()


def test_only_the_first_opening_is_the_first(folder: Folder) -> None:
    assert [folder.files.open(()).first_time for _ in range(2)] == [True, False]


def test_run_numbers_grow(folder: Folder) -> None:
    folder.files.open(())
    assert [folder.files.next_run()[1] for _ in range(2)] == [1, 2]
    assert folder.files.open(()).last_run == 2


def test_a_segment_stored_again_is_the_same_segment(folder: Folder) -> None:
    folder.files.open(())
    folder.write(1, 1, seconds=2)
    first = folder.files.publish(whole(1, 1, 0, 30))
    assert first is not None
    assert (first.row.started_at, first.row.ended_at) == (at(0), at(30))
    assert folder.files.publish(whole(1, 1, 0, 30)) == first


def test_a_torn_first_file_begins_its_medias_length_before_its_end(folder: Folder) -> None:
    folder.files.open(())
    folder.write(1, 0, seconds=2)
    stored = folder.files.publish(torn(1, 0, None, 30))
    assert stored is not None
    assert (stored.row.started_at, stored.row.ended_at) == (at(28), at(30))


def test_a_torn_file_without_media_is_nothing(folder: Folder) -> None:
    folder.files.open(())
    folder.write(1, 0, seconds=0)
    assert folder.files.publish(torn(1, 0, 0, 30)) is None


def test_the_ledger_is_found_as_it_was_noted(folder: Folder) -> None:
    assert folder.files.open(()).ledger == Ledger()
    ledger, changes = gap_ledger.lost(Ledger(covered_until=at(3)), Cause.STALLED, at(4))
    folder.files.write_ledger(ledger, changes)
    assert folder.files.open(()).ledger == ledger
    assert folder.files.read_ledger() == ledger


def test_the_last_segment_is_remembered(folder: Folder) -> None:
    folder.files.open(())
    folder.write(1, 0, seconds=2)
    folder.files.publish(whole(1, 0, 0, 30))
    last = folder.files.open(()).last_segment
    assert last is not None
    assert last.ended_at == at(30)
