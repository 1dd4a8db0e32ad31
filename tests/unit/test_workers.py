from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from streamwarden.workers import SerialExecutor, WorkerPool
from tests.fakes.manual_time import DEADLINE_S
from tests.fakes.recording import ManualWorkers


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool("test", threads=4)
    yield pool
    pool.close()


def failing(_: object = None) -> None:
    raise ValueError("scripted")


def test_the_answer_is_the_result_or_the_exception(pool: WorkerPool) -> None:
    answers: list[object] = []
    answered = threading.Semaphore(0)

    def reply(answer: object) -> None:
        answers.append(answer)
        answered.release()

    pool.run(lambda: 1, reply)
    assert answered.acquire(timeout=DEADLINE_S)
    pool.run(failing, reply)
    assert answered.acquire(timeout=DEADLINE_S)
    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)


def test_a_reply_that_fails_costs_only_itself(pool: WorkerPool) -> None:
    answered = threading.Event()
    pool.run(lambda: 1, failing)
    pool.run(lambda: 1, lambda _: answered.set())
    assert answered.wait(DEADLINE_S)


def test_closing_finishes_what_is_queued() -> None:
    pool = WorkerPool("test", threads=1)
    done: list[int] = []
    gate = threading.Event()
    pool.run(lambda: gate.wait(DEADLINE_S), lambda _: None)
    for number in range(3):
        pool.run(lambda: None, lambda _, number=number: done.append(number))  # type: ignore[misc]
    gate.set()
    pool.close()
    assert done == [0, 1, 2]


def test_one_cameras_work_is_done_in_order_however_many_threads_there_are(
    pool: WorkerPool,
) -> None:
    order = SerialExecutor(pool)
    done: list[int] = []
    under_way: list[int] = []
    finished = threading.Event()

    def work(number: int) -> None:
        under_way.append(number)
        assert len(under_way) == 1
        done.append(number)
        under_way.remove(number)

    for number in range(500):
        order.run(partial(work, number), lambda _: None)
    order.run(lambda: None, lambda _: finished.set())
    assert finished.wait(DEADLINE_S)
    assert done == list(range(500))


def test_work_that_fails_does_not_hold_up_what_follows(pool: WorkerPool) -> None:
    order = SerialExecutor(pool)
    finished = threading.Event()
    order.run(failing, failing)
    order.run(lambda: None, lambda _: finished.set())
    assert finished.wait(DEADLINE_S)


def test_cameras_do_not_wait_for_each_other() -> None:
    hands = ManualWorkers()
    hands.hold()
    first, second = SerialExecutor(hands), SerialExecutor(hands)
    done: list[str] = []
    note: Callable[[str], Callable[[object], None]] = lambda name: lambda _: done.append(name)  # noqa: E731 - a curried append
    first.run(lambda: None, note("first"))
    first.run(lambda: None, note("first again"))
    second.run(lambda: None, note("second"))
    assert hands.waiting == 2
    hands.release()
    assert done == ["first", "second", "first again"]
