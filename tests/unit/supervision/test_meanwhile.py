from __future__ import annotations

import threading

import pytest

from streamwarden.supervision import ChildStatus, Intensity, Shutdown
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._spec import InvalidSpec, Restart, Strategy
from streamwarden.supervision._supervisor import (
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from tests.unit.supervision.stage import ROOT, Stage

PLENTY = Intensity(20, 5)


class Midway:
    """A one_for_all or rest_for_one restart that stands still while ``hold`` starts."""

    def __init__(self, stage: Stage, strategy: Strategy, *, hold: str, crash: str = "a") -> None:
        self.stage = stage
        children = (stage.worker(child_id) for child_id in "abc")
        stage.supervisor(*children, strategy=strategy, limit=PLENTY)
        stage.forget()
        self.gate = stage.holds[hold] = threading.Event()
        stage.crash(crash)
        stage.wait("held", hold)

    def go_on(self) -> None:
        self.gate.set()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_crash_during_a_restart_is_dealt_with_after_it(stage: Stage, strategy: Strategy) -> None:
    midway = Midway(stage, strategy, hold="b")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED, "2")
    assert stage.children()["b"] is ChildStatus.STARTING
    midway.go_on()
    stage.wait("status", "c", ChildStatus.RUNNING, "3")
    assert stage.lives() == [
        ("down", "a"), ("down", "c"), ("down", "b"), ("up", "a"), ("down", "a"), ("up", "b"),
        ("up", "c"), ("down", "c"), ("down", "b"), ("up", "a"), ("up", "b"), ("up", "c"),
    ]  # fmt: skip
    assert not stage.watcher.left_behind


def test_two_crashes_during_a_restart_leave_nobody_behind(stage: Stage) -> None:
    """The second restart begins with one of them dead already: nothing must wait for it."""
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="c")
    for child_id in "ab":
        stage.crash(child_id)
        stage.wait("status", child_id, ChildStatus.STOPPED, "2")
    midway.go_on()
    stage.wait("status", "c", ChildStatus.RUNNING, "3")
    assert set(stage.children().values()) == {ChildStatus.RUNNING}
    assert stage.watcher.restarts == {"a": 2}
    assert not stage.watcher.left_behind


def test_a_shutdown_after_a_crash_during_a_restart_waits_for_no_dead_child(stage: Stage) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="c")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED, "2")
    stage.tell(ROOT, Shutdown())
    stage.wait("status", "c", ChildStatus.STOPPING)
    midway.go_on()
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not stage.watcher.left_behind


def test_a_transient_child_that_ends_normally_during_a_restart_stays_down(stage: Stage) -> None:
    stage.supervisor(
        stage.worker("a", restart=Restart.TRANSIENT), stage.worker("b"), stage.worker("c"),
        strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    gate = stage.holds["c"] = threading.Event()
    stage.crash("b")
    stage.wait("held", "c")
    stage.refs["a"][-1].stop(block=False)
    stage.wait("status", "a", ChildStatus.STOPPED)
    gate.set()
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.children()["a"] is ChildStatus.STOPPED


@pytest.mark.parametrize("terminated", ["b", "c"])
def test_a_child_terminated_during_a_restart_stays_down(stage: Stage, terminated: str) -> None:
    """``b`` is starting at that moment, ``c`` has not had its turn."""
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    done = stage.begin(TerminateChild(terminated))
    midway.go_on()
    assert done.result(5).status is ChildStatus.STOPPED
    other = "c" if terminated == "b" else "b"
    stage.wait("status", other, ChildStatus.RUNNING, "2")
    assert stage.children()[terminated] is ChildStatus.STOPPED


def test_a_crashed_child_terminated_before_its_restart_stays_down(stage: Stage) -> None:
    midway = Midway(stage, Strategy.REST_FOR_ONE, hold="c", crash="b")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED)
    stage.ask(TerminateChild("a"))
    midway.go_on()
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.children()["a"] is ChildStatus.STOPPED
    assert stage.watcher.restarts == {"b": 1}


@pytest.mark.parametrize("message", [RestartChild("c"), DeleteChild("c")])
def test_a_child_about_to_be_started_is_neither_started_nor_deleted_by_hand(
    stage: Stage, message: object
) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    with pytest.raises(InvalidSpec, match="about to be started"):
        stage.ask(message)
    midway.go_on()
    stage.wait("status", "c", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("message", [RestartChild("a"), DeleteChild("a")])
def test_a_crashed_child_waiting_for_its_restart_is_neither_started_nor_deleted_by_hand(
    stage: Stage, message: object
) -> None:
    midway = Midway(stage, Strategy.REST_FOR_ONE, hold="c", crash="b")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED)
    with pytest.raises(InvalidSpec, match="about to be started"):
        stage.ask(message)
    midway.go_on()
    stage.wait("status", "a", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_asked_for_during_a_restart_is_started_after_it(
    stage: Stage, restart: Restart
) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    asked = stage.begin(StartChild(stage.worker("x", restart=restart)))
    with pytest.raises(InvalidSpec, match="about to be started"):
        stage.ask(DeleteChild("x"))
    midway.go_on()
    assert asked.result(5).status is ChildStatus.RUNNING
    assert stage.lives()[-3:] == [("up", "b"), ("up", "c"), ("up", "x")]


@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_asked_for_during_a_restart_survives_a_second_restart(
    stage: Stage, restart: Restart
) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    asked = stage.begin(StartChild(stage.worker("x", restart=restart)))
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED, "2")
    midway.go_on()
    assert asked.result(5).status is ChildStatus.RUNNING
    assert stage.events("up").count(("up", "x")) == 1
    assert not stage.watcher.left_behind


def test_a_child_asked_for_during_a_restart_and_terminated_is_not_started(stage: Stage) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    asked = stage.begin(StartChild(stage.worker("x")))
    stage.ask(TerminateChild("x"))
    with pytest.raises(RuntimeError, match="terminated before"):
        asked.result(5)
    midway.go_on()
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.children()["x"] is ChildStatus.STOPPED
    stage.ask(DeleteChild("x"))


def test_a_child_asked_for_during_a_restart_is_refused_by_a_shutdown(stage: Stage) -> None:
    midway = Midway(stage, Strategy.ONE_FOR_ALL, hold="b")
    asked = stage.begin(StartChild(stage.worker("x")))
    stage.tell(ROOT, Shutdown())
    midway.go_on()
    with pytest.raises(RuntimeError, match="supervisor has ended"):
        asked.result(5)
    stage.wait("down", ROOT)


def test_a_dynamic_child_caught_in_a_restart_while_starting_answers_when_it_is_up(
    stage: Stage,
) -> None:
    stage.supervisor(stage.worker("a"), strategy=Strategy.ONE_FOR_ALL)
    stage.holds["x"] = threading.Event()
    asked = stage.begin(StartChild(stage.worker("x")))
    stage.wait("held", "x")
    stage.crash("a")
    stage.wait("status", "x", ChildStatus.STOPPING)
    stage.holds["x"].set()
    assert asked.result(5).incarnation == 2


def test_a_temporary_child_caught_in_a_restart_while_starting_is_refused(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), strategy=Strategy.ONE_FOR_ALL)
    stage.holds["x"] = threading.Event()
    asked = stage.begin(StartChild(stage.worker("x", restart=Restart.TEMPORARY)))
    stage.wait("held", "x")
    stage.crash("a")
    stage.wait("status", "x", ChildStatus.STOPPING)
    stage.holds["x"].set()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        asked.result(5)
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    assert list(stage.children()) == ["a"]
