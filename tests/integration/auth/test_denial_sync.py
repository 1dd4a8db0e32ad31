"""The deny list in memory follows Postgres: what others write, and what was missed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from streamwarden.age_clock import SETTLED_S
from streamwarden.auth import revocation as rules
from streamwarden.auth.revocation import DenialList, DenialSync, listen_at
from streamwarden.auth.stream_tokens import StreamAction, StreamClaims, StreamUse
from streamwarden.errors import Unavailable
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import BlockedUser, Denial
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database
from tests.acceptance.waiting import wait_for
from tests.fakes.manual_time import LaterClock

CAMERA = UUID(int=1)
WITHIN_S = 120.0


def claims(path: str, sub: str = "bob") -> StreamClaims:
    hour = timedelta(hours=1)
    at = datetime.now(UTC) - hour
    return StreamClaims(
        use=StreamUse.VIEW,
        action=StreamAction.READ,
        path=path,
        sub=sub,
        jti="j",
        kid="k",
        issued_at=at,
        expires_at=at + 2 * hour,
    )


class DenialSyncHarness:
    """A DenialSync over a database, and its deny list."""

    def __init__(
        self, url: str, table: DenialRepository, ready: Callable[[], None] = lambda: None
    ) -> None:
        self.clock = LaterClock()
        self.denied = DenialList(self.clock)
        self.changes = threading.Semaphore(0)
        self.sync = DenialSync(
            listen=listen_at(url),
            table=table,
            denied=self.denied,
            clock=self.clock,
            metrics=AccessMetrics(CollectorRegistry()),
            changed=self.changes.release,
            ready=ready,
        )

    def denies(self, path: str, sub: str = "bob") -> bool:
        return self.denied.denies(claims(path, sub))

    def await_denied(self, path: str, sub: str = "bob") -> None:
        wait_for(f"{path} denied", lambda: self.denies(path, sub), within_s=WITHIN_S)


@contextmanager
def following(
    url: str,
    table: DenialRepository,
    ready: Callable[[], None] = lambda: None,
    *,
    later_s: float = 0.0,
) -> Iterator[DenialSyncHarness]:
    harness = DenialSyncHarness(url, table, ready)
    harness.clock.later_s = later_s
    harness.sync.start(0)
    try:
        yield harness
    finally:
        harness.sync.stop()


@pytest.fixture
def table(database: Database) -> DenialRepository:
    return DenialRepository(database)


@pytest.fixture
def harness(database_url: str, table: DenialRepository) -> Iterator[DenialSyncHarness]:
    with following(database_url, table) as found:
        wait_for("the list", lambda: found.denied.known, within_s=WITHIN_S)
        yield found


def test_what_is_there_at_the_start_is_read(database_url: str, table: DenialRepository) -> None:
    now = datetime.now(UTC)
    table.put([rule for n in range(1_500) for rule in rules.links_withdrawn(f"p/{n}", now)])
    table.put(rules.camera_retired(CAMERA, "a/b", now))
    table.block(BlockedUser(user_sub="carol", blocked_by="root", blocked_at=now), [])
    with following(database_url, table) as found:
        wait_for("the list", lambda: found.denied.known, within_s=WITHIN_S)
        assert len(found.denied) == 1_504
        assert found.denies("a/b")
        assert not found.denies("a/c")
        assert found.denied.is_blocked("carol")


def test_what_another_process_writes_is_heard(
    harness: DenialSyncHarness, table: DenialRepository
) -> None:
    assert harness.changes.acquire(timeout=WITHIN_S)  # that of the first read
    assert not harness.denies("a/b")
    table.put(rules.camera_retired(CAMERA, "a/b", datetime.now(UTC)))
    harness.await_denied("a/b")
    assert harness.changes.acquire(timeout=rules.READ_EVERY_S / 2)  # before the next whole read


class ChangedAfterReading(DenialRepository):
    """Another process writes a denial when the tables have just been read; no later read shows it."""

    written = False

    def pages(self) -> Iterator[list[Denial]]:
        return iter(()) if self.written else super().pages()

    def blocked(self) -> list[BlockedUser]:
        found = super().blocked()
        if not self.written:
            self.written = True
            self.put(rules.camera_retired(CAMERA, "a/b", datetime.now(UTC)))
        return found


def test_what_is_written_right_after_the_first_read_is_heard(
    database_url: str, database: Database
) -> None:
    with following(database_url, ChangedAfterReading(database)) as found:
        found.await_denied("a/b")


def test_a_name_of_any_characters_is_heard(
    harness: DenialSyncHarness, table: DenialRepository
) -> None:
    name = 'Zoë "q" \\ 看門 | ' + "x" * 200
    table.put(rules.user_blocked(name, datetime.now(UTC)))
    harness.await_denied("any", sub=name)


def test_a_block_and_its_end_are_heard(harness: DenialSyncHarness, table: DenialRepository) -> None:
    now = datetime.now(UTC)
    table.block(BlockedUser(user_sub="bob", blocked_by="root", blocked_at=now), [])
    wait_for("the block", lambda: harness.denied.is_blocked("bob"), within_s=WITHIN_S)
    table.unblock("bob")
    wait_for("its end", lambda: not harness.denied.is_blocked("bob"), within_s=WITHIN_S)


def test_what_was_written_while_the_connection_was_lost_is_read_when_it_is_back(
    harness: DenialSyncHarness, table: DenialRepository, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        ended = other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'api-denials' and datname = current_database()"
        ).fetchall()
        assert ended == [(True,)]
        # The trigger is off: nobody is told, as nobody hears whose connection is gone.
        other.execute("alter table denial disable trigger denial_changed")
        table.put(rules.camera_retired(CAMERA, "a/b", datetime.now(UTC)))
        other.execute("alter table denial enable trigger denial_changed")
    harness.await_denied("a/b")
    table.put(rules.camera_retired(CAMERA, "a/c", datetime.now(UTC)))
    harness.await_denied("a/c")


def test_the_list_stays_as_it_is_while_postgres_is_away(
    harness: DenialSyncHarness, table: DenialRepository, database: Database
) -> None:
    table.put(rules.camera_retired(CAMERA, "a/b", datetime.now(UTC)))
    harness.await_denied("a/b")
    database.close()
    assert harness.denies("a/b")
    assert harness.denied.known


def test_nothing_is_known_until_the_tables_are_there(
    database_url: str, table: DenialRepository
) -> None:
    there = threading.Event()

    def ready() -> None:
        if not there.is_set():
            raise Unavailable("not migrated yet")

    with following(database_url, table, ready) as found:
        assert not found.denied.known
        there.set()
        wait_for("the list", lambda: found.denied.known, within_s=WITHIN_S)


@pytest.mark.parametrize(("later_s", "rows"), [(0.0, 1), (SETTLED_S, 0)])
def test_what_has_ended_leaves_the_table_once_a_wrong_clock_would_have_been_set(
    database_url: str, table: DenialRepository, later_s: float, rows: int
) -> None:
    table.put(rules.stopped("a/b", datetime.now(UTC) - timedelta(days=3)))
    with following(database_url, table, later_s=later_s) as found:
        wait_for("the list", lambda: found.denied.known, within_s=WITHIN_S)
    assert sum(len(page) for page in table.pages()) == rows
    assert len(found.denied) == 0
