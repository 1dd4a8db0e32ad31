"""The streaming role as it is put together: its retention, and the hosts that it may read from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import urllib3

from streamwarden.app.resources import Resources
from streamwarden.app.roles import with_ports
from streamwarden.app.streaming_role import StreamingRole, rules_in_force, start_retention
from streamwarden.clock import Clock
from streamwarden.config.settings import load
from streamwarden.evidence.sealer import SealSchedule
from streamwarden.model import Segment
from streamwarden.paths import camera_folder, segment_id, stored_name
from streamwarden.recordings import retention
from streamwarden.recordings.deletion_log import DELETION_LOG
from streamwarden.storage.pool import Database
from streamwarden.storage.record_roots import Lease, RecordRootRepository
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.supervision import Link, tell
from streamwarden.supervision._actor import Exit
from tests.acceptance.waiting import wait_for
from tests.fakes.manual_time import DEADLINE_S, ManualClock, ManualTimers
from tests.fakes.recording import ManualWorkers
from tests.fakes.storage_samples import NOON, a_segment
from tests.integration.app.opened_resources import open_for_a_test, without_postgres

MIB = 2**20
FIRST, SECOND = UUID(int=1), UUID(int=2)
INTERNAL_TOKEN = "internal-token-of-at-least-32-bytes"


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


def store(
    made: Resources, camera_id: UUID, *, start: float, end: float, number: int = 0
) -> Segment:
    """Write a file of a MiB, and return its row."""
    row = a_segment(camera_id, start=start, end=end, number=number)
    name = stored_name(row.started_at, row.run, row.number)
    path = camera_folder(made.root.path, "alice", camera_id) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(MIB))
    return replace(
        row,
        id=segment_id(camera_id, row.run, row.number),
        size_bytes=MIB,
        path=str(path.relative_to(made.root.path)),
    )


def sweep(made: Resources, database: Database, seals: SealSchedule | None = None) -> None:
    """Let the role's retention sweep once."""
    workers = ManualWorkers()
    workers.hold()
    found = replace(made, database=database, retention=workers, timers=ManualTimers())
    actor = start_retention(
        Link("retention", 1, lambda _: None), found, rules_in_force(found), seals
    )
    workers.do_next()
    tell(actor, Exit())
    assert actor.actor_stopped.wait(DEADLINE_S)


def test_rows_of_files_deleted_without_postgres_go_once_the_journal_is_empty(
    tmp_path: Path, database: Database, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_for_a_test(tmp_path, closing, clock=Clock())
    row = store(made, FIRST, start=0, end=30)
    made.journal.append([row], made.clock.now())
    with monkeypatch.context() as full:
        full.setattr(retention, "free_bytes", lambda _root: 0)
        sweep(made, without_postgres())
    assert not (tmp_path / row.path).exists()
    noted = made.root.state / DELETION_LOG
    assert noted.read_text().split() == [row.path]
    sweep(made, database)
    assert noted.read_text().split() == [row.path]
    segments = SegmentRepository(database)
    segments.insert_many([row])
    made.journal.done(made.journal.take(1))
    sweep(made, database)
    assert noted.read_text().split() == []
    assert segments.get(FIRST, row.id) is None


class Announced(SealSchedule):
    """Notes what is announced."""

    def __init__(self) -> None:
        self.told: list[tuple[UUID, datetime]] = []

    def announce(self, camera_id: UUID, until: datetime) -> None:
        self.told.append((camera_id, until))


def test_what_retention_deletes_is_announced_to_the_seals(
    tmp_path: Path, database: Database, closing: ExitStack
) -> None:
    clock = ManualClock(NOON + timedelta(days=8))
    made = open_for_a_test(tmp_path, closing, clock=clock, retention_days=7)
    row = store(made, FIRST, start=0, end=30)
    SegmentRepository(database).insert_many([row])
    seals = Announced()
    sweep(made, database, seals)
    assert seals.told == [(FIRST, row.ended_at)]


@pytest.mark.parametrize(
    ("camera_quota", "total_quota", "deleted"),
    [(2 * MIB, 10 * MIB, SECOND), (10 * MIB, 3 * MIB, SECOND)],
)
def test_each_quota_deletes_the_oldest_of_who_is_beyond_it_or_beyond_a_share(
    tmp_path: Path,
    database: Database,
    closing: ExitStack,
    *,
    camera_quota: int,
    total_quota: int,
    deleted: UUID,
) -> None:
    made = open_for_a_test(
        tmp_path,
        closing,
        clock=ManualClock(NOON),
        camera_quota=camera_quota,
        total_quota=total_quota,
    )
    rows = [store(made, FIRST, start=0, end=30)]
    for number in range(3):
        start = 60.0 + 30 * number
        rows.append(store(made, SECOND, start=start, end=start + 30, number=number))
    segments = SegmentRepository(database)
    segments.insert_many(rows)
    sweep(made, database)
    assert [row.camera_id for row in segments.deleting(limit=9)] == [deleted]


@pytest.fixture
def role(tmp_path: Path, database_url: str) -> Iterator[StreamingRole]:
    environ = {
        "DATABASE_URL": database_url,
        "STREAMWARDEN_RECORD_ROOT": str(tmp_path / "records"),
        "STREAMWARDEN_STREAMING_PORT": "0",
        "STREAMWARDEN_INTERNAL_TOKEN": INTERNAL_TOKEN,
        "STREAMWARDEN_RTSP_INTERNAL_URL": "rtsp://127.0.0.1:9",
        "STREAMWARDEN_RTSP_ALLOWED_HOSTS": "127.0.0.2:9",
    }
    role = StreamingRole(with_ports(load(None, environ)), clock=Clock(), on_failure=pytest.fail)
    role.start()
    yield role
    role.stop(DEADLINE_S)


def test_the_role_reads_from_its_own_media_server_and_the_allowed_hosts(
    role: StreamingRole,
) -> None:
    address = f"http://127.0.0.1:{role.ports['streaming']}/streams/start"
    statuses = []
    with urllib3.PoolManager(retries=False) as pool:
        for number, host in enumerate(["127.0.0.1", "127.0.0.2", "127.0.0.3"], 1):
            order = {
                "user_id": "alice",
                "camera_id": str(UUID(int=number)),
                "rtsp_url": f"rtsp://{host}:9/nobody",
                "segment_seconds": 5,
            }
            headers = {"X-Internal-Token": INTERNAL_TOKEN}
            answer = pool.request("POST", address, json=order, headers=headers, timeout=30)
            statuses.append(answer.status)
    assert statuses == [200, 200, 400]


def test_a_role_whose_lease_another_one_has_taken_shows_it(
    role: StreamingRole, database: Database
) -> None:
    address = f"http://127.0.0.1:{role.ports['streaming']}"

    def shown() -> float:
        with urllib3.PoolManager(retries=False) as pool:
            text = pool.request("GET", f"{address}/metrics", timeout=30).data.decode()
        return float(text.split("\nstreamwarden_other_streaming_role ")[1].split("\n")[0])

    roots = RecordRootRepository(database)
    held = wait_for("the role's lease", roots.lease)
    assert shown() == 0
    other = Lease(
        session=UUID(int=2), root_id=UUID(int=3), node="other", path="/elsewhere", place="", age_s=0
    )
    assert roots.take_lease(other, over=held.session)
    wait_for("the metric of the alert", lambda: shown() == 1)
    roots.drop_lease(other.session)
    wait_for("the end of the alert", lambda: shown() == 0)
