"""How long a page of the recordings list takes, against one row by its primary key.

    python benchmarks/recordings_list.py [--rows 1000000] [--cameras 10] [--calls 300] [--explain]

Loads segments of 30 s, and a gap after every tenth, into an embedded Postgres. Prints a line a read:
median and 99th percentile in milliseconds, and the ratio of the medians to the primary-key lookup of
the same run. Ten million rows take about 6 GB in the temporary folder and some minutes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.model import Segment
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database, load_queries
from streamwarden.storage.recording_index import RecordingsRepository, SegmentRepository

SEGMENT_S = 30
FIRST = datetime(2025, 1, 1, tzinfo=UTC)

# Camera c has the id c; row n of each begins 30 s after row n - 1.
SEGMENTS = b"""
insert into segment (id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes,
                     path)
select gen_random_uuid(), lpad(to_hex(c), 32, '0')::uuid, 'owner-1', 1 + n / 1000, n,
       %(first)s::timestamptz + make_interval(secs => n * %(length)s),
       %(first)s::timestamptz + make_interval(secs => (n + 1) * %(length)s),
       %(length)s * 1000, 4000000, 'owner-1/' || c || '/2025-01-01/120000.000Z-r1-' || n || '.mp4'
  from generate_series(1, %(per_camera)s) as n, generate_series(1, %(cameras)s) as c
"""
GAPS = b"""
insert into gap (id, camera_id, started_at, ended_at, cause)
select gen_random_uuid(), camera_id, ended_at, ended_at + interval '1 second', 'source_offline'
  from segment where number % 10 = 0
"""


@dataclass(frozen=True)
class Load:
    """What to load, and so what may be asked for."""

    rows: int
    cameras: int

    @property
    def per_camera(self) -> int:
        """Segments of each camera."""
        return self.rows // self.cameras

    def camera(self) -> UUID:
        """Return one of the cameras."""
        return UUID(int=random.randint(1, self.cameras))  # noqa: S311 - a sample, no secret

    def moment(self) -> datetime:
        """Return a moment that was recorded."""
        seconds = random.random() * self.per_camera * SEGMENT_S  # noqa: S311 - likewise
        return FIRST + timedelta(seconds=seconds)


def fill(url: str, load: Load) -> None:
    """Load segments and gaps, then let the planner see them."""
    params = {
        "first": FIRST,
        "length": SEGMENT_S,
        "per_camera": load.per_camera,
        "cameras": load.cameras,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SEGMENTS, params)
        connection.execute(GAPS)
        connection.execute("vacuum analyze")


def inserts_per_s(segments: SegmentRepository, load: Load) -> float:
    """Insert 20,000 new segments in batches of 500; return rows a second."""
    rows = [
        Segment(
            id=uuid4(),
            camera_id=UUID(int=1 + n % load.cameras),
            owner="owner-1",
            run=1_000_000,
            number=n,
            started_at=FIRST + timedelta(seconds=load.per_camera * SEGMENT_S + n),
            ended_at=FIRST + timedelta(seconds=load.per_camera * SEGMENT_S + n + 1),
            media_ms=1000,
            size_bytes=4_000_000,
            path=f"owner-1/camera/2025-01-01/120000.000Z-r1-{n}.mp4",
            digest=bytes(32),
        )
        for n in range(20_000)
    ]
    started = time.perf_counter()
    for first in range(0, len(rows), 500):
        segments.insert_many(rows[first : first + 500])
    return len(rows) / (time.perf_counter() - started)


def milliseconds(read: Callable[[], object], calls: int) -> list[float]:
    """Return how long each of ``calls`` reads took, after a few to warm up."""
    taken = []
    for number in range(calls + 20):
        started = time.perf_counter()
        read()
        if number >= 20:
            taken.append((time.perf_counter() - started) * 1000)
    return taken


def report(reads: dict[str, Callable[[], object]], calls: int) -> None:
    """Print a line a read; the first is what the others are compared with."""
    base = 0.0
    print(f"{'read':<28} {'median ms':>10} {'p99 ms':>10} {'ratio':>8}")
    for name, read in reads.items():
        taken = milliseconds(read, calls)
        median = statistics.median(taken)
        base = base or median
        p99 = statistics.quantiles(taken, n=100)[98]
        print(f"{name:<28} {median:>10.3f} {p99:>10.3f} {median / base:>8.2f}")


def explain(database: Database, load: Load) -> None:
    """Print the plan of one page, as prepared statements come to use it."""
    params = {
        "camera_id": load.camera(),
        "from": load.moment(),
        "to": FIRST + timedelta(days=100_000),
        "after_moment": FIRST - timedelta(days=1),
        "after_id": UUID(int=0),
        "limit": 101,
    }
    for table in ("segment", "gap"):
        with database.connection() as connection:
            query = b"explain (analyze, buffers) " + load_queries(table)["in_range"]
            for line in connection.execute(query, params):
                print(line[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description="Time the recordings list.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cameras", type=int, default=10)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--explain", action="store_true", help="print the plans too")
    options = parser.parse_args(arguments)
    load = Load(rows=options.rows, cameras=options.cameras)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder), fsync=False) as server,
    ):
        migrate(server.url)
        fill(server.url, load)
        database = Database(server.url, statement_timeout_s=60)
        database.open()
        try:
            measure(database, load, options)
        finally:
            database.close()


def measure(database: Database, load: Load, options: argparse.Namespace) -> None:
    """Print every figure."""
    segments, recordings = SegmentRepository(database), RecordingsRepository(database)
    known = [segment.id for segment in segments.in_range(UUID(int=1), *day_around(FIRST))]

    def page(hours: float) -> Callable[[], object]:
        def read() -> object:
            from_ = load.moment()
            to = from_ + timedelta(hours=hours)
            return recordings.list(load.camera(), from_, to, limit=100)

        return read

    report(
        {
            "segment by primary key": lambda: segments.get(UUID(int=1), random.choice(known)),  # noqa: S311 - a sample
            "page of 100 in one hour": page(1),
            "page of 100 in one day": page(24),
            "page of 100 in all time": page(24 * 36_500),
            "latest of a camera": lambda: segments.latest(load.camera()),
            "100 oldest of all": lambda: segments.oldest(limit=100),
            "100 oldest of a camera": lambda: segments.oldest(limit=100, camera_id=load.camera()),
            "cameras with segments": segments.camera_ids,
        },
        options.calls,
    )
    print(f"usage of every camera: {milliseconds(segments.usage, 1)[0]:.0f} ms")
    print(f"inserted {inserts_per_s(segments, load):.0f} rows/s in batches of 500")
    if options.explain:
        explain(database, load)


def day_around(moment: datetime) -> tuple[datetime, datetime]:
    """Return a day that begins at ``moment``."""
    return moment, moment + timedelta(days=1)


if __name__ == "__main__":
    main()
