from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.actors.retention_actor import RetentionActor
from streamwarden.supervision import ActorRef, Link, tell
from streamwarden.supervision._actor import Exit
from tests.fakes.recording import ManualWorkers
from tests.unit.supervision.manual_time import DEADLINE_S, ManualTimers


class Desk:
    def __init__(self) -> None:
        self.timers, self.workers = ManualTimers(), ManualWorkers()
        self.workers.hold()
        self.more: list[bool] = []
        self.sweeps = 0
        self.ref: ActorRef = RetentionActor.start(
            link=Link("retention", 1, lambda _: None),
            sweep=self.sweep,
            workers=self.workers,
            timers=self.timers,
        )

    def sweep(self) -> bool:
        self.sweeps += 1
        if not self.more:
            raise OSError("scripted")
        return self.more.pop(0)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    tell(desk.ref, Exit())
    assert desk.ref.actor_stopped.wait(DEADLINE_S)


def test_it_sweeps_at_the_start_and_every_five_seconds(desk: Desk) -> None:
    desk.more = [False, False]
    desk.workers.do_next()
    desk.timers.expire(5.0)
    desk.workers.do_next()
    assert desk.sweeps == 2


def test_while_there_is_more_to_delete_it_does_not_wait(desk: Desk) -> None:
    desk.more = [True, False]
    desk.workers.do_next()
    desk.timers.expire(0.0)
    desk.workers.do_next()
    assert desk.sweeps == 2


def test_a_sweep_that_fails_is_followed_by_another(desk: Desk) -> None:
    desk.workers.do_next()
    desk.timers.expire(30.0)
    desk.workers.do_next()
    assert desk.sweeps == 2


def test_one_sweep_at_a_time(desk: Desk) -> None:
    desk.workers.wait_held()
    assert desk.workers.waiting == 1
    assert desk.timers.pending() == []
