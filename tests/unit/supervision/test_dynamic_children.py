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
from tests.unit.supervision.stage import Ref, Stage, WatchedSupervisor


def test_a_child_goes_through_its_whole_life_by_hand(stage: Stage) -> None:
    stage.supervisor()
    started = stage.ask(StartChild(stage.worker("a")))
    assert started == ChildInfo(
        child_id="a", type=ChildType.WORKER, status=ChildStatus.RUNNING, incarnation=1, restarts=0
    )
    assert stage.ask(TerminateChild("a")).status is ChildStatus.STOPPED
    assert stage.children() == {"a": ChildStatus.STOPPED}
    assert stage.ask(RestartChild("a")).incarnation == 2
    stage.ask(TerminateChild("a"))
    stage.ask(DeleteChild("a"))
    assert stage.children() == {}
    assert stage.lives()[1:] == [("up", "a"), ("down", "a"), ("up", "a"), ("down", "a")]


def test_children_are_listed_in_the_order_of_their_start(stage: Stage) -> None:
    stage.supervisor(stage.worker("z"))
    for child_id in "ya":
        stage.ask(StartChild(stage.worker(child_id)))
    assert [info.child_id for info in stage.ask(WhichChildren())] == ["z", "y", "a"]


@pytest.mark.parametrize("message", [TerminateChild("x"), RestartChild("x"), DeleteChild("x")])
def test_an_unknown_child_is_an_error_and_harmless(stage: Stage, message: object) -> None:
    stage.supervisor(stage.worker("a"))
    with pytest.raises(LookupError, match="no child 'x'"):
        stage.ask(message)
    assert stage.children() == {"a": ChildStatus.RUNNING}


@pytest.mark.parametrize("message", [RestartChild("a"), DeleteChild("a")])
def test_a_running_child_is_neither_started_nor_deleted(stage: Stage, message: object) -> None:
    stage.supervisor(stage.worker("a"))
    with pytest.raises(InvalidSpec, match="is running"):
        stage.ask(message)
    assert stage.children() == {"a": ChildStatus.RUNNING}


@pytest.mark.parametrize("stopped", [False, True])
def test_an_id_that_is_there_cannot_be_started_again(stage: Stage, *, stopped: bool) -> None:
    stage.supervisor(stage.worker("a"))
    if stopped:
        stage.ask(TerminateChild("a"))
    with pytest.raises(InvalidSpec, match="already there"):
        stage.ask(StartChild(stage.worker("a")))


def test_a_wrong_specification_is_refused_and_harmless(stage: Stage) -> None:
    stage.supervisor()
    with pytest.raises(InvalidSpec, match="shutdown_s"):
        stage.ask(StartChild(stage.worker("a", shutdown_s=-1)))
    assert stage.children() == {}


def test_terminating_a_stopped_child_is_harmless(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"))
    for _ in "12":
        assert stage.ask(TerminateChild("a")).status is ChildStatus.STOPPED


def test_two_callers_may_wait_for_the_same_stop(stage: Stage) -> None:
    stage.lingering.add("a")
    stage.supervisor(stage.worker("a", shutdown_s=3))
    answers = [stage.begin(TerminateChild("a")) for _ in "12"]
    stage.timers.expire(3)
    assert [answer.result(5).status for answer in answers] == [ChildStatus.STOPPED] * 2


def test_a_caller_that_has_gone_away_is_no_harm(stage: Stage) -> None:
    stage.supervisor()
    stage.holds["a"] = threading.Event()
    assert stage.begin(StartChild(stage.worker("a"))).cancel()
    stage.holds["a"].set()
    stage.wait("status", "a", ChildStatus.RUNNING)


def test_a_terminated_temporary_child_is_forgotten(stage: Stage) -> None:
    stage.supervisor(stage.worker("a", restart=Restart.TEMPORARY))
    stage.ask(TerminateChild("a"))
    assert stage.children() == {}


@pytest.mark.parametrize("restart", list(Restart))
def test_nothing_is_kept_of_a_dynamic_child_that_did_not_start(
    stage: Stage, restart: Restart
) -> None:
    stage.supervisor(stage.worker("a"))
    stage.failures["x"] = 1
    with pytest.raises(RuntimeError, match="x did not start: OSError: scripted"):
        stage.ask(StartChild(stage.worker("x", restart=restart)))
    assert stage.children() == {"a": ChildStatus.RUNNING}
    assert not stage.watcher.restarts
    assert stage.ask(StartChild(stage.worker("x", restart=restart))).status is ChildStatus.RUNNING


@pytest.mark.parametrize("fresh", [False, True])
def test_a_failed_restart_by_hand_keeps_the_specification(stage: Stage, *, fresh: bool) -> None:
    stage.supervisor()
    if fresh:  # terminated before it was ever up
        stage.holds["x"] = threading.Event()
        stage.begin(StartChild(stage.worker("x")))
        done = stage.begin(TerminateChild("x"))
        stage.holds.pop("x").set()
        done.result(5)
    else:
        stage.ask(StartChild(stage.worker("x")))
        stage.ask(TerminateChild("x"))
    stage.failures["x"] = 1
    with pytest.raises(RuntimeError, match="did not start"):
        stage.ask(RestartChild("x"))
    assert stage.children() == {"x": ChildStatus.STOPPED}
    assert not stage.watcher.restarts
    assert stage.ask(RestartChild("x")).status is ChildStatus.RUNNING


def test_a_child_terminated_while_it_starts_fails_its_starter_and_stays_down(stage: Stage) -> None:
    stage.supervisor()
    stage.holds["x"] = threading.Event()
    started = stage.begin(StartChild(stage.worker("x")))
    stage.wait("held", "x")
    done = stage.begin(TerminateChild("x"))
    with pytest.raises(RuntimeError, match="terminated before it had started"):
        started.result(5)
    stage.holds["x"].set()
    assert done.result(5).status is ChildStatus.STOPPED
    assert stage.children() == {"x": ChildStatus.STOPPED}


def test_a_child_that_is_starting_or_stopping_counts_as_running(stage: Stage) -> None:
    stage.supervisor()
    stage.holds["x"] = threading.Event()
    stage.begin(StartChild(stage.worker("x")))
    stage.wait("held", "x")
    for message in [RestartChild("x"), DeleteChild("x")]:
        with pytest.raises(InvalidSpec, match="is running"):
            stage.ask(message)
    stage.begin(TerminateChild("x"))
    for message in [RestartChild("x"), DeleteChild("x")]:
        with pytest.raises(InvalidSpec, match="is running"):
            stage.ask(message)
    stage.holds["x"].set()


def test_an_id_that_comes_back_does_not_take_its_predecessors_notices(stage: Stage) -> None:
    stage.supervisor()
    gate = stage.holds["x"] = threading.Event()
    stage.begin(StartChild(stage.worker("x", shutdown_s=3)))
    stage.wait("held", "x")
    done = stage.begin(TerminateChild("x"))
    stage.timers.expire(3)
    done.result(5)
    stage.ask(DeleteChild("x"))
    del stage.holds["x"]
    assert stage.ask(StartChild(stage.worker("x"))).incarnation == 2
    gate.set()
    stage.wait("down", "x")
    stage.wait_delivered(4)
    assert stage.children() == {"x": ChildStatus.RUNNING}


def test_incarnations_are_never_used_twice_for_one_id(stage: Stage) -> None:
    stage.supervisor()
    seen = []
    for child_id in "xyxxy":
        seen.append((child_id, stage.ask(StartChild(stage.worker(child_id))).incarnation))
        stage.ask(TerminateChild(child_id))
        stage.ask(DeleteChild(child_id))
    assert len(set(seen)) == 5


def test_children_are_counted_as_otp_counts_them(stage: Stage) -> None:
    stage.supervisor(
        stage.worker("a"), stage.nested("b", SupervisorSpec()), stage.worker("c"), stage.worker("d")
    )
    stage.ask(TerminateChild("c"))
    counts = ChildCounts(specs=4, active=3, supervisors=1, workers=3)
    assert stage.ask(CountChildren()) == counts


def test_a_dynamic_supervisor_is_up_when_its_children_are(stage: Stage) -> None:
    stage.supervisor()
    stage.holds["b"] = threading.Event()
    inner = SupervisorSpec(children=[stage.worker("b")])
    started = stage.begin(StartChild(stage.nested("inner", inner)))
    stage.wait("held", "b")
    assert stage.children() == {"inner": ChildStatus.STARTING}
    stage.holds["b"].set()
    assert started.result(5).type is ChildType.SUPERVISOR


class Manager(WatchedSupervisor):
    """Uses the methods that subclasses are promised, in its own thread."""

    def init(self) -> None:
        super().init()
        self.start_child(self.stage.worker("mine"))

    def receive(self, message: object) -> object:
        if isinstance(message, tuple):
            return self.tell_child(message[0], message[1])
        if isinstance(message, str):
            return self.child(message)
        return super().receive(message)


def test_a_subclass_starts_children_in_its_init_and_talks_to_them(stage: Stage) -> None:
    manager: Ref = Manager.start(
        stage=stage,
        link=stage.link("manager", 1, lambda _: None), spec=SupervisorSpec(), timers=stage.timers,
        clock=stage.clock, observer=stage.watcher,
    )  # fmt: skip
    stage.cast("manager", manager)
    stage.wait("up", "mine")
    assert manager.ask(("mine", "hello"), timeout=5)
    stage.wait("got", "mine", "hello")
    assert manager.ask("mine", timeout=5) == stage.ask(WhichChildren(), "manager")[0]
    assert manager.ask("nobody", timeout=5) is None
    stage.ask(TerminateChild("mine"), "manager")
    assert not manager.ask(("mine", "hello"), timeout=5)
    assert not manager.ask(("nobody", "hello"), timeout=5)


def test_an_unknown_message_that_is_asked_is_an_error_and_harmless(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"))
    with pytest.raises(TypeError, match="takes no int"):
        stage.ask(7)
    assert stage.children() == {"a": ChildStatus.RUNNING}


class BrokenHook(WatchedSupervisor):
    """Has a bug that shows when a child is about to start."""

    def child_changed(self, info: ChildInfo) -> None:
        super().child_changed(info)
        if info.child_id == "b":
            raise ZeroDivisionError("hook")


def test_a_subclass_whose_hook_fails_in_an_ask_ends_and_leaves_no_half_started_child(
    stage: Stage,
) -> None:
    manager: Ref = BrokenHook.start(
        stage=stage,
        link=stage.link("manager", 1, lambda _: None), spec=SupervisorSpec(children=[stage.worker("a")]),
        timers=stage.timers, clock=stage.clock, observer=stage.watcher,
    )  # fmt: skip
    stage.cast("manager", manager)
    stage.wait("up", "manager")
    assert isinstance(
        stage.refs["manager"][-1].ask(StartChild(stage.worker("b")), timeout=5), Future
    )
    stage.wait("down", "manager", ExitKind.FAILED)
    for child_id in "ab":
        stage.wait("down", child_id, ExitKind.SHUTDOWN)
    assert [e.reason.error for e in stage.exits if e.child_id == "manager"] == [
        "ZeroDivisionError: hook"
    ]
