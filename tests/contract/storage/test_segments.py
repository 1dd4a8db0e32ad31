"""The index of segments, over Postgres and in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Segment, Usage
from streamwarden.storage.pool import RowsRefused
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import a_segment, at

CAMERA = UUID(int=7)
OTHER = UUID(int=8)


def row(start: float, camera_id: UUID = CAMERA, length: float = 10) -> Segment:
    return a_segment(camera_id, start=start, end=start + length)


def test_a_segment_is_found_as_it_was_inserted(storage: Storage) -> None:
    segment = replace(row(0), salvaged=True, digest=bytes(range(32)))

    assert storage.segments.insert_many([segment]) == 1
    assert storage.segments.get(CAMERA, segment.id) == segment


def test_a_segment_of_another_camera_is_not_found(storage: Storage) -> None:
    segment = row(0)
    storage.segments.insert_many([segment])

    assert storage.segments.get(OTHER, segment.id) is None
    assert storage.segments.get(CAMERA, uuid4()) is None


def test_the_last_run_counts_rows_that_are_being_deleted(storage: Storage) -> None:
    assert storage.segments.last_run(CAMERA) == 0
    rows = [replace(row(10 * run), run=run) for run in (3, 8)]
    storage.segments.insert_many([*rows, replace(row(0, OTHER), run=99)])
    storage.segments.mark_deleting([rows[1].id])
    assert storage.segments.last_run(CAMERA) == 8


def test_a_segment_in_the_place_of_another_files_row_is_named(storage: Storage) -> None:
    first, second = row(0), replace(row(10), number=5)
    storage.segments.insert_many([first])
    other = replace(first, id=uuid4(), path="elsewhere.mp4")
    same_id = replace(first, path="elsewhere.mp4")
    assert storage.segments.taken([first, second]) == []
    assert storage.segments.taken([first, other, second]) == [other.id]
    assert storage.segments.taken([same_id]) == [first.id]


def test_a_repeated_batch_inserts_nothing_twice(storage: Storage) -> None:
    first, second = row(0), row(10)
    storage.segments.insert_many([first])

    same_place = replace(first, id=uuid4(), size_bytes=1)
    assert storage.segments.insert_many([first, second, same_place, second]) == 1
    assert storage.segments.in_range(CAMERA, at(0), at(100)) == [first, second]


@pytest.mark.parametrize("broken", [{"size_bytes": -1}, {"media_ms": -1}, {"ended_at": at(-1)}])
def test_a_row_that_contradicts_itself_is_refused_with_its_batch(
    storage: Storage, broken: dict[str, Any]
) -> None:
    good = row(10)

    with pytest.raises(RowsRefused):
        storage.segments.insert_many([good, replace(row(0), **broken)])

    assert storage.segments.get(CAMERA, good.id) is None


def test_an_empty_batch_is_harmless(storage: Storage) -> None:
    assert storage.segments.insert_many([]) == 0
    assert storage.segments.mark_deleting([]) == 0
    assert storage.segments.delete([]) == 0


def test_the_ends_of_an_empty_index_are_empty(storage: Storage) -> None:
    assert storage.segments.latest(CAMERA) is None
    assert storage.segments.usage() == []
    assert storage.segments.camera_ids() == []


def test_the_latest_segment_is_the_one_that_ended_last(storage: Storage) -> None:
    long = a_segment(CAMERA, start=0, end=50)
    short = a_segment(CAMERA, start=10, end=20, run=3)
    storage.segments.insert_many([long, short, row(0, OTHER, length=99)])

    assert storage.segments.latest(CAMERA) == long


def test_a_range_takes_what_overlaps_and_not_what_only_touches(storage: Storage) -> None:
    rows = [row(start) for start in (0, 10, 20, 30)]
    storage.segments.insert_many([*rows, row(10, OTHER)])

    assert storage.segments.in_range(CAMERA, at(10), at(20)) == [rows[1]]
    assert storage.segments.in_range(CAMERA, at(9.999), at(20.001)) == rows[:3]


def test_a_range_finds_a_segment_that_began_days_before(storage: Storage) -> None:
    stepped = a_segment(CAMERA, start=-200_000, end=5)
    edge = a_segment(CAMERA, start=-7200, end=1)
    storage.segments.insert_many([stepped, edge, row(0)])

    found = storage.segments.in_range(CAMERA, at(0), at(10))
    assert [segment.started_at for segment in found] == [at(-200_000), at(-7200), at(0)]


def test_the_oldest_come_first_over_all_cameras_and_of_one(storage: Storage) -> None:
    mine, theirs = [row(0), row(20)], [row(10, OTHER), row(30, OTHER)]
    storage.segments.insert_many([*mine, *theirs])

    assert storage.segments.oldest(limit=3) == [mine[0], theirs[0], mine[1]]
    assert storage.segments.oldest(limit=3, camera_id=OTHER) == theirs
    assert storage.segments.oldest(limit=3, ended_before=at(20)) == [mine[0]]
    assert storage.segments.oldest(limit=3, camera_id=OTHER, ended_before=at(21)) == theirs[:1]


def test_usage_adds_up_stored_segments_by_camera(storage: Storage) -> None:
    rows = [row(0), row(10), row(0, OTHER)]
    storage.segments.insert_many(rows)
    storage.segments.mark_deleting([rows[1].id])

    assert storage.segments.usage() == [
        Usage(camera_id=CAMERA, segments=1, size_bytes=1000),
        Usage(camera_id=OTHER, segments=1, size_bytes=1000),
    ]
    assert storage.segments.camera_ids() == [CAMERA, OTHER]


def test_a_marked_segment_is_hidden_and_only_listed_for_deletion(storage: Storage) -> None:
    segment, other = row(0), row(10)
    storage.segments.insert_many([segment, other])

    assert storage.segments.mark_deleting([segment.id, uuid4()]) == 1
    assert storage.segments.mark_deleting([segment.id]) == 0

    assert storage.segments.get(CAMERA, segment.id) is None
    assert storage.segments.in_range(CAMERA, at(0), at(100)) == [other]
    assert storage.segments.oldest(limit=10) == [other]
    assert storage.segments.deleting(limit=10) == [segment]


def test_only_a_marked_segment_is_deleted(storage: Storage) -> None:
    marked, stored = row(0), row(10)
    storage.segments.insert_many([marked, stored])
    storage.segments.mark_deleting([marked.id])

    assert storage.segments.delete([marked.id, stored.id]) == 1

    assert storage.segments.deleting(limit=10) == []
    assert storage.segments.get(CAMERA, stored.id) == stored


def test_what_comes_after_its_camera_was_given_up_is_marked_as_it_comes(storage: Storage) -> None:
    storage.segments.insert_many([row(0)])
    storage.segments.mark_camera_deleting(CAMERA)

    other = row(0, OTHER)
    storage.segments.insert_many([row(10), other])

    assert [s.started_at for s in storage.segments.deleting(limit=10)] == [at(0), at(10)]
    assert storage.segments.in_range(OTHER, at(0), at(100)) == [other]


def test_marking_a_camera_leaves_the_others(storage: Storage) -> None:
    storage.segments.insert_many([row(0), row(10), row(0, OTHER)])

    assert storage.segments.mark_camera_deleting(CAMERA) == 2
    assert storage.segments.mark_camera_deleting(CAMERA) == 0
    assert [s.started_at for s in storage.segments.deleting(limit=1)] == [at(0)]
    assert len(storage.segments.oldest(limit=10)) == 1
    assert [s.started_at for s in storage.segments.deleting_of(CAMERA)] == [at(0), at(10)]
    assert storage.segments.deleting_of(OTHER) == []
