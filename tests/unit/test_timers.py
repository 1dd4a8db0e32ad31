from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamwarden.timers import SWEEP_ABOVE, Timers

DEADLINE_S = 10.0
LONG_S = 3600.0


@pytest.fixture
def timers() -> Iterator[Timers]:
    timers = Timers()
    yield timers
    timers.close()


def flush(timers: Timers) -> None:
    """Wait until everything that is due now has been called."""
    done = threading.Event()
    timers.after(0, done.set)
    assert done.wait(DEADLINE_S)


def block(timers: Timers, gate: threading.Event) -> None:
    """Keep the timers' thread busy until the gate opens."""

    def wait() -> None:
        assert gate.wait(DEADLINE_S)

    timers.after(0, wait)


def test_callbacks_come_in_the_order_of_their_time_not_of_their_setting(timers: Timers) -> None:
    called: list[str] = []
    done = threading.Event()
    timers.after(0.35, done.set)
    timers.after(0.3, lambda: called.append("later"))
    timers.after(0.01, lambda: called.append("sooner"))
    assert done.wait(DEADLINE_S)
    assert called == ["sooner", "later"]


def test_callbacks_of_one_moment_come_in_the_order_of_their_setting(timers: Timers) -> None:
    called: list[int] = []
    gate = threading.Event()
    block(timers, gate)
    for number in range(50):
        timers.after(-1, lambda number=number: called.append(number))  # type: ignore[misc] # mypy cannot infer a bound default
    gate.set()
    flush(timers)
    assert called == list(range(50))


def test_a_nearer_timer_wakes_a_thread_that_waits_for_a_far_one(timers: Timers) -> None:
    timers.after(LONG_S, lambda: None)
    flush(timers)


def test_a_cancelled_timer_is_not_called(timers: Timers) -> None:
    gate, called = threading.Event(), threading.Event()
    block(timers, gate)
    timer = timers.after(0, called.set)
    assert timer.pending
    timer.cancel()
    timer.cancel()
    gate.set()
    flush(timers)
    assert not called.is_set()
    assert not timer.pending


def test_cancelling_a_timer_that_has_gone_off_is_harmless(timers: Timers) -> None:
    timer = timers.after(0, lambda: None)
    flush(timers)
    assert not timer.pending
    timer.cancel()
    timer.fire()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1)])
def test_a_callback_that_raises_costs_only_itself(timers: Timers, error: BaseException) -> None:
    def fail() -> None:
        raise error

    timers.after(0, fail)
    flush(timers)


@pytest.mark.parametrize("delay_s", [1e300, float("inf"), threading.TIMEOUT_MAX * 2])
def test_a_delay_beyond_what_a_thread_can_wait_stops_nothing(
    timers: Timers, delay_s: float
) -> None:
    timers.after(delay_s, lambda: None)
    flush(timers)
    timers.after(0.01, lambda: None)
    flush(timers)


def test_cancelled_timers_do_not_pile_up(timers: Timers) -> None:
    kept = [timers.after(LONG_S, lambda: None) for _ in range(10)]
    for _ in range(100 * SWEEP_ABOVE):
        timers.after(LONG_S, lambda: None).cancel()
    assert len(timers._heap) <= 2 * SWEEP_ABOVE
    assert all(timer.pending for timer in kept)
    assert {entry[2] for entry in timers._heap} >= set(kept)


def test_a_sweep_keeps_the_order(timers: Timers) -> None:
    called: list[int] = []
    gate, done = threading.Event(), threading.Event()
    block(timers, gate)
    for number in (3, 1, 2):
        timers.after(number / 5, lambda number=number: called.append(number))  # type: ignore[misc] # mypy cannot infer a bound default
    for timer in [timers.after(LONG_S, lambda: None) for _ in range(3 * SWEEP_ABOVE)]:
        timer.cancel()
    timers.after(0.8, done.set)
    gate.set()
    assert done.wait(DEADLINE_S)
    assert called == [1, 2, 3]


def test_nothing_is_called_after_the_close() -> None:
    timers = Timers()
    called = threading.Event()
    pending = timers.after(LONG_S, called.set)
    timers.close()
    timers.close()
    assert not timers.after(0, called.set).pending
    pending.cancel()
    assert not timers._thread.is_alive()
    assert not called.is_set()


def test_a_callback_may_set_cancel_and_close() -> None:
    timers = Timers()
    done = threading.Event()

    def callback() -> None:
        timers.after(LONG_S, lambda: None).cancel()
        timers.close()
        done.set()

    timers.after(0, callback)
    assert done.wait(DEADLINE_S)
    timers.close()
    assert not timers._thread.is_alive()


def test_timers_may_be_set_from_many_threads(timers: Timers) -> None:
    called = threading.Semaphore(0)
    setters = [
        threading.Thread(target=lambda: [timers.after(0, called.release) for _ in range(200)])
        for _ in range(4)
    ]
    for setter in setters:
        setter.start()
    for setter in setters:
        setter.join()
    for _ in range(800):
        assert called.acquire(timeout=DEADLINE_S)
