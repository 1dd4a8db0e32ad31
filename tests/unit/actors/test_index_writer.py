from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.actors.indexer import BATCH, IndexWriter
from streamwarden.errors import Unavailable
from streamwarden.model import Cause, Gap, Segment
from streamwarden.recordings.root_identity import RootFault, RootNotKnown
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import RowsRefused
from streamwarden.storage.recording_index import GapRepository, SegmentRepository

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAMERA = UUID(int=7)
GAP = Gap(id=uuid4(), camera_id=CAMERA, started_at=NOW, ended_at=None, cause="starting")


def segment(number: int) -> Segment:
    return Segment(
        id=UUID(int=1000 + number),
        camera_id=CAMERA,
        owner="otto",
        run=1,
        number=number,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=30),
        media_ms=30_000,
        size_bytes=1000,
        path=f"otto/{number}.mp4",
    )


class Index:
    """What the two tables have taken; some rows can never be stored."""

    def __init__(self) -> None:
        self.segment_table = SegmentTable(self)
        self.gap_table = GapTable(self)
        self.refused: set[UUID] = set()
        self.taken: set[UUID] = set()
        self.error: Exception | None = None
        self.calls = 0
        self.segments: list[int] = []
        self.gaps: list[Gap] = []
        self.removed: list[UUID] = []

    def check(self, rows: Sequence[Segment] | Sequence[Gap]) -> None:
        self.calls += 1
        assert rows
        if self.error is not None:
            raise self.error
        if any(row.id in self.refused for row in rows):
            raise RowsRefused("scripted")


class SegmentTable(SegmentRepository):
    def __init__(self, index: Index) -> None:
        self._index = index

    def insert_many(self, rows: Sequence[Segment]) -> int:
        self._index.check(rows)
        new = [row.number for row in rows if row.id not in self._index.taken]
        self._index.segments += new
        return len(new)

    def taken(self, rows: Sequence[Segment]) -> list[UUID]:
        return [row.id for row in rows if row.id in self._index.taken]


class GapTable(GapRepository):
    def __init__(self, index: Index) -> None:
        self._index = index

    def upsert_many(self, rows: Sequence[Gap]) -> int:
        self._index.check(rows)
        self._index.gaps += rows
        return len(rows)

    def remove(self, gap_id: UUID) -> bool:
        self._index.removed.append(gap_id)
        return True


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def writer(journal: Journal, index: Index) -> IndexWriter:
    return IndexWriter(journal=journal, segments=index.segment_table, gaps=index.gap_table)


def test_an_empty_journal_asks_nothing_of_postgres(writer: IndexWriter, index: Index) -> None:
    assert writer.write_batch() == 0
    assert index.calls == 0


def test_a_batch_takes_one_call_a_table(
    writer: IndexWriter, journal: Journal, index: Index
) -> None:
    journal.append([segment(n) for n in range(BATCH)], NOW)
    journal.append([GAP], NOW)
    assert [writer.write_batch(), writer.write_batch(), writer.write_batch()] == [BATCH, 1, 0]
    assert index.calls == 2
    assert index.segments == list(range(BATCH))
    assert journal.waiting == 0


def test_a_row_that_can_never_be_stored_holds_up_no_other(
    writer: IndexWriter, journal: Journal, index: Index
) -> None:
    journal.append([segment(n) for n in range(100)], NOW)
    index.refused = {segment(17).id, segment(64).id}
    assert writer.write_batch() == 100
    assert index.segments == [n for n in range(100) if n not in {17, 64}]
    assert journal.waiting == 0
    assert index.calls < 40


@pytest.mark.parametrize(
    "error", [Unavailable("away"), LookupError('relation "segment" does not exist')]
)
def test_an_error_that_is_no_rows_fault_drops_no_row(
    writer: IndexWriter, journal: Journal, index: Index, error: Exception
) -> None:
    journal.append([segment(0), segment(1)], NOW)
    index.error = error
    with pytest.raises(type(error)):
        writer.write_batch()
    assert journal.waiting == 2
    index.error = None
    assert writer.write_batch() == 2


def test_all_that_was_said_of_a_gap_goes_to_postgres_in_order(
    writer: IndexWriter, journal: Journal, index: Index
) -> None:
    closed = replace(GAP, cause="stalled", ended_at=NOW + timedelta(seconds=5))
    journal.append([GAP, replace(GAP, cause="stalled"), closed], NOW)
    assert writer.write_batch() == 3
    assert index.gaps == [GAP, replace(GAP, cause="stalled"), closed]
    assert index.removed == []


def test_a_gap_that_turned_out_to_be_none_is_removed(
    writer: IndexWriter, journal: Journal, index: Index
) -> None:
    journal.append([GAP, replace(GAP, ended_at=NOW)], NOW)
    writer.write_batch()
    assert index.removed == [GAP.id]


def test_a_segment_whose_id_another_file_has_is_counted_and_not_silent(
    journal: Journal, index: Index
) -> None:
    counted: list[int] = []
    writer = IndexWriter(
        journal=journal,
        segments=index.segment_table,
        gaps=index.gap_table,
        on_taken=counted.append,
    )
    index.taken = {segment(1).id}
    journal.append([segment(n) for n in range(3)], NOW)
    assert writer.write_batch() == 3
    assert (index.segments, counted) == ([0, 2], [1])


def test_a_root_that_is_not_the_databases_keeps_its_rows(journal: Journal, index: Index) -> None:
    def refuse() -> None:
        raise RootNotKnown(RootFault(Cause.RECORD_ROOT_CHANGED, "scripted"))

    writer = IndexWriter(
        journal=journal,
        segments=index.segment_table,
        gaps=index.gap_table,
        require_root=refuse,
    )
    assert writer.write_batch() == 0
    journal.append([segment(0)], NOW)
    with pytest.raises(RootNotKnown):
        writer.write_batch()
    assert (index.calls, journal.waiting) == (0, 1)
