from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.actors.retention_actor import SWEEP_EVERY_S, RetentionActor
from streamwarden.supervision import ActorRef, Link, tell
from streamwarden.supervision._actor import Exit
from tests.fakes.manual_time import DEADLINE_S, ManualTimers
from tests.fakes.recording import ManualWorkers


class RetentionHarness:
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
def harness() -> Iterator[RetentionHarness]:
    harness = RetentionHarness()
    yield harness
    tell(harness.ref, Exit())
    assert harness.ref.actor_stopped.wait(DEADLINE_S)


def test_retention_runs_at_the_start_and_every_five_seconds(harness: RetentionHarness) -> None:
    harness.more = [False, False]
    harness.workers.do_next()
    harness.timers.expire(5.0)
    harness.workers.do_next()
    assert harness.sweeps == 2


def test_while_there_is_more_to_delete_it_does_not_wait(harness: RetentionHarness) -> None:
    harness.more = [True, False]
    harness.workers.do_next()
    harness.timers.expire(0.0)
    harness.workers.do_next()
    assert harness.sweeps == 2


def test_a_retention_run_that_fails_is_followed_by_another(harness: RetentionHarness) -> None:
    harness.workers.do_next()
    harness.timers.expire(SWEEP_EVERY_S)
    harness.workers.do_next()
    assert harness.sweeps == 2


def test_one_retention_run_at_a_time(harness: RetentionHarness) -> None:
    harness.workers.wait_held()
    assert harness.workers.waiting == 1
    assert harness.timers.pending() == []
