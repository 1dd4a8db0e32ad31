"""Where segments end by their rows: wherever the row is on its way, and without waiting for long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.model import Segment
from streamwarden.recordings.camera_files import IndexedEnds
from streamwarden.storage.journal import Journal
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.storage.refusals import StorageUnavailable
from tests.fakes.manual_time import ManualClock
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import CAMERA, CameraFilesHarness, whole


class Index(SegmentRepository):
    """A table of segments that answers, or does not."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, UUID], Segment] = {}
        self.away = False
        self.asked = 0

    def get(self, camera_id: UUID, segment_id: UUID, /) -> Segment | None:
        self.asked += 1
        if self.away:
            raise StorageUnavailable("the database does not answer")
        return self.rows.get((camera_id, segment_id))

    def last_run(self, camera_id: UUID) -> int:
        self.asked += 1
        if self.away:
            raise StorageUnavailable("the database does not answer")
        return max((row.run for row in self.rows.values() if row.camera_id == camera_id), default=0)


@pytest.fixture
def files_harness(tmp_path: Path) -> Iterator[CameraFilesHarness]:
    files_harness = CameraFilesHarness(tmp_path)
    yield files_harness
    files_harness.close()


@pytest.fixture
def rows(files_harness: CameraFilesHarness) -> list[Segment]:
    """Two rows that wait in the journal."""
    files_harness.files().open(())
    for number in (0, 1):
        files_harness.write(1, number)
        files_harness.files().publish(whole(1, number, 3 * number, 3 * number + 3.4))
    return files_harness.rows()


def ends(journal: Journal, index: Index, clock: ManualClock) -> IndexedEnds:
    return IndexedEnds(journal=journal, segments=index, clock=clock)


def test_a_row_that_waits_in_the_journal_is_known(
    files_harness: CameraFilesHarness, rows: list[Segment]
) -> None:
    index = Index()
    known = ends(files_harness.journal, index, files_harness.clock)
    assert known.end_of(CAMERA, rows[1].id) == at(6.4)
    assert index.asked == 0
    assert files_harness.journal.waiting == 2


def test_a_row_that_is_indexed_is_known(
    files_harness: CameraFilesHarness, rows: list[Segment]
) -> None:
    files_harness.journal.done(files_harness.journal.take(10))
    index = Index()
    index.rows[CAMERA, rows[0].id] = replace(rows[0], ended_at=at(3.2))
    known = ends(files_harness.journal, index, files_harness.clock)
    assert known.end_of(CAMERA, rows[0].id) == at(3.2)
    assert known.end_of(CAMERA, rows[1].id) is None


def test_an_index_that_is_away_is_waited_for_once(
    files_harness: CameraFilesHarness, rows: list[Segment]
) -> None:
    files_harness.journal.done(files_harness.journal.take(10))
    index = Index()
    index.rows[CAMERA, rows[0].id] = rows[0]
    index.away = True
    known = ends(files_harness.journal, index, files_harness.clock)
    assert [known.end_of(CAMERA, rows[0].id) for _ in range(3)] == [None] * 3
    assert index.asked == 1
    index.away = False
    files_harness.clock.advance(120)
    assert known.end_of(CAMERA, rows[0].id) == at(3.4)


def test_the_last_run_is_the_highest_in_journal_and_index(
    files_harness: CameraFilesHarness, rows: list[Segment]
) -> None:
    index, clock = Index(), ManualClock()
    known = ends(files_harness.journal, index, clock)
    assert known.last_run(CAMERA, journal=False) == 0
    assert known.last_run(CAMERA, journal=True) == 1
    index.rows[(CAMERA, rows[0].id)] = replace(rows[0], run=7)
    assert known.last_run(CAMERA, journal=True) == 7
    index.away = True
    asked = index.asked
    assert known.last_run(CAMERA, journal=True) is None
    assert known.last_run(CAMERA, journal=True) is None
    assert index.asked == asked + 1
