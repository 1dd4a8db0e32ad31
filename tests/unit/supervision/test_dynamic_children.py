from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from streamwarden.supervision import (
    ChildInfo,
    ChildStatus,
    ChildType,
    SupervisorSpec,
    WhichChildren,
)
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._children import ChildCounts
from streamwarden.supervision._spec import InvalidSpec, Restart
from streamwarden.supervision._supervisor import (
    CountChildren,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from tests.unit.supervision.harness import Harness, Ref, WatchedSupervisor


def test_a_child_goes_through_its_whole_life_by_hand(harness: Harness) -> None:
    harness.supervisor()
    started = harness.ask(StartChild(harness.worker("a")))
    assert started == ChildInfo(
        child_id="a", type=ChildType.WORKER, status=ChildStatus.RUNNING, incarnation=1, restarts=0
    )
    assert harness.ask(TerminateChild("a")).status is ChildStatus.STOPPED
    assert harness.children() == {"a": ChildStatus.STOPPED}
    assert harness.ask(RestartChild("a")).incarnation == 2
    harness.ask(TerminateChild("a"))
    harness.ask(DeleteChild("a"))
    assert harness.children() == {}
    assert harness.lives()[1:] == [("up", "a"), ("down", "a"), ("up", "a"), ("down", "a")]


def test_children_are_listed_in_the_order_of_their_start(harness: Harness) -> None:
    harness.supervisor(harness.worker("z"))
    for child_id in "ya":
        harness.ask(StartChild(harness.worker(child_id)))
    assert [info.child_id for info in harness.ask(WhichChildren())] == ["z", "y", "a"]


@pytest.mark.parametrize("message", [TerminateChild("x"), RestartChild("x"), DeleteChild("x")])
def test_an_unknown_child_is_an_error_and_harmless(harness: Harness, message: object) -> None:
    harness.supervisor(harness.worker("a"))
    with pytest.raises(LookupError, match="no child 'x'"):
        harness.ask(message)
    assert harness.children() == {"a": ChildStatus.RUNNING}


@pytest.mark.parametrize("message", [RestartChild("a"), DeleteChild("a")])
def test_a_running_child_is_neither_started_nor_deleted(harness: Harness, message: object) -> None:
    harness.supervisor(harness.worker("a"))
    with pytest.raises(InvalidSpec, match="is running"):
        harness.ask(message)
    assert harness.children() == {"a": ChildStatus.RUNNING}


@pytest.mark.parametrize("stopped", [False, True])
def test_an_id_that_is_there_cannot_be_started_again(harness: Harness, *, stopped: bool) -> None:
    harness.supervisor(harness.worker("a"))
    if stopped:
        harness.ask(TerminateChild("a"))
    with pytest.raises(InvalidSpec, match="already there"):
        harness.ask(StartChild(harness.worker("a")))


def test_a_wrong_specification_is_refused_and_harmless(harness: Harness) -> None:
    harness.supervisor()
    with pytest.raises(InvalidSpec, match="shutdown_s"):
        harness.ask(StartChild(harness.worker("a", shutdown_s=-1)))
    assert harness.children() == {}


def test_terminating_a_stopped_child_is_harmless(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"))
    for _ in "12":
        assert harness.ask(TerminateChild("a")).status is ChildStatus.STOPPED


def test_two_callers_may_wait_for_the_same_stop(harness: Harness) -> None:
    harness.lingering.add("a")
    harness.supervisor(harness.worker("a", shutdown_s=3))
    answers = [harness.begin(TerminateChild("a")) for _ in "12"]
    harness.timers.expire(3)
    assert [answer.result(5).status for answer in answers] == [ChildStatus.STOPPED] * 2


def test_a_caller_that_has_gone_away_is_no_harm(harness: Harness) -> None:
    harness.supervisor()
    harness.holds["a"] = threading.Event()
    assert harness.begin(StartChild(harness.worker("a"))).cancel()
    harness.holds["a"].set()
    harness.wait("status", "a", ChildStatus.RUNNING)


def test_a_terminated_temporary_child_is_forgotten(harness: Harness) -> None:
    harness.supervisor(harness.worker("a", restart=Restart.TEMPORARY))
    harness.ask(TerminateChild("a"))
    assert harness.children() == {}


@pytest.mark.parametrize("restart", list(Restart))
def test_nothing_is_kept_of_a_dynamic_child_that_did_not_start(
    harness: Harness, restart: Restart
) -> None:
    harness.supervisor(harness.worker("a"))
    harness.failures["x"] = 1
    with pytest.raises(RuntimeError, match="x did not start: OSError: scripted"):
        harness.ask(StartChild(harness.worker("x", restart=restart)))
    assert harness.children() == {"a": ChildStatus.RUNNING}
    assert not harness.observer.restarts
    assert (
        harness.ask(StartChild(harness.worker("x", restart=restart))).status is ChildStatus.RUNNING
    )


@pytest.mark.parametrize("fresh", [False, True])
def test_a_failed_restart_by_hand_keeps_the_specification(harness: Harness, *, fresh: bool) -> None:
    harness.supervisor()
    if fresh:  # terminated before it was ever up
        harness.holds["x"] = threading.Event()
        harness.begin(StartChild(harness.worker("x")))
        done = harness.begin(TerminateChild("x"))
        harness.holds.pop("x").set()
        done.result(5)
    else:
        harness.ask(StartChild(harness.worker("x")))
        harness.ask(TerminateChild("x"))
    harness.failures["x"] = 1
    with pytest.raises(RuntimeError, match="did not start"):
        harness.ask(RestartChild("x"))
    assert harness.children() == {"x": ChildStatus.STOPPED}
    assert not harness.observer.restarts
    assert harness.ask(RestartChild("x")).status is ChildStatus.RUNNING


def test_a_child_terminated_while_it_starts_fails_its_starter_and_stays_down(
    harness: Harness,
) -> None:
    harness.supervisor()
    harness.holds["x"] = threading.Event()
    started = harness.begin(StartChild(harness.worker("x")))
    harness.wait("held", "x")
    done = harness.begin(TerminateChild("x"))
    with pytest.raises(RuntimeError, match="terminated before it had started"):
        started.result(5)
    harness.holds["x"].set()
    assert done.result(5).status is ChildStatus.STOPPED
    assert harness.children() == {"x": ChildStatus.STOPPED}


def test_a_child_that_is_starting_or_stopping_counts_as_running(harness: Harness) -> None:
    harness.supervisor()
    harness.holds["x"] = threading.Event()
    harness.begin(StartChild(harness.worker("x")))
    harness.wait("held", "x")
    for message in [RestartChild("x"), DeleteChild("x")]:
        with pytest.raises(InvalidSpec, match="is running"):
            harness.ask(message)
    harness.begin(TerminateChild("x"))
    for message in [RestartChild("x"), DeleteChild("x")]:
        with pytest.raises(InvalidSpec, match="is running"):
            harness.ask(message)
    harness.holds["x"].set()


def test_an_id_that_comes_back_does_not_take_its_predecessors_notices(
    harness: Harness,
) -> None:
    harness.supervisor()
    gate = harness.holds["x"] = threading.Event()
    harness.begin(StartChild(harness.worker("x", shutdown_s=3)))
    harness.wait("held", "x")
    done = harness.begin(TerminateChild("x"))
    harness.timers.expire(3)
    done.result(5)
    harness.ask(DeleteChild("x"))
    del harness.holds["x"]
    assert harness.ask(StartChild(harness.worker("x"))).incarnation == 2
    gate.set()
    harness.wait("down", "x")
    harness.wait_delivered(4)
    assert harness.children() == {"x": ChildStatus.RUNNING}


def test_incarnations_are_never_used_twice_for_one_id(harness: Harness) -> None:
    harness.supervisor()
    seen = []
    for child_id in "xyxxy":
        seen.append((child_id, harness.ask(StartChild(harness.worker(child_id))).incarnation))
        harness.ask(TerminateChild(child_id))
        harness.ask(DeleteChild(child_id))
    assert len(set(seen)) == 5


def test_children_are_counted_as_otp_counts_them(harness: Harness) -> None:
    harness.supervisor(
        harness.worker("a"),
        harness.nested("b", SupervisorSpec()),
        harness.worker("c"),
        harness.worker("d"),
    )
    harness.ask(TerminateChild("c"))
    counts = ChildCounts(specs=4, active=3, supervisors=1, workers=3)
    assert harness.ask(CountChildren()) == counts


def test_a_dynamic_supervisor_is_up_when_its_children_are(harness: Harness) -> None:
    harness.supervisor()
    harness.holds["b"] = threading.Event()
    inner = SupervisorSpec(children=[harness.worker("b")])
    started = harness.begin(StartChild(harness.nested("inner", inner)))
    harness.wait("held", "b")
    assert harness.children() == {"inner": ChildStatus.STARTING}
    harness.holds["b"].set()
    assert started.result(5).type is ChildType.SUPERVISOR


class Manager(WatchedSupervisor):
    """Uses the methods that subclasses are promised, in its own thread."""

    def init(self) -> None:
        super().init()
        self.start_child(self.harness.worker("mine"))

    def receive(self, message: object) -> object:
        if isinstance(message, tuple):
            return self.tell_child(message[0], message[1])
        if isinstance(message, str):
            return self.child(message)
        return super().receive(message)


def test_a_subclass_starts_children_in_its_init_and_talks_to_them(harness: Harness) -> None:
    manager: Ref = Manager.start(
        harness=harness,
        link=harness.link("manager", 1, lambda _: None), spec=SupervisorSpec(), timers=harness.timers,
        clock=harness.clock, observer=harness.observer,
    )  # fmt: skip
    harness.cast("manager", manager)
    harness.wait("up", "mine")
    assert manager.ask(("mine", "hello"), timeout=5)
    harness.wait("got", "mine", "hello")
    assert manager.ask("mine", timeout=5) == harness.ask(WhichChildren(), "manager")[0]
    assert manager.ask("nobody", timeout=5) is None
    harness.ask(TerminateChild("mine"), "manager")
    assert not manager.ask(("mine", "hello"), timeout=5)
    assert not manager.ask(("nobody", "hello"), timeout=5)


def test_an_unknown_message_that_is_asked_is_an_error_and_harmless(
    harness: Harness,
) -> None:
    harness.supervisor(harness.worker("a"))
    with pytest.raises(TypeError, match="takes no int"):
        harness.ask(7)
    assert harness.children() == {"a": ChildStatus.RUNNING}


class BrokenHook(WatchedSupervisor):
    """Has a bug that shows when a child is about to start."""

    def child_changed(self, info: ChildInfo) -> None:
        super().child_changed(info)
        if info.child_id == "b":
            raise ZeroDivisionError("hook")


def test_a_subclass_whose_hook_fails_in_an_ask_ends_and_leaves_no_half_started_child(
    harness: Harness,
) -> None:
    manager: Ref = BrokenHook.start(
        harness=harness,
        link=harness.link("manager", 1, lambda _: None),
        spec=SupervisorSpec(children=[harness.worker("a")]),
        timers=harness.timers, clock=harness.clock, observer=harness.observer,
    )  # fmt: skip
    harness.cast("manager", manager)
    harness.wait("up", "manager")
    assert isinstance(
        harness.refs["manager"][-1].ask(StartChild(harness.worker("b")), timeout=5), Future
    )
    harness.wait("down", "manager", ExitKind.FAILED)
    for child_id in "ab":
        harness.wait("down", child_id, ExitKind.SHUTDOWN)
    assert [e.reason.error for e in harness.exits if e.child_id == "manager"] == [
        "ZeroDivisionError: hook"
    ]
