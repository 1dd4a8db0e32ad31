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
from tests.unit.supervision.harness import ROOT, Harness, Hold, Leave, shut_down

LEAVE = Leave(ExitReason(ExitKind.SHUTDOWN))


def busy(harness: Harness, child_id: str) -> threading.Event:
    """Keep a child in a handler; return the gate that lets it out."""
    gate = threading.Event()
    harness.holds[f"gate of {child_id}"] = gate
    harness.tell(child_id, Hold(gate))
    harness.wait("held", child_id)
    return gate


def test_children_stop_from_right_to_left_one_after_the_other(harness: Harness) -> None:
    harness.lingering.add("b")
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"))
    harness.forget()
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "b")
    harness.ask(WhichChildren())
    assert harness.events("asked") == [("asked", "c"), ("asked", "b")]
    harness.tell("b", LEAVE)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert harness.lives() == [("down", child_id) for child_id in ["c", "b", "a", ROOT]]


def test_a_whole_tree_stops_from_right_to_left(harness: Harness) -> None:
    inner = SupervisorSpec(children=[harness.worker("b"), harness.worker("c")])
    harness.supervisor(harness.worker("a"), harness.nested("inner", inner), harness.worker("d"))
    harness.forget()
    shut_down(harness)
    assert [event[1] for event in harness.lives()] == ["d", "c", "b", "inner", "a", ROOT]


def test_stop_together_asks_all_at_once(harness: Harness) -> None:
    harness.lingering.update("abc")
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"), stop_together=True)
    harness.tell(ROOT, Shutdown())
    for child_id in "abc":
        harness.wait("asked", child_id)
    for child_id in "bac":
        harness.tell(child_id, LEAVE)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)


def test_stop_together_gives_each_its_own_time(harness: Harness) -> None:
    harness.lingering.update("ab")
    harness.supervisor(
        harness.worker("a", shutdown_s=3), harness.worker("b", shutdown_s=4), stop_together=True
    )
    harness.tell(ROOT, Shutdown())
    harness.timers.expire(3)
    harness.timers.expire(4)
    harness.wait("down", ROOT)
    assert harness.observer.left_behind == ["a", "b"]


def test_each_child_has_its_own_shutdown_time_and_a_supervisor_waits_for_ever(
    harness: Harness,
) -> None:
    harness.lingering.update("ac")
    inner = SupervisorSpec(children=[harness.worker("c", shutdown_s=7)])
    harness.supervisor(harness.worker("a", shutdown_s=2.5), harness.nested("inner", inner))
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "c")
    assert harness.timers.pending() == [7]
    harness.tell("c", LEAVE)
    harness.wait("asked", "a")
    assert harness.children() == {"a": ChildStatus.STOPPING, "inner": ChildStatus.STOPPED}
    assert harness.timers.pending() == [2.5]
    harness.tell("a", LEAVE)
    harness.wait("down", ROOT)
    assert harness.timers.pending() == []
    assert not harness.observer.left_behind


def test_an_infinite_time_sets_no_timer(harness: Harness) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a", shutdown_s=INFINITY))
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "a")
    harness.ask(WhichChildren())
    assert harness.timers.pending() == []


def test_a_child_that_outlasts_its_time_is_abandoned_and_counted_and_the_stop_goes_on(
    harness: Harness,
) -> None:
    harness.supervisor(harness.worker("a"), harness.worker("b", shutdown_s=3), harness.worker("c"))
    gate = busy(harness, "b")
    harness.tell(ROOT, Shutdown())
    harness.timers.expire(3)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert harness.observer.left_behind == ["b"]
    assert [e[1] for e in harness.events("down")] == ["c", "a", ROOT]
    gate.set()
    harness.wait("down", "b", ExitKind.SHUTDOWN)


def test_an_abandoned_child_ends_as_soon_as_it_can(harness: Harness) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a", shutdown_s=3))
    done = harness.begin(TerminateChild("a"))
    harness.timers.expire(3)
    assert done.result(5).status is ChildStatus.STOPPED
    harness.wait("down", "a", ExitKind.SHUTDOWN)
    assert harness.observer.left_behind == ["a"]


@pytest.mark.parametrize("late", ["stopped", "restarted"])
def test_the_late_notice_of_an_abandoned_child_changes_nothing(harness: Harness, late: str) -> None:
    harness.supervisor(harness.worker("a", shutdown_s=3))
    gate = busy(harness, "a")
    harness.begin(TerminateChild("a"))
    harness.timers.expire(3)
    harness.wait("status", "a", ChildStatus.STOPPED)
    if late == "restarted":
        harness.ask(RestartChild("a"))
    expected = harness.children()
    gate.set()
    harness.wait("down", "a")
    harness.wait_delivered(len(harness.lives()))
    assert harness.children() == expected
    assert not harness.observer.restarts


def test_notices_of_an_earlier_incarnation_are_dropped(harness: Harness) -> None:
    root = harness.supervisor(harness.worker("a"))
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    for kind in ExitKind:
        tell(root, ChildExited("a", 1, ExitReason(kind)))
        tell(root, ChildExited("nobody", 1, ExitReason(kind)))
    assert harness.children() == {"a": ChildStatus.RUNNING}
    assert harness.observer.restarts == {"a": 1}


def test_a_child_that_never_finished_its_init_is_abandoned_too(harness: Harness) -> None:
    harness.supervisor()
    harness.holds["a"] = threading.Event()
    started = harness.begin(StartChild(harness.worker("a", shutdown_s=3)))
    harness.wait("held", "a")
    harness.tell(ROOT, Shutdown())
    harness.timers.expire(3)
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        started.result(5)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert harness.observer.left_behind == ["a"]
    harness.holds["a"].set()
    harness.wait("down", "a", ExitKind.SHUTDOWN)


def test_a_brutally_killed_child_is_neither_asked_nor_waited_for(harness: Harness) -> None:
    harness.supervisor(harness.worker("a", shutdown_s=BRUTAL_KILL), harness.worker("b"))
    gate = busy(harness, "a")
    shut_down(harness)
    assert harness.observer.left_behind == ["a"]
    gate.set()
    harness.wait("down", "a")
    assert harness.events("asked") == [("asked", "b")]


def test_a_brutally_killed_child_of_a_restart_comes_up_again(harness: Harness) -> None:
    harness.supervisor(
        harness.worker("a"),
        harness.worker("b", shutdown_s=BRUTAL_KILL),
        strategy=Strategy.ONE_FOR_ALL,
    )
    gate = busy(harness, "b")
    harness.crash("a")
    harness.wait("status", "b", ChildStatus.RUNNING, "2")
    gate.set()
    harness.wait("down", "b")
    assert set(harness.children().values()) == {ChildStatus.RUNNING}


def test_a_child_that_crashes_while_it_stops_is_stopped(harness: Harness) -> None:
    harness.lingering.add("b")
    harness.supervisor(harness.worker("a"), harness.worker("b"))
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "b")
    harness.crash("b")
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not harness.observer.restarts


def test_a_child_that_crashes_before_its_turn_to_stop_is_not_restarted(
    harness: Harness,
) -> None:
    harness.lingering.add("b")
    harness.supervisor(harness.worker("a"), harness.worker("b"))
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "b")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED)
    harness.tell("b", LEAVE)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not harness.observer.restarts
    assert harness.events("up").count(("up", "a")) == 1


@pytest.mark.parametrize("kind", list(Restart))
def test_a_second_shutdown_is_harmless(harness: Harness, kind: Restart) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a", restart=kind))
    for _ in "12":
        harness.tell(ROOT, Shutdown())
    harness.wait("asked", "a")
    harness.tell("a", LEAVE)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert harness.events("asked") == [("asked", "a")]


def test_nothing_is_started_while_the_supervisor_ends(harness: Harness) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a"), harness.worker("b"))
    harness.ask(TerminateChild("b"))
    harness.tell(ROOT, Shutdown())
    harness.wait("asked", "a")
    for message in [StartChild(harness.worker("c")), RestartChild("b")]:
        with pytest.raises(RuntimeError, match="ending"):
            harness.ask(message)
    done = harness.begin(TerminateChild("a"))
    harness.tell("a", LEAVE)
    assert done.result(5).status is ChildStatus.STOPPED


def test_callers_are_answered_when_the_supervisor_crashes(harness: Harness) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a"))
    harness.holds["b"] = threading.Event()
    answers = [harness.begin(TerminateChild("a")), harness.begin(StartChild(harness.worker("b")))]
    harness.crash(ROOT)
    for answer in answers:
        with pytest.raises(RuntimeError, match="supervisor has ended"):
            answer.result(5)
    harness.holds["b"].set()
