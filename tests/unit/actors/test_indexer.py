from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pykka
import pytest

from streamwarden.actors import indexer
from streamwarden.actors.indexer import IndexWriter, SegmentIndexer
from streamwarden.errors import Unavailable
from streamwarden.storage.journal import Journal
from streamwarden.supervision import ChildExited, Link, Shutdown, tell
from streamwarden.supervision._actor import Exit
from tests.fakes.manual_time import DEADLINE_S, ManualTimers
from tests.fakes.recording import ManualWorkers


class HeardJournal(Journal):
    """A journal that only has a listener."""

    def __init__(self, harness: IndexerHarness) -> None:
        self._desk = harness

    def tell(self, listener: Callable[[], None]) -> None:
        self._desk.told = listener


class CountedWriter(IndexWriter):
    """A writer whose rows are a number."""

    def __init__(self, harness: IndexerHarness) -> None:
        self._desk = harness

    def write_batch(self) -> int:
        return self._desk.write()


class IndexerHarness:
    """An indexer over a journal that is a number, and a Postgres that may be away."""

    def __init__(self) -> None:
        self.rows = 0
        self.written: list[int] = []
        self.away = False
        self.meanwhile: Callable[[], None] | None = None
        self.attempts = 0
        self.timers = ManualTimers()
        self.workers = ManualWorkers()
        self.workers.hold()
        self.told: Callable[[], None] = lambda: None
        self.exited = threading.Event()
        self.refs: list[pykka.ActorRef[SegmentIndexer]] = []

    def start(self) -> None:
        ref = SegmentIndexer.start(
            link=Link("indexer", 1, self.notified),
            journal=HeardJournal(self),
            writer=CountedWriter(self),
            workers=self.workers,
            timers=self.timers,
        )
        self.refs.append(ref)

    def notified(self, notice: object) -> None:
        if isinstance(notice, ChildExited):
            self.exited.set()

    def write(self) -> int:
        self.attempts += 1
        if self.away:
            raise Unavailable("scripted")
        batch = min(self.rows, 10)
        self.rows -= batch
        self.written.append(batch)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return batch

    def append(self, rows: int) -> None:
        self.rows += rows
        self.told()

    def handled(self) -> None:
        """Wait until all that was told before has been handled."""
        with pytest.raises(TypeError):
            self.refs[0].ask("nothing that it knows", timeout=DEADLINE_S)

    def close(self) -> None:
        for ref in self.refs:
            tell(ref, Exit())
            assert ref.actor_stopped.wait(DEADLINE_S)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexerHarness]:
    monkeypatch.setattr(indexer, "BATCH", 10)
    harness = IndexerHarness()
    yield harness
    harness.close()


def test_what_an_earlier_life_has_left_is_written_first(harness: IndexerHarness) -> None:
    harness.rows = 25
    harness.start()
    for _ in range(3):
        harness.workers.do_next()
    assert harness.written == [10, 10, 5]


def test_one_batch_at_a_time_and_none_is_forgotten(harness: IndexerHarness) -> None:
    harness.start()
    harness.workers.wait_held()
    for _ in range(5):
        harness.append(1)
    assert harness.workers.waiting == 1
    harness.workers.do_next()
    assert harness.rows == 0


def test_what_comes_soon_after_a_batch_is_gathered(harness: IndexerHarness) -> None:
    harness.start()
    harness.workers.do_next()
    harness.append(1)
    harness.append(1)
    harness.timers.expire(1.0)
    harness.workers.do_next()
    harness.timers.expire(1.0)
    harness.handled()
    assert harness.workers.waiting == 0, "nothing came, so nothing is looked for"
    assert harness.written == [0, 2]
    harness.append(1)
    harness.workers.do_next()
    assert harness.written == [0, 2, 1], "a row that comes after a while waits for nothing"


def test_a_row_that_comes_while_nothing_was_found_is_written_too(harness: IndexerHarness) -> None:
    harness.start()
    harness.workers.wait_held()
    harness.meanwhile = lambda: harness.append(1)
    harness.workers.do_next()
    harness.timers.expire(1.0)
    harness.workers.do_next()
    assert harness.rows == 0


def test_while_postgres_is_away_the_pauses_grow_to_ten_seconds(harness: IndexerHarness) -> None:
    harness.away = True
    harness.rows = 5
    harness.start()
    for pause_s in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]:
        harness.workers.do_next()
        harness.timers.expire(pause_s)
    harness.away = False
    harness.workers.do_next()
    assert harness.rows == 0
    harness.timers.expire(1.0)
    harness.away = True
    harness.append(1)
    harness.workers.do_next()
    harness.timers.expire(0.5)


def test_rows_that_come_during_a_pause_do_not_shorten_it(harness: IndexerHarness) -> None:
    harness.away = True
    harness.start()
    harness.workers.do_next()
    harness.append(1)
    harness.append(1)
    harness.handled()
    assert harness.workers.waiting == 0
    harness.timers.expire(0.5)
    harness.workers.do_next()
    assert harness.attempts == 2


def test_an_orderly_stop_writes_all_that_waits(harness: IndexerHarness) -> None:
    harness.start()
    harness.workers.do_next()
    harness.rows = 15
    tell(harness.refs[0], Shutdown())
    for _ in range(3):
        harness.workers.do_next()
    assert harness.exited.wait(DEADLINE_S)
    assert harness.rows == 0


def test_an_orderly_stop_while_a_batch_is_written_waits_for_it(harness: IndexerHarness) -> None:
    harness.rows = 10
    harness.start()
    harness.workers.wait_held()
    tell(harness.refs[0], Shutdown())
    harness.workers.do_next()
    harness.workers.do_next()
    assert harness.exited.wait(DEADLINE_S)
    assert harness.rows == 0


def test_an_orderly_stop_during_a_pause_tries_once_more_and_ends(harness: IndexerHarness) -> None:
    harness.away = True
    harness.rows = 3
    harness.start()
    harness.workers.do_next()
    tell(harness.refs[0], Shutdown())
    harness.workers.do_next()
    assert harness.exited.wait(DEADLINE_S)
    assert harness.attempts == 2


def test_a_new_incarnation_goes_on_where_the_last_one_failed(harness: IndexerHarness) -> None:
    harness.start()
    harness.workers.do_next()
    tell(harness.refs[0], "nonsense")
    assert harness.exited.wait(DEADLINE_S)
    harness.append(5)
    harness.start()
    harness.workers.do_next()
    assert harness.rows == 0
