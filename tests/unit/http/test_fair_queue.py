from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from streamwarden.http.fair_queue import FairQueue


class Task:
    """A request of a client; ``during`` is called while it is answered."""

    def __init__(self, client: str, number: int, during: Callable[[], None] = lambda: None) -> None:
        self.client = client
        self.number = number
        self.during = during
        self.cancelled = False

    def service(self) -> None:
        self.during()

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def queue() -> FairQueue:
    return FairQueue(2, client_of=lambda task: task.client, changed=threading.Condition())


def taken(queue: FairQueue) -> list[str]:
    """Take all that may begin, and leave it running."""
    clients = []
    while len(queue):
        clients.append(str(queue.popleft().client))
    return clients


def test_each_client_has_its_turn(queue: FairQueue) -> None:
    for number in range(2):
        for client in ("many", "many", "few", "other")[: 4 - number]:
            queue.append(Task(client, number))
    assert taken(queue) == ["many", "few", "other", "many", "few"]


def test_a_client_has_no_more_than_its_part_of_the_threads(queue: FairQueue) -> None:
    for number in range(10):
        queue.append(Task("many", number))
    assert taken(queue) == ["many", "many"]
    queue.append(Task("few", 1))
    assert taken(queue) == ["few"]


def test_who_has_ended_makes_room_for_the_next_of_its_client(queue: FairQueue) -> None:
    for number in range(4):
        queue.append(Task("many", number))
    first, _ = queue.popleft(), queue.popleft()
    assert len(queue) == 0
    first.service()
    assert len(queue) == 1
    queue.popleft().service()
    queue.popleft().service()
    assert len(queue) == 0


def test_a_request_that_waits_for_its_client_to_read_counts_no_more(queue: FairQueue) -> None:
    seen: list[int] = []

    def reads_slowly() -> None:
        queue.leave_early()
        seen.append(len(queue))

    queue.append(Task("many", 0, reads_slowly))
    queue.append(Task("many", 1))
    queue.append(Task("many", 2))
    job, _ = queue.popleft(), queue.popleft()
    job.service()
    assert seen == [1]
    assert len(queue) == 1  # once, though it has ended as well


def test_a_client_that_is_gone_leaves_nothing_behind(queue: FairQueue) -> None:
    for number in range(100):
        queue.append(Task(f"client {number}", number))
        queue.popleft().service()
    assert not queue._running
    assert not queue._waiting
