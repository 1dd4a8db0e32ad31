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
from tests.unit.supervision.harness import ROOT, Harness

PLENTY = Intensity(20, 5)


class Midway:
    """A one_for_all or rest_for_one restart that stands still while ``hold`` starts."""

    def __init__(
        self, harness: Harness, strategy: Strategy, *, hold: str, crash: str = "a"
    ) -> None:
        self.harness = harness
        children = (harness.worker(child_id) for child_id in "abc")
        harness.supervisor(*children, strategy=strategy, limit=PLENTY)
        harness.forget()
        self.gate = harness.holds[hold] = threading.Event()
        harness.crash(crash)
        harness.wait("held", hold)

    def go_on(self) -> None:
        self.gate.set()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_crash_during_a_restart_is_dealt_with_after_it(
    harness: Harness, strategy: Strategy
) -> None:
    midway = Midway(harness, strategy, hold="b")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED, "2")
    assert harness.children()["b"] is ChildStatus.STARTING
    midway.go_on()
    harness.wait("status", "c", ChildStatus.RUNNING, "3")
    assert harness.lives() == [
        ("down", "a"), ("down", "c"), ("down", "b"), ("up", "a"), ("down", "a"), ("up", "b"),
        ("up", "c"), ("down", "c"), ("down", "b"), ("up", "a"), ("up", "b"), ("up", "c"),
    ]  # fmt: skip
    assert not harness.observer.left_behind


def test_two_crashes_during_a_restart_leave_nobody_behind(harness: Harness) -> None:
    """The second restart begins with one of them dead already: nothing must wait for it."""
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="c")
    for child_id in "ab":
        harness.crash(child_id)
        harness.wait("status", child_id, ChildStatus.STOPPED, "2")
    midway.go_on()
    harness.wait("status", "c", ChildStatus.RUNNING, "3")
    assert set(harness.children().values()) == {ChildStatus.RUNNING}
    assert harness.observer.restarts == {"a": 2}
    assert not harness.observer.left_behind


def test_a_shutdown_after_a_crash_during_a_restart_waits_for_no_dead_child(
    harness: Harness,
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="c")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED, "2")
    harness.tell(ROOT, Shutdown())
    harness.wait("status", "c", ChildStatus.STOPPING)
    midway.go_on()
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not harness.observer.left_behind


def test_a_transient_child_that_ends_normally_during_a_restart_stays_down(
    harness: Harness,
) -> None:
    harness.supervisor(
        harness.worker("a", restart=Restart.TRANSIENT), harness.worker("b"), harness.worker("c"),
        strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    gate = harness.holds["c"] = threading.Event()
    harness.crash("b")
    harness.wait("held", "c")
    harness.refs["a"][-1].stop(block=False)
    harness.wait("status", "a", ChildStatus.STOPPED)
    gate.set()
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.children()["a"] is ChildStatus.STOPPED


@pytest.mark.parametrize("terminated", ["b", "c"])
def test_a_child_terminated_during_a_restart_stays_down(harness: Harness, terminated: str) -> None:
    """``b`` is starting at that moment, ``c`` has not had its turn."""
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    done = harness.begin(TerminateChild(terminated))
    midway.go_on()
    assert done.result(5).status is ChildStatus.STOPPED
    other = "c" if terminated == "b" else "b"
    harness.wait("status", other, ChildStatus.RUNNING, "2")
    assert harness.children()[terminated] is ChildStatus.STOPPED


def test_a_crashed_child_terminated_before_its_restart_stays_down(harness: Harness) -> None:
    midway = Midway(harness, Strategy.REST_FOR_ONE, hold="c", crash="b")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED)
    harness.ask(TerminateChild("a"))
    midway.go_on()
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.children()["a"] is ChildStatus.STOPPED
    assert harness.observer.restarts == {"b": 1}


@pytest.mark.parametrize("message", [RestartChild("c"), DeleteChild("c")])
def test_a_child_about_to_be_started_is_neither_started_nor_deleted_by_hand(
    harness: Harness, message: object
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    with pytest.raises(InvalidSpec, match="about to be started"):
        harness.ask(message)
    midway.go_on()
    harness.wait("status", "c", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("message", [RestartChild("a"), DeleteChild("a")])
def test_a_crashed_child_waiting_for_its_restart_is_neither_started_nor_deleted_by_hand(
    harness: Harness, message: object
) -> None:
    midway = Midway(harness, Strategy.REST_FOR_ONE, hold="c", crash="b")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED)
    with pytest.raises(InvalidSpec, match="about to be started"):
        harness.ask(message)
    midway.go_on()
    harness.wait("status", "a", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_asked_for_during_a_restart_is_started_after_it(
    harness: Harness, restart: Restart
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    asked = harness.begin(StartChild(harness.worker("x", restart=restart)))
    with pytest.raises(InvalidSpec, match="about to be started"):
        harness.ask(DeleteChild("x"))
    midway.go_on()
    assert asked.result(5).status is ChildStatus.RUNNING
    assert harness.lives()[-3:] == [("up", "b"), ("up", "c"), ("up", "x")]


@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_asked_for_during_a_restart_survives_a_second_restart(
    harness: Harness, restart: Restart
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    asked = harness.begin(StartChild(harness.worker("x", restart=restart)))
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED, "2")
    midway.go_on()
    assert asked.result(5).status is ChildStatus.RUNNING
    assert harness.events("up").count(("up", "x")) == 1
    assert not harness.observer.left_behind


def test_a_child_asked_for_during_a_restart_and_terminated_is_not_started(
    harness: Harness,
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    asked = harness.begin(StartChild(harness.worker("x")))
    harness.ask(TerminateChild("x"))
    with pytest.raises(RuntimeError, match="terminated before"):
        asked.result(5)
    midway.go_on()
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.children()["x"] is ChildStatus.STOPPED
    harness.ask(DeleteChild("x"))


def test_a_child_asked_for_during_a_restart_is_refused_by_a_shutdown(
    harness: Harness,
) -> None:
    midway = Midway(harness, Strategy.ONE_FOR_ALL, hold="b")
    asked = harness.begin(StartChild(harness.worker("x")))
    harness.tell(ROOT, Shutdown())
    midway.go_on()
    with pytest.raises(RuntimeError, match="supervisor has ended"):
        asked.result(5)
    harness.wait("down", ROOT)


def test_a_dynamic_child_caught_in_a_restart_while_starting_answers_when_it_is_up(
    harness: Harness,
) -> None:
    harness.supervisor(harness.worker("a"), strategy=Strategy.ONE_FOR_ALL)
    harness.holds["x"] = threading.Event()
    asked = harness.begin(StartChild(harness.worker("x")))
    harness.wait("held", "x")
    harness.crash("a")
    harness.wait("status", "x", ChildStatus.STOPPING)
    harness.holds["x"].set()
    assert asked.result(5).incarnation == 2


def test_a_temporary_child_caught_in_a_restart_while_starting_is_refused(
    harness: Harness,
) -> None:
    harness.supervisor(harness.worker("a"), strategy=Strategy.ONE_FOR_ALL)
    harness.holds["x"] = threading.Event()
    asked = harness.begin(StartChild(harness.worker("x", restart=Restart.TEMPORARY)))
    harness.wait("held", "x")
    harness.crash("a")
    harness.wait("status", "x", ChildStatus.STOPPING)
    harness.holds["x"].set()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        asked.result(5)
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    assert list(harness.children()) == ["a"]
