"""A reconcile loop: when it runs, what it logs of failures, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from streamwarden.errors import Unavailable
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s, retry_delay_s

WITHIN_S = 30.0
NEVER_S = 3_600.0
EVENTS = LoopEvents(failed="not_swept", recovered="swept_again", bug="sweep_broken")


class LoopHarness:
    """What is swept. ``trouble`` is raised while there is any; a sweep waits until ``open`` is set."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.failures = 0
        self.thread = ReconcileLoop(
            "floor",
            self.sweep,
            events=EVENTS,
            on_failure=self.count,
            stops_within_s=WITHIN_S,
        )

    def sweep(self) -> float:
        self.begun.release()
        assert self.open.wait(WITHIN_S)
        if self.trouble is not None:
            raise self.trouble
        return NEVER_S

    def count(self) -> None:
        self.failures += 1

    def swept(self) -> bool:
        return self.begun.acquire(timeout=WITHIN_S)

    def attempts(self, *troubles: Exception | None) -> list[float]:
        """Sweep without the thread; return the pauses."""
        pauses_s = []
        for self.trouble in troubles:
            pauses_s.append(self.thread.attempt())
        return pauses_s


def alive() -> bool:
    return any(one.name == "floor" for one in threading.enumerate())


@pytest.fixture
def harness() -> Iterator[LoopHarness]:
    harness = LoopHarness()
    yield harness
    harness.open.set()
    harness.thread.stop()


def test_it_runs_at_once_and_again_whenever_it_is_woken(harness: LoopHarness) -> None:
    harness.thread.start()
    assert harness.swept()
    for _ in range(3):
        harness.thread.wake()
        assert harness.swept()


def test_a_wake_during_a_run_is_not_lost(harness: LoopHarness) -> None:
    harness.open.clear()
    harness.thread.start()
    assert harness.swept()
    harness.thread.wake()
    harness.open.set()
    assert harness.swept()


def test_a_stop_ends_a_pause(harness: LoopHarness) -> None:
    harness.thread.start()
    assert harness.swept()
    harness.thread.stop()
    assert not alive()


def test_a_stop_during_a_run_lets_no_pause_follow() -> None:
    harness = LoopHarness()
    harness.open.clear()
    harness.thread.start()
    assert harness.swept()
    stopping = threading.Thread(target=harness.thread.stop)
    stopping.start()
    assert harness.thread._stopping.wait(WITHIN_S)
    harness.open.set()
    stopping.join(WITHIN_S)
    assert not alive()


def test_one_that_was_never_started_is_stopped(harness: LoopHarness) -> None:
    harness.thread.stop()
    harness.thread.stop()


def test_a_failure_is_said_once_and_again_after_a_success(harness: LoopHarness) -> None:
    away = Unavailable("away")
    with capture_logs() as logs:
        harness.attempts(away, away, away, None, None, away, None)
    assert [(one["event"], one.get("failures"), one.get("why")) for one in logs] == [
        ("not_swept", None, "unavailable"),
        ("swept_again", 3, None),
        ("not_swept", None, "unavailable"),
        ("swept_again", 1, None),
    ]
    assert harness.failures == 4


def test_the_pauses_after_failures_grow_to_a_bound_and_begin_anew(harness: LoopHarness) -> None:
    away = Unavailable("away")
    assert harness.attempts(*[away] * 6, None, away) == [
        *(0.5, 1.0, 2.0, 5.0, 5.0, 5.0),
        NEVER_S,
        0.5,
    ]
    assert retry_delay_s(10**6) == 5.0


def test_the_thread_tries_again_by_itself_after_a_failure(harness: LoopHarness) -> None:
    harness.trouble = Unavailable("away")
    harness.thread.start()
    assert harness.swept()
    assert harness.swept()


def test_a_bug_is_logged_each_time_and_does_not_end_the_thread(harness: LoopHarness) -> None:
    with capture_logs() as logs:
        assert harness.attempts(ValueError(), ValueError()) == [5.0, 5.0]
    assert [one["event"] for one in logs] == ["sweep_broken"] * 2
    assert harness.failures == 0
    harness.thread.start()
    assert harness.swept()
    harness.thread.wake()
    assert harness.swept()


def test_one_that_takes_long_rests_long() -> None:
    assert pause_s(2.0, took_s=0.05) == 2.0
    assert pause_s(2.0, took_s=0.5) == 10.0
