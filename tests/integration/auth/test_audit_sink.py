"""The trail in Postgres: append-only, written from a queue, pruned by age."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
import structlog
from prometheus_client import CollectorRegistry

from streamwarden.age_clock import SETTLED_S
from streamwarden.auth import audit_sink
from streamwarden.auth.audit_sink import AuditSink
from streamwarden.errors import Unavailable
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import AuditEvent
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.pool import Database, RowsRefused
from tests.acceptance.waiting import wait_for
from tests.fakes.manual_time import LaterClock

WITHIN_S = 120.0
OLD = datetime(2020, 1, 1, tzinfo=UTC)


def event(at: datetime) -> AuditEvent:
    return AuditEvent(id=uuid4(), at=at, who="alice", action="start", outcome="done")


def stored(database: Database) -> list[object]:
    return database.fetch_values(b"select action from audit order by at")


@pytest.mark.parametrize(
    "statement",
    [
        "update audit set who = 'mallory'",
        "delete from audit",
        "truncate audit",
        "set streamwarden.audit_prune = 'on'; delete from audit where at > now() - interval '1 hour'",
    ],
)
def test_nothing_in_the_trail_can_be_changed_or_removed(
    database_url: str, database: Database, statement: str
) -> None:
    AuditRepository(database).insert_many([event(datetime.now(UTC))])
    with (
        psycopg.connect(database_url) as other,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        other.execute(statement.encode())
    assert stored(database) == ["start"]


def test_pruning_never_touches_what_is_younger_than_a_day(database: Database) -> None:
    table, now = AuditRepository(database), datetime.now(UTC)
    table.insert_many([event(OLD), event(now - timedelta(hours=23))])
    assert table.prune(now + timedelta(days=1)) == 1
    assert len(stored(database)) == 1
    with database.connection() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("delete from audit")


class FailingAuditRepository(AuditRepository):
    """The real table, which is down or refuses rows while a test says so."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = False
        self.refused = ""

    def insert_many(self, events: Sequence[AuditEvent]) -> int:
        if self.away:
            raise Unavailable("away")
        if any(one.action == self.refused for one in events):
            raise RowsRefused("no")
        return super().insert_many(events)


class AuditHarness:
    """A writer over a table that can be taken away."""

    def __init__(self, database: Database, *, most: int = 5) -> None:
        self.table = FailingAuditRepository(database)
        self.registry = CollectorRegistry()
        self.clock = LaterClock()
        self.writer = AuditSink(
            self.table,
            clock=self.clock,
            metrics=AccessMetrics(self.registry),
            keep_days=365,
            ready=lambda: None,
            most=most,
        )

    def note(self, action: str) -> None:
        self.writer.note(
            AuditEvent(
                at=datetime.now(UTC),
                who="alice",
                action=action,
                outcome="done",
                camera_id=UUID(int=1),
                subject="bob",
                address="192.0.2.7",
                request_id="r",
                detail='{"a": [1]}',
            )
        )

    @property
    def dropped(self) -> float | None:
        return self.registry.get_sample_value("streamwarden_audit_dropped_total")


@pytest.fixture
def harness(database: Database) -> Iterator[AuditHarness]:
    found = AuditHarness(database)
    yield found
    found.writer.stop()


def test_what_is_noted_is_stored_whole(harness: AuditHarness, database: Database) -> None:
    harness.writer.start()
    harness.note("start")
    wait_for("the event", lambda: stored(database), within_s=WITHIN_S)
    page = AuditRepository(database).page(
        from_=OLD, to=datetime.now(UTC) + timedelta(days=1), camera_id=None, user="bob", limit=2
    )
    (found,) = page.items
    assert (found.who, found.camera_id, found.address) == ("alice", UUID(int=1), "192.0.2.7")
    assert found.detail == '{"a": [1]}'


def test_what_a_user_repeats_is_stored_as_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_sink, "REPEATS", 3)
    harness = AuditHarness(database, most=1_000)
    for _ in range(200):
        harness.note("preview")
    harness.note("connect")
    harness.writer.flush()
    assert stored(database) == ["preview"] * 3 + ["connect"]
    harness.writer.start()
    harness.writer.stop()
    page = AuditRepository(database).page(
        from_=OLD, to=datetime.now(UTC) + timedelta(days=1), camera_id=None, user="bob", limit=9
    )
    repeated = [json.loads(one.detail).get("repeated") for one in page.items]
    assert sorted(one for one in repeated if one) == [197]


def test_events_wait_while_postgres_is_away_and_arrive_in_order(
    harness: AuditHarness, database: Database
) -> None:
    harness.table.away = True
    harness.writer.start()
    for name in ("one", "two", "three"):
        harness.note(name)
    waiting = "streamwarden_audit_waiting"
    wait_for("waiting", lambda: harness.registry.get_sample_value(waiting) == 3, within_s=WITHIN_S)
    harness.table.away = False
    wait_for("all three", lambda: len(stored(database)) == 3, within_s=WITHIN_S)
    assert stored(database) == ["one", "two", "three"]
    assert harness.dropped == 0


def test_what_no_longer_fits_is_counted_and_logged_whole(harness: AuditHarness) -> None:
    with structlog.testing.capture_logs() as logs:
        for number in range(7):
            harness.note(f"n{number}")
    assert harness.dropped == 2
    told = [(line["action"], line["who"], line["why"]) for line in logs]
    assert told == [("n5", "alice", "full"), ("n6", "alice", "full")]


def test_what_is_left_at_the_end_is_logged_whole(harness: AuditHarness) -> None:
    harness.table.away = True
    harness.writer.start()
    harness.note("last")
    with structlog.testing.capture_logs() as logs:
        harness.writer.stop()
    assert [line["action"] for line in logs if line["event"] == "audit_event_not_stored"] == [
        "last"
    ]


def test_a_stop_writes_what_waits(harness: AuditHarness, database: Database) -> None:
    harness.writer.start()
    harness.note("last")
    harness.writer.stop()
    assert stored(database) == ["last"]


def test_one_event_that_cannot_be_stored_holds_no_other_up(
    harness: AuditHarness, database: Database
) -> None:
    harness.table.refused = "two"
    for name in ("one", "two", "three"):
        harness.note(name)
    harness.writer.flush()
    assert stored(database) == ["one", "three"]
    assert harness.dropped == 1


def test_what_is_older_than_is_kept_is_pruned_once_a_wrong_clock_would_have_been_set(
    harness: AuditHarness, database: Database
) -> None:
    harness.table.insert_many([event(OLD)])
    harness.writer.start()
    for action in ("new", "newer"):
        harness.note(action)
        wait_for("the event", lambda: action in stored(database), within_s=WITHIN_S)  # noqa: B023
    assert stored(database) == ["start", "new", "newer"]
    harness.clock.later_s = SETTLED_S
    harness.note("last")
    kept = ["new", "newer", "last"]
    wait_for("the old one gone", lambda: stored(database) == kept, within_s=WITHIN_S)
