"""How fast a long journal drains into Postgres, against a plain COPY of the same rows.

    python benchmarks/journal_drain.py [--rows 100000]

Puts segments of 100 cameras into a journal on disk, as an outage of Postgres would, and lets the
index's writer empty it into an embedded Postgres with its usual settings. The comparison, in the
same database: COPY of the same rows into a table of the same shape and indexes, the fastest that
Postgres takes rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from _measuring import bound, say

from streamwarden.actors.indexer import IndexWriter
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.model import Segment
from streamwarden.paths import segment_id
from streamwarden.storage.journal import Journal
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository

CAMERAS = 100
SEGMENT_S = 30
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AT_LEAST = 5000
APPENDED_AT_ONCE = 1000


def segments(rows: int) -> Iterator[Segment]:
    """Yield what the cameras have recorded meanwhile, as it came in."""
    for place in range(rows):
        number, camera = divmod(place, CAMERAS)
        started_at = FIRST + timedelta(seconds=number * SEGMENT_S, milliseconds=camera)
        camera_id = UUID(int=camera + 1)
        yield Segment(
            id=segment_id(camera_id, 1, number),
            camera_id=camera_id,
            owner="bench",
            run=1,
            number=number,
            started_at=started_at,
            ended_at=started_at + timedelta(seconds=SEGMENT_S),
            media_ms=SEGMENT_S * 1000,
            size_bytes=4_000_000,
            path=f"bench/{camera_id}/2026-01-01/120000.000Z-r1-{number}.mp4",
            digest=bytes(32),
        )


def drain(url: str, journal: Journal) -> float:
    """Empty the journal as the indexer does, batch after batch; return the seconds it took."""
    database = Database(url, application_name="bench")
    database.open()
    try:
        writer = IndexWriter(
            journal=journal,
            segments=SegmentRepository(database),
            gaps=GapRepository(database),
        )
        began = time.monotonic()
        while writer.write_batch():
            pass
        return time.monotonic() - began
    finally:
        database.close()


def copy(url: str, rows: list[Segment]) -> float:
    """COPY the rows into a table of the same shape; return the seconds it took."""
    names = [field.name for field in fields(Segment)]
    with psycopg.connect(url) as connection:
        connection.execute(b"create table copied (like segment including all)")
        connection.commit()
        began = time.monotonic()
        with connection.cursor().copy(f"copy copied ({', '.join(names)}) from stdin") as into:
            for row in rows:
                into.write_row([getattr(row, name) for name in names])
        connection.commit()
        return time.monotonic() - began


def count(url: str) -> int:
    """Return how many rows the index has."""
    with psycopg.connect(url) as connection:
        row = connection.execute(b"select count(*) from segment").fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="How fast a long journal drains.")
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    rows = list(segments(options.rows))
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        migrate(server.url)
        journal = Journal(Path(folder) / "journal.jsonl")
        try:
            began = time.monotonic()
            for first in range(0, len(rows), APPENDED_AT_ONCE):
                journal.append(rows[first : first + APPENDED_AT_ONCE], FIRST)
            appended_s = time.monotonic() - began
            drained_s = drain(server.url, journal)
            assert journal.waiting == 0, journal.waiting
        finally:
            journal.close()
        assert count(server.url) == len(rows), count(server.url)
        copied_s = copy(server.url, rows)
    for name, took_s in (("append", appended_s), ("drain", drained_s), ("COPY", copied_s)):
        say(f"{name:8} {took_s:6.2f} s  {len(rows) / took_s:8.0f} rows/s")
    say(f"the drain takes {drained_s / copied_s:.1f} times as long as COPY")
    bound("journal drain", len(rows) / drained_s, "rows/s", at_least=AT_LEAST)


if __name__ == "__main__":
    main()
