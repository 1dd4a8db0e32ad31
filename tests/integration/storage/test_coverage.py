"""Sums over recent time in a real Postgres, and the indexes that serve them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.pool import Database, load_queries
from streamwarden.storage.recording_index import (
    CoverageRepository,
    GapRepository,
    Missing,
    Recorded,
    SegmentRepository,
)
from tests.fakes.storage_samples import NOON, a_gap, a_segment, at


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, max_size=2)) as opened:
        opened.open()
        yield opened


def test_an_empty_database_sums_to_nothing(database: Database) -> None:
    coverage = CoverageRepository(database)
    assert coverage.recorded(NOON) == Recorded(seconds=0.0, size_bytes=0)
    assert (coverage.missing(NOON, at(60)), coverage.oldest(), coverage.cameras()) == ([], None, {})


def test_what_reaches_into_the_time_counts_from_its_beginning(database: Database) -> None:
    camera = uuid4()
    rows = [a_segment(camera, start=n, end=n + 30) for n in (0, 30, 60)]
    SegmentRepository(database).insert_many(rows)
    SegmentRepository(database).mark_deleting([rows[2].id])
    assert CoverageRepository(database).recorded(at(10)) == Recorded(seconds=50.0, size_bytes=2000)
    assert CoverageRepository(database).oldest() == at(30)


def test_gaps_are_summed_by_cause_the_open_ones_until_now(database: Database) -> None:
    camera, other = uuid4(), uuid4()
    GapRepository(database).upsert_many(
        [
            a_gap(camera, start=0, end=20, cause="timeout"),
            a_gap(camera, start=40, end=45, cause="stalled"),
            a_gap(other, start=50, end=None, cause="stalled"),
            a_gap(other, start=-60, end=-1, cause="internal"),
        ]
    )
    assert CoverageRepository(database).missing(at(10), at(60)) == [
        Missing(cause="stalled", seconds=15.0),
        Missing(cause="timeout", seconds=10.0),
    ]


def test_cameras_are_counted_by_status(database: Database) -> None:
    cameras = CameraRepository(database)
    for status in ("active", "active", "inactive"):
        cameras.add(name="x", owner="alice", created_at=NOON, status=status)
    assert CoverageRepository(database).cameras() == {"active": 2, "inactive": 1}


@pytest.mark.parametrize(
    ("query", "index"),
    [("recorded", "segment_oldest"), ("missing", "gap_by_end"), ("oldest", "segment_oldest")],
)
def test_each_sum_is_served_by_an_index(database: Database, query: str, index: str) -> None:
    sql = b"explain " + load_queries("coverage")[query]
    with database.connection() as connection:
        connection.execute("set local enable_seqscan = off")
        plan = connection.execute(sql, {"since": NOON, "now": at(60)}).fetchall()
    assert index in str(plan)
