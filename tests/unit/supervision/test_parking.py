from __future__ import annotations

from collections.abc import Callable

import pytest

from streamwarden.supervision import ChildStatus, Intensity, Parking
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._spec import Restart
from streamwarden.supervision._supervisor import (
    CountChildren,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from tests.unit.supervision.harness import ROOT, Harness, Ref, shut_down

HOUR_S = 3600.0


def supervisor(harness: Harness) -> Ref:
    return harness.supervisor(
        harness.worker("a"), harness.worker("b"), limit=Intensity(2, 5), parking=Parking()
    )


def crash(harness: Harness, child_id: str) -> None:
    harness.forget()
    harness.crash(child_id)
    harness.wait_until(
        lambda events: any(
            e[:2] == ("status", child_id) and e[2] in {"running", "parked"} for e in events
        )
    )


def park(harness: Harness, child_id: str = "a") -> None:
    for _ in range(3):
        crash(harness, child_id)
    assert harness.children()[child_id] is ChildStatus.PARKED


def test_a_child_with_too_many_restarts_is_parked_and_the_others_go_on(
    harness: Harness,
) -> None:
    supervisor(harness)
    park(harness)
    assert harness.children() == {"a": ChildStatus.PARKED, "b": ChildStatus.RUNNING}
    assert harness.ask(CountChildren()).active == 1
    assert harness.observer.parkings == [("a", True)]
    assert harness.observer.restarts == {"a": 2}
    crash(harness, "b")
    assert harness.children()["b"] is ChildStatus.RUNNING


def test_restarts_are_counted_per_child(harness: Harness) -> None:
    supervisor(harness)
    for child_id in "abab":
        crash(harness, child_id)
    assert set(harness.children().values()) == {ChildStatus.RUNNING}


def test_restarts_older_than_the_period_park_nobody(harness: Harness) -> None:
    supervisor(harness)
    for _ in range(6):
        crash(harness, "a")
        harness.clock.advance(2.6)
    assert harness.children()["a"] is ChildStatus.RUNNING


def test_a_parked_child_is_tried_again_after_its_time(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    harness.clock.advance(HOUR_S)
    harness.timers.expire(HOUR_S)
    harness.wait("status", "a", ChildStatus.RUNNING)
    assert harness.observer.parkings == [("a", True), ("a", False)]
    park(harness)
    assert harness.observer.parkings == [("a", True), ("a", False), ("a", True)]


def test_a_child_that_fails_its_retry_is_parked_again(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    harness.failures["a"] = 3
    harness.clock.advance(HOUR_S)
    harness.forget()
    harness.timers.expire(HOUR_S)
    harness.wait("status", "a", ChildStatus.PARKED)
    assert harness.failures["a"] == 0
    assert harness.timers.pending() == [HOUR_S]


def test_a_parked_child_is_restarted_by_hand_and_counted_anew(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    assert harness.ask(RestartChild("a")).status is ChildStatus.RUNNING
    assert harness.observer.parkings == [("a", True), ("a", False)]
    assert harness.timers.pending() == []
    for _ in range(2):
        crash(harness, "a")
    assert harness.children()["a"] is ChildStatus.RUNNING


@pytest.mark.parametrize("message", [TerminateChild("a"), DeleteChild("a")])
def test_a_parked_child_that_is_stopped_is_parked_no_more(
    harness: Harness, message: object
) -> None:
    supervisor(harness)
    park(harness)
    harness.ask(message)
    assert harness.children().get("a") is not ChildStatus.PARKED
    assert harness.observer.parkings == [("a", True), ("a", False)]
    assert harness.timers.pending() == []


@pytest.mark.parametrize("end", ["shutdown", "crash"])
def test_a_supervisor_that_ends_leaves_nothing_parked(harness: Harness, end: str) -> None:
    supervisor(harness)
    park(harness)
    if end == "shutdown":
        shut_down(harness)
    else:
        harness.crash(ROOT)
        harness.wait("down", ROOT, ExitKind.FAILED)
    harness.join(ROOT)
    assert harness.observer.parkings == [("a", True), ("a", False)]
    assert harness.timers.pending() == []


def test_a_dynamic_child_that_does_not_start_is_kept_and_tried_again(
    harness: Harness,
) -> None:
    supervisor(harness)
    harness.failures["x"] = 2
    with pytest.raises(RuntimeError, match="did not start"):
        harness.ask(StartChild(harness.worker("x")))
    harness.wait("status", "x", ChildStatus.RUNNING)
    assert harness.observer.restarts == {"x": 2}


def test_a_dynamic_child_that_never_starts_is_parked(harness: Harness) -> None:
    supervisor(harness)
    harness.failures["x"] = 100
    with pytest.raises(RuntimeError, match="did not start"):
        harness.ask(StartChild(harness.worker("x")))
    harness.wait("status", "x", ChildStatus.PARKED)
    assert harness.failures["x"] == 97


def test_a_temporary_child_that_does_not_start_is_never_tried_again(
    harness: Harness,
) -> None:
    supervisor(harness)
    harness.failures["x"] = 1
    with pytest.raises(RuntimeError, match="did not start"):
        harness.ask(StartChild(harness.worker("x", restart=Restart.TEMPORARY)))
    assert "x" not in harness.children()


def late_retry(harness: Harness) -> Callable[[], None]:
    """Return the call of a retry that has gone off just before it is cancelled."""
    due = next(t for delay_s, t in harness.timers._set if delay_s == HOUR_S and t.pending)
    assert due._callback is not None
    return due._callback


def test_a_retry_that_comes_after_a_restart_by_hand_is_dropped(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    retry = late_retry(harness)
    harness.ask(RestartChild("a"))
    retry()
    assert set(harness.children().values()) == {ChildStatus.RUNNING}
    assert harness.observer.parkings == [("a", True), ("a", False)]


def test_a_retry_that_comes_after_a_stop_is_dropped(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    retry = late_retry(harness)
    harness.ask(TerminateChild("a"))
    retry()
    assert harness.children()["a"] is ChildStatus.STOPPED


def test_a_retry_of_an_earlier_parking_is_dropped(harness: Harness) -> None:
    supervisor(harness)
    park(harness)
    retry = late_retry(harness)
    harness.ask(RestartChild("a"))
    park(harness)
    retry()
    assert harness.children()["a"] is ChildStatus.PARKED
    assert harness.observer.parkings == [("a", True), ("a", False), ("a", True)]
