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
from tests.unit.supervision.stage import ROOT, Ref, Stage, shut_down

HOUR_S = 3600.0


def supervisor(stage: Stage) -> Ref:
    return stage.supervisor(
        stage.worker("a"), stage.worker("b"), limit=Intensity(2, 5), parking=Parking()
    )


def crash(stage: Stage, child_id: str) -> None:
    stage.forget()
    stage.crash(child_id)
    stage.wait_until(
        lambda events: any(
            e[:2] == ("status", child_id) and e[2] in {"running", "parked"} for e in events
        )
    )


def park(stage: Stage, child_id: str = "a") -> None:
    for _ in range(3):
        crash(stage, child_id)
    assert stage.children()[child_id] is ChildStatus.PARKED


def test_a_child_with_too_many_restarts_is_parked_and_the_others_go_on(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    assert stage.children() == {"a": ChildStatus.PARKED, "b": ChildStatus.RUNNING}
    assert stage.ask(CountChildren()).active == 1
    assert stage.watcher.parkings == [("a", True)]
    assert stage.watcher.restarts == {"a": 2}
    crash(stage, "b")
    assert stage.children()["b"] is ChildStatus.RUNNING


def test_restarts_are_counted_per_child(stage: Stage) -> None:
    supervisor(stage)
    for child_id in "abab":
        crash(stage, child_id)
    assert set(stage.children().values()) == {ChildStatus.RUNNING}


def test_restarts_older_than_the_period_park_nobody(stage: Stage) -> None:
    supervisor(stage)
    for _ in range(6):
        crash(stage, "a")
        stage.clock.seconds += 2.6
    assert stage.children()["a"] is ChildStatus.RUNNING


def test_a_parked_child_is_tried_again_after_its_time(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    stage.clock.seconds += HOUR_S
    stage.timers.expire(HOUR_S)
    stage.wait("status", "a", ChildStatus.RUNNING)
    assert stage.watcher.parkings == [("a", True), ("a", False)]
    park(stage)
    assert stage.watcher.parkings == [("a", True), ("a", False), ("a", True)]


def test_a_child_that_fails_its_retry_is_parked_again(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    stage.failures["a"] = 3
    stage.clock.seconds += HOUR_S
    stage.forget()
    stage.timers.expire(HOUR_S)
    stage.wait("status", "a", ChildStatus.PARKED)
    assert stage.failures["a"] == 0
    assert stage.timers.pending() == [HOUR_S]


def test_a_parked_child_is_restarted_by_hand_and_counted_anew(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    assert stage.ask(RestartChild("a")).status is ChildStatus.RUNNING
    assert stage.watcher.parkings == [("a", True), ("a", False)]
    assert stage.timers.pending() == []
    for _ in range(2):
        crash(stage, "a")
    assert stage.children()["a"] is ChildStatus.RUNNING


@pytest.mark.parametrize("message", [TerminateChild("a"), DeleteChild("a")])
def test_a_parked_child_that_is_stopped_is_parked_no_more(stage: Stage, message: object) -> None:
    supervisor(stage)
    park(stage)
    stage.ask(message)
    assert stage.children().get("a") is not ChildStatus.PARKED
    assert stage.watcher.parkings == [("a", True), ("a", False)]
    assert stage.timers.pending() == []


@pytest.mark.parametrize("end", ["shutdown", "crash"])
def test_a_supervisor_that_ends_leaves_nothing_parked(stage: Stage, end: str) -> None:
    supervisor(stage)
    park(stage)
    if end == "shutdown":
        shut_down(stage)
    else:
        stage.crash(ROOT)
        stage.wait("down", ROOT, ExitKind.FAILED)
    stage.join(ROOT)
    assert stage.watcher.parkings == [("a", True), ("a", False)]
    assert stage.timers.pending() == []


def test_a_dynamic_child_that_does_not_start_is_kept_and_tried_again(stage: Stage) -> None:
    supervisor(stage)
    stage.failures["x"] = 2
    with pytest.raises(RuntimeError, match="did not start"):
        stage.ask(StartChild(stage.worker("x")))
    stage.wait("status", "x", ChildStatus.RUNNING)
    assert stage.watcher.restarts == {"x": 2}


def test_a_dynamic_child_that_never_starts_is_parked(stage: Stage) -> None:
    supervisor(stage)
    stage.failures["x"] = 100
    with pytest.raises(RuntimeError, match="did not start"):
        stage.ask(StartChild(stage.worker("x")))
    stage.wait("status", "x", ChildStatus.PARKED)
    assert stage.failures["x"] == 97


def test_a_temporary_child_that_does_not_start_is_never_tried_again(stage: Stage) -> None:
    supervisor(stage)
    stage.failures["x"] = 1
    with pytest.raises(RuntimeError, match="did not start"):
        stage.ask(StartChild(stage.worker("x", restart=Restart.TEMPORARY)))
    assert "x" not in stage.children()


def late_retry(stage: Stage) -> Callable[[], None]:
    """Return the call of a retry that has gone off just before it is cancelled."""
    due = next(t for delay_s, t in stage.timers._set if delay_s == HOUR_S and t.pending)
    assert due._callback is not None
    return due._callback


def test_a_retry_that_comes_after_a_restart_by_hand_is_dropped(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    retry = late_retry(stage)
    stage.ask(RestartChild("a"))
    retry()
    assert set(stage.children().values()) == {ChildStatus.RUNNING}
    assert stage.watcher.parkings == [("a", True), ("a", False)]


def test_a_retry_that_comes_after_a_stop_is_dropped(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    retry = late_retry(stage)
    stage.ask(TerminateChild("a"))
    retry()
    assert stage.children()["a"] is ChildStatus.STOPPED


def test_a_retry_of_an_earlier_parking_is_dropped(stage: Stage) -> None:
    supervisor(stage)
    park(stage)
    retry = late_retry(stage)
    stage.ask(RestartChild("a"))
    park(stage)
    retry()
    assert stage.children()["a"] is ChildStatus.PARKED
    assert stage.watcher.parkings == [("a", True), ("a", False), ("a", True)]
