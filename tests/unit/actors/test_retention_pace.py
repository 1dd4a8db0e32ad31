"""The RetentionActor keeps the pace: one sweep at a time, at once again while there is more to do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from streamwarden.actors.retention_actor import (
    SWEEP_EVERY_S,
    RetentionActor,
)
from streamwarden.errors import Unavailable
from streamwarden.supervision import ChildExited, ChildStarted, Link, Shutdown, tell
from streamwarden.supervision._actor import Exit
from tests.fakes.manual_time import DEADLINE_S, ManualTimers
from tests.fakes.recording import ManualWorkers


class ScriptedRetention:
    """Answers sweeps with what the test has laid out, then with: nothing more."""

    def __init__(self) -> None:
        self.answers: deque[bool | Exception] = deque()
        self.sweeps = 0

    def sweep(self) -> bool:
        self.sweeps += 1
        answer = self.answers.popleft() if self.answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer


class PaceHarness:
    """The actor with its timers and its worker in the test's hand."""

    def __init__(self) -> None:
        self.disk = ScriptedRetention()
        self.timers = ManualTimers()
        self.workers = ManualWorkers()
        self.ended = threading.Event()
        self._refs: list[pykka.ActorRef[Any]] = []

    def start(self, sweep: Callable[[], bool] | None = None) -> None:
        link = Link("retention", len(self._refs) + 1, self._notified)
        self._refs.append(
            RetentionActor.start(
                link=link,
                sweep=sweep or self.disk.sweep,
                workers=self.workers,
                timers=self.timers,
            )
        )

    def _notified(self, notice: ChildStarted | ChildExited) -> None:
        if isinstance(notice, ChildExited):
            self.ended.set()

    def tell(self, message: object) -> None:
        tell(self._refs[-1], message)

    def close(self) -> None:
        for ref in self._refs:
            tell(ref, Exit())
            assert ref.actor_stopped.wait(DEADLINE_S)


@pytest.fixture
def pace() -> Iterator[PaceHarness]:
    pace = PaceHarness()
    yield pace
    pace.close()


def test_retention_runs_at_the_start_and_then_every_few_seconds(pace: PaceHarness) -> None:
    pace.start()
    for sweeps in (1, 2, 3):
        pace.timers.expire(SWEEP_EVERY_S)
        assert pace.disk.sweeps >= sweeps


def test_while_there_is_more_to_delete_it_goes_on_at_once(pace: PaceHarness) -> None:
    pace.disk.answers.extend([True, True])
    pace.start()
    pace.timers.expire(0.0)
    pace.timers.expire(0.0)
    pace.timers.expire(SWEEP_EVERY_S)
    assert pace.disk.sweeps >= 3


@pytest.mark.parametrize("error", [Unavailable("away"), OSError(30, "Read-only file system")])
def test_after_a_failure_it_tries_again_later(pace: PaceHarness, error: Exception) -> None:
    pace.disk.answers.extend([error, error])
    pace.start()
    pace.timers.expire(SWEEP_EVERY_S)
    pace.timers.expire(SWEEP_EVERY_S)
    pace.timers.expire(SWEEP_EVERY_S)
    assert not pace.ended.is_set()


def test_one_retention_run_at_a_time(pace: PaceHarness) -> None:
    pace.workers.hold()
    pace.start()
    pace.workers.do_next()
    assert pace.workers.waiting == 0
    pace.timers.expire(SWEEP_EVERY_S)
    pace.workers.do_next()
    assert pace.disk.sweeps == 2


def test_a_retention_run_that_ends_after_the_actor_has_no_effect(pace: PaceHarness) -> None:
    pace.workers.hold()
    pace.start()
    pace.tell(Shutdown())
    assert pace.ended.wait(DEADLINE_S)
    pace.workers.do_next()
    assert pace.timers.pending() == []


def test_the_next_incarnation_runs_retention_again(pace: PaceHarness) -> None:
    pace.start()
    pace.timers.expire(SWEEP_EVERY_S)
    pace.tell(Exit())
    assert pace.ended.wait(DEADLINE_S)
    before = pace.disk.sweeps
    pace.timers = ManualTimers()
    pace.start()
    pace.timers.expire(SWEEP_EVERY_S)
    assert pace.disk.sweeps > before
