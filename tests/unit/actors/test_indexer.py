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
from tests.fakes.recording import ManualWorkers
from tests.unit.supervision.manual_time import DEADLINE_S, ManualTimers


class HeardJournal(Journal):
    """A journal that only has a listener."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def tell(self, listener: Callable[[], None]) -> None:
        self._desk.told = listener


class CountedWriter(IndexWriter):
    """A writer whose rows are a number."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def write_batch(self) -> int:
        return self._desk.write()


class Desk:
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
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(indexer, "BATCH", 10)
    desk = Desk()
    yield desk
    desk.close()


def test_what_an_earlier_life_has_left_is_written_first(desk: Desk) -> None:
    desk.rows = 25
    desk.start()
    for _ in range(3):
        desk.workers.do_next()
    assert desk.written == [10, 10, 5]


def test_one_batch_at_a_time_and_none_is_forgotten(desk: Desk) -> None:
    desk.start()
    desk.workers.wait_held()
    for _ in range(5):
        desk.append(1)
    assert desk.workers.waiting == 1
    desk.workers.do_next()
    assert desk.rows == 0


def test_what_comes_soon_after_a_batch_is_gathered(desk: Desk) -> None:
    desk.start()
    desk.workers.do_next()
    desk.append(1)
    desk.append(1)
    desk.timers.expire(1.0)
    desk.workers.do_next()
    desk.timers.expire(1.0)
    desk.handled()
    assert desk.workers.waiting == 0, "nothing came, so nothing is looked for"
    assert desk.written == [0, 2]
    desk.append(1)
    desk.workers.do_next()
    assert desk.written == [0, 2, 1], "a row that comes after a while waits for nothing"


def test_a_row_that_comes_while_nothing_was_found_is_written_too(desk: Desk) -> None:
    desk.start()
    desk.workers.wait_held()
    desk.meanwhile = lambda: desk.append(1)
    desk.workers.do_next()
    desk.timers.expire(1.0)
    desk.workers.do_next()
    assert desk.rows == 0


def test_while_postgres_is_away_the_pauses_grow_to_ten_seconds(desk: Desk) -> None:
    desk.away = True
    desk.rows = 5
    desk.start()
    for pause_s in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]:
        desk.workers.do_next()
        desk.timers.expire(pause_s)
    desk.away = False
    desk.workers.do_next()
    assert desk.rows == 0
    desk.timers.expire(1.0)
    desk.away = True
    desk.append(1)
    desk.workers.do_next()
    desk.timers.expire(0.5)


def test_rows_that_come_during_a_pause_do_not_shorten_it(desk: Desk) -> None:
    desk.away = True
    desk.start()
    desk.workers.do_next()
    desk.append(1)
    desk.append(1)
    desk.handled()
    assert desk.workers.waiting == 0
    desk.timers.expire(0.5)
    desk.workers.do_next()
    assert desk.attempts == 2


def test_an_orderly_stop_writes_all_that_waits(desk: Desk) -> None:
    desk.start()
    desk.workers.do_next()
    desk.rows = 15
    tell(desk.refs[0], Shutdown())
    for _ in range(3):
        desk.workers.do_next()
    assert desk.exited.wait(DEADLINE_S)
    assert desk.rows == 0


def test_an_orderly_stop_while_a_batch_is_written_waits_for_it(desk: Desk) -> None:
    desk.rows = 10
    desk.start()
    desk.workers.wait_held()
    tell(desk.refs[0], Shutdown())
    desk.workers.do_next()
    desk.workers.do_next()
    assert desk.exited.wait(DEADLINE_S)
    assert desk.rows == 0


def test_an_orderly_stop_during_a_pause_tries_once_more_and_ends(desk: Desk) -> None:
    desk.away = True
    desk.rows = 3
    desk.start()
    desk.workers.do_next()
    tell(desk.refs[0], Shutdown())
    desk.workers.do_next()
    assert desk.exited.wait(DEADLINE_S)
    assert desk.attempts == 2


def test_a_new_incarnation_goes_on_where_the_last_one_failed(desk: Desk) -> None:
    desk.start()
    desk.workers.do_next()
    tell(desk.refs[0], "nonsense")
    assert desk.exited.wait(DEADLINE_S)
    desk.append(5)
    desk.start()
    desk.workers.do_next()
    assert desk.rows == 0
