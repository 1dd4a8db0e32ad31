"""The ledger of gaps and the list of recordings, over Postgres and in memory."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from streamwarden.errors import InvalidInput
from streamwarden.model import Gap, Segment
from streamwarden.storage.pool import RowsRefused
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import a_gap, a_segment, at

CAMERA = UUID(int=7)
OTHER = UUID(int=8)


def every(storage: Storage, *, limit: int) -> list[Segment | Gap]:
    found: list[Segment | Gap] = []
    cursor: str | None = None
    while True:
        page = storage.recordings.list(CAMERA, at(0), at(1000), limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if not (cursor := page.next_cursor):
            return found


def test_an_open_gap_is_closed_once_and_stays_closed(storage: Storage) -> None:
    gap = a_gap(CAMERA, start=0, end=None, cause="starting")
    closed = replace(gap, ended_at=at(5), cause="timeout")

    assert storage.gaps.upsert_many([gap]) == 1
    assert storage.gaps.in_range(CAMERA, at(0), at(10)) == [gap]
    assert storage.gaps.upsert_many([closed]) == 1
    assert storage.gaps.upsert_many([gap, replace(gap, ended_at=at(9))]) == 0
    assert storage.gaps.in_range(CAMERA, at(0), at(10)) == [closed]


def test_a_gap_that_gets_its_true_cause_keeps_its_id_and_start(storage: Storage) -> None:
    gap = a_gap(CAMERA, start=0, end=None, cause="starting")
    storage.gaps.upsert_many([gap])

    storage.gaps.upsert_many([replace(gap, cause="unauthorized", started_at=at(3))])

    assert storage.gaps.in_range(CAMERA, at(0), at(10)) == [replace(gap, cause="unauthorized")]


def test_a_gap_of_negative_length_is_refused(storage: Storage) -> None:
    with pytest.raises(RowsRefused):
        storage.gaps.upsert_many([a_gap(CAMERA, start=5, end=0)])
    assert storage.gaps.in_range(CAMERA, at(-100), at(100)) == []


def test_one_batch_may_open_recause_and_close_a_gap(storage: Storage) -> None:
    gap = a_gap(CAMERA, start=0, end=None, cause="starting")
    closed = replace(gap, ended_at=at(5), cause="timeout")
    late = replace(gap, ended_at=at(7), cause="stalled")

    storage.gaps.upsert_many([gap, replace(gap, cause="timeout"), closed, late, gap])

    assert storage.gaps.in_range(CAMERA, at(0), at(10)) == [closed]


def test_the_last_word_on_an_open_gap_counts(storage: Storage) -> None:
    gap = a_gap(CAMERA, start=0, end=None, cause="starting")

    storage.gaps.upsert_many([gap, replace(gap, cause="timeout")])

    found = storage.gaps.in_range(CAMERA, at(0), at(10))
    assert [gap.cause for gap in found] == ["timeout"]


def test_gaps_are_removed_by_id_and_dropped_by_age(storage: Storage) -> None:
    gaps = [a_gap(CAMERA, start=s, end=s + 5) for s in (0, 10, 20)]
    still_open = a_gap(CAMERA, start=0, end=None)
    storage.gaps.upsert_many([*gaps, still_open])

    assert storage.gaps.remove(gaps[2].id) is True
    assert storage.gaps.remove(uuid4()) is False
    assert storage.gaps.drop_before(at(15)) == 1
    assert {g.id for g in storage.gaps.in_range(CAMERA, at(0), at(99))} == {
        gaps[1].id,
        still_open.id,
    }
    assert storage.gaps.upsert_many([]) == 0


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_segments_and_gaps_come_in_time_order_each_once(storage: Storage, limit: int) -> None:
    segments = [a_segment(CAMERA, start=s, end=s + 10) for s in (0, 10, 40, 50)]
    twin = replace(segments[2], id=uuid4(), run=2)
    gaps = [a_gap(CAMERA, start=20, end=40), a_gap(CAMERA, start=60, end=None)]
    storage.segments.insert_many([*segments, twin, a_segment(OTHER, start=5, end=15)])
    storage.gaps.upsert_many([*gaps, a_gap(OTHER, start=5, end=15)])

    found = every(storage, limit=limit)

    expected: list[Segment | Gap] = [*segments, twin, *gaps]
    expected.sort(key=lambda item: (item.started_at, item.id))
    assert found == expected


def test_a_list_holds_what_overlaps_its_range(storage: Storage) -> None:
    long_ago = a_gap(CAMERA, start=-300_000, end=None)
    before = a_segment(CAMERA, start=-20, end=0)
    across = a_segment(CAMERA, start=-5, end=5)
    later = a_gap(CAMERA, start=10, end=20)
    storage.segments.insert_many([before, across])
    storage.gaps.upsert_many([long_ago, later])

    page = storage.recordings.list(CAMERA, at(0), at(10), limit=10)

    assert list(page.items) == [long_ago, across]


def test_a_page_after_a_long_gap_does_not_show_it_again(storage: Storage) -> None:
    long_gap = a_gap(CAMERA, start=-300_000, end=20)
    segment = a_segment(CAMERA, start=20, end=30)
    storage.gaps.upsert_many([long_gap])
    storage.segments.insert_many([segment])

    assert every(storage, limit=1) == [long_gap, segment]


def test_a_segment_being_deleted_is_not_listed(storage: Storage) -> None:
    segment = a_segment(CAMERA, start=0, end=10)
    storage.segments.insert_many([segment])
    storage.segments.mark_deleting([segment.id])

    assert storage.recordings.list(CAMERA, at(0), at(10), limit=10).items == ()


@pytest.mark.parametrize("cursor", ["", "x", "é", "A" * 31, "A" * 33, "f" * 32, "A" * 5000])
def test_a_cursor_that_was_never_given_is_refused(storage: Storage, cursor: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        storage.recordings.list(CAMERA, at(0), at(10), limit=10, cursor=cursor)
    assert refused.value.field == "cursor"
