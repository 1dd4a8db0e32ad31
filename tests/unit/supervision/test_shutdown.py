from __future__ import annotations

import threading

import pytest

from streamwarden.supervision import (
    INFINITY,
    ChildExited,
    ChildStatus,
    Shutdown,
    SupervisorSpec,
    WhichChildren,
    tell,
)
from streamwarden.supervision._actor import ExitKind, ExitReason
from streamwarden.supervision._spec import BRUTAL_KILL, Restart, Strategy
from streamwarden.supervision._supervisor import RestartChild, StartChild, TerminateChild
from tests.unit.supervision.stage import ROOT, Hold, Leave, Stage, shut_down

LEAVE = Leave(ExitReason(ExitKind.SHUTDOWN))


def busy(stage: Stage, child_id: str) -> threading.Event:
    """Keep a child in a handler; return the gate that lets it out."""
    gate = threading.Event()
    stage.holds[f"gate of {child_id}"] = gate
    stage.tell(child_id, Hold(gate))
    stage.wait("held", child_id)
    return gate


def test_children_stop_from_right_to_left_one_after_the_other(stage: Stage) -> None:
    stage.lingering.add("b")
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"))
    stage.forget()
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "b")
    stage.ask(WhichChildren())
    assert stage.events("asked") == [("asked", "c"), ("asked", "b")]
    stage.tell("b", LEAVE)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert stage.lives() == [("down", child_id) for child_id in ["c", "b", "a", ROOT]]


def test_a_whole_tree_stops_from_right_to_left(stage: Stage) -> None:
    inner = SupervisorSpec(children=[stage.worker("b"), stage.worker("c")])
    stage.supervisor(stage.worker("a"), stage.nested("inner", inner), stage.worker("d"))
    stage.forget()
    shut_down(stage)
    assert [event[1] for event in stage.lives()] == ["d", "c", "b", "inner", "a", ROOT]


def test_stop_together_asks_all_at_once(stage: Stage) -> None:
    stage.lingering.update("abc")
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"), stop_together=True)
    stage.tell(ROOT, Shutdown())
    for child_id in "abc":
        stage.wait("asked", child_id)
    for child_id in "bac":
        stage.tell(child_id, LEAVE)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)


def test_stop_together_gives_each_its_own_time(stage: Stage) -> None:
    stage.lingering.update("ab")
    stage.supervisor(
        stage.worker("a", shutdown_s=3), stage.worker("b", shutdown_s=4), stop_together=True
    )
    stage.tell(ROOT, Shutdown())
    stage.timers.expire(3)
    stage.timers.expire(4)
    stage.wait("down", ROOT)
    assert stage.watcher.left_behind == ["a", "b"]


def test_each_child_has_its_own_shutdown_time_and_a_supervisor_waits_for_ever(stage: Stage) -> None:
    stage.lingering.update("ac")
    inner = SupervisorSpec(children=[stage.worker("c", shutdown_s=7)])
    stage.supervisor(stage.worker("a", shutdown_s=2.5), stage.nested("inner", inner))
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "c")
    assert stage.timers.pending() == [7]
    stage.tell("c", LEAVE)
    stage.wait("asked", "a")
    assert stage.children() == {"a": ChildStatus.STOPPING, "inner": ChildStatus.STOPPED}
    assert stage.timers.pending() == [2.5]
    stage.tell("a", LEAVE)
    stage.wait("down", ROOT)
    assert stage.timers.pending() == []
    assert not stage.watcher.left_behind


def test_an_infinite_time_sets_no_timer(stage: Stage) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a", shutdown_s=INFINITY))
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "a")
    stage.ask(WhichChildren())
    assert stage.timers.pending() == []


def test_a_child_that_outlasts_its_time_is_abandoned_and_counted_and_the_stop_goes_on(
    stage: Stage,
) -> None:
    stage.supervisor(stage.worker("a"), stage.worker("b", shutdown_s=3), stage.worker("c"))
    gate = busy(stage, "b")
    stage.tell(ROOT, Shutdown())
    stage.timers.expire(3)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert stage.watcher.left_behind == ["b"]
    assert [e[1] for e in stage.events("down")] == ["c", "a", ROOT]
    gate.set()
    stage.wait("down", "b", ExitKind.SHUTDOWN)


def test_an_abandoned_child_ends_as_soon_as_it_can(stage: Stage) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a", shutdown_s=3))
    done = stage.begin(TerminateChild("a"))
    stage.timers.expire(3)
    assert done.result(5).status is ChildStatus.STOPPED
    stage.wait("down", "a", ExitKind.SHUTDOWN)
    assert stage.watcher.left_behind == ["a"]


@pytest.mark.parametrize("late", ["stopped", "restarted"])
def test_the_late_notice_of_an_abandoned_child_changes_nothing(stage: Stage, late: str) -> None:
    stage.supervisor(stage.worker("a", shutdown_s=3))
    gate = busy(stage, "a")
    stage.begin(TerminateChild("a"))
    stage.timers.expire(3)
    stage.wait("status", "a", ChildStatus.STOPPED)
    if late == "restarted":
        stage.ask(RestartChild("a"))
    expected = stage.children()
    gate.set()
    stage.wait("down", "a")
    stage.wait_delivered(len(stage.lives()))
    assert stage.children() == expected
    assert not stage.watcher.restarts


def test_notices_of_an_earlier_incarnation_are_dropped(stage: Stage) -> None:
    root = stage.supervisor(stage.worker("a"))
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    for kind in ExitKind:
        tell(root, ChildExited("a", 1, ExitReason(kind)))
        tell(root, ChildExited("nobody", 1, ExitReason(kind)))
    assert stage.children() == {"a": ChildStatus.RUNNING}
    assert stage.watcher.restarts == {"a": 1}


def test_a_child_that_never_finished_its_init_is_abandoned_too(stage: Stage) -> None:
    stage.supervisor()
    stage.holds["a"] = threading.Event()
    started = stage.begin(StartChild(stage.worker("a", shutdown_s=3)))
    stage.wait("held", "a")
    stage.tell(ROOT, Shutdown())
    stage.timers.expire(3)
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        started.result(5)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert stage.watcher.left_behind == ["a"]
    stage.holds["a"].set()
    stage.wait("down", "a", ExitKind.SHUTDOWN)


def test_a_brutally_killed_child_is_neither_asked_nor_waited_for(stage: Stage) -> None:
    stage.supervisor(stage.worker("a", shutdown_s=BRUTAL_KILL), stage.worker("b"))
    gate = busy(stage, "a")
    shut_down(stage)
    assert stage.watcher.left_behind == ["a"]
    gate.set()
    stage.wait("down", "a")
    assert stage.events("asked") == [("asked", "b")]


def test_a_brutally_killed_child_of_a_restart_comes_up_again(stage: Stage) -> None:
    stage.supervisor(
        stage.worker("a"), stage.worker("b", shutdown_s=BRUTAL_KILL), strategy=Strategy.ONE_FOR_ALL
    )
    gate = busy(stage, "b")
    stage.crash("a")
    stage.wait("status", "b", ChildStatus.RUNNING, "2")
    gate.set()
    stage.wait("down", "b")
    assert set(stage.children().values()) == {ChildStatus.RUNNING}


def test_a_child_that_crashes_while_it_stops_is_stopped(stage: Stage) -> None:
    stage.lingering.add("b")
    stage.supervisor(stage.worker("a"), stage.worker("b"))
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "b")
    stage.crash("b")
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not stage.watcher.restarts


def test_a_child_that_crashes_before_its_turn_to_stop_is_not_restarted(stage: Stage) -> None:
    stage.lingering.add("b")
    stage.supervisor(stage.worker("a"), stage.worker("b"))
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "b")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED)
    stage.tell("b", LEAVE)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not stage.watcher.restarts
    assert stage.events("up").count(("up", "a")) == 1


@pytest.mark.parametrize("kind", list(Restart))
def test_a_second_shutdown_is_harmless(stage: Stage, kind: Restart) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a", restart=kind))
    for _ in "12":
        stage.tell(ROOT, Shutdown())
    stage.wait("asked", "a")
    stage.tell("a", LEAVE)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert stage.events("asked") == [("asked", "a")]


def test_nothing_is_started_while_the_supervisor_ends(stage: Stage) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a"), stage.worker("b"))
    stage.ask(TerminateChild("b"))
    stage.tell(ROOT, Shutdown())
    stage.wait("asked", "a")
    for message in [StartChild(stage.worker("c")), RestartChild("b")]:
        with pytest.raises(RuntimeError, match="ending"):
            stage.ask(message)
    done = stage.begin(TerminateChild("a"))
    stage.tell("a", LEAVE)
    assert done.result(5).status is ChildStatus.STOPPED


def test_callers_are_answered_when_the_supervisor_crashes(stage: Stage) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a"))
    stage.holds["b"] = threading.Event()
    answers = [stage.begin(TerminateChild("a")), stage.begin(StartChild(stage.worker("b")))]
    stage.crash(ROOT)
    for answer in answers:
        with pytest.raises(RuntimeError, match="supervisor has ended"):
            answer.result(5)
    stage.holds["b"].set()
