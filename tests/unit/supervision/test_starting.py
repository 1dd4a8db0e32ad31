from __future__ import annotations

import threading
from typing import Any

import pytest

from streamwarden.supervision import (
    ChildSpec,
    ChildStatus,
    Intensity,
    Link,
    Shutdown,
    SupervisorSpec,
    WhichChildren,
)
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import CountChildren, StartChild, TerminateChild
from tests.unit.supervision.stage import ROOT, Ref, Stage, Worker, shut_down


def test_children_start_from_left_to_right_and_the_supervisor_is_up_after_them(
    stage: Stage,
) -> None:
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"))
    assert stage.lives() == [("up", "a"), ("up", "b"), ("up", "c"), ("up", ROOT)]


def test_a_child_starts_only_when_the_one_before_it_is_up(stage: Stage) -> None:
    stage.holds["a"] = threading.Event()
    stage.supervisor(stage.worker("a"), stage.worker("b"), ready=False)
    stage.wait("held", "a")
    assert stage.children() == {"a": ChildStatus.STARTING, "b": ChildStatus.STOPPED}
    stage.holds["a"].set()
    stage.wait("up", ROOT)
    assert stage.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.RUNNING}


def test_a_supervisor_without_children_starts_and_stops(stage: Stage) -> None:
    stage.supervisor()
    shut_down(stage)
    assert stage.lives() == [("up", ROOT), ("down", ROOT)]


def test_a_failed_start_is_rolled_back_from_right_to_left(stage: Stage) -> None:
    stage.failures["c"] = 1
    stage.supervisor(*(stage.worker(child_id) for child_id in "abcd"), ready=False)
    stage.wait("down", ROOT, ExitKind.START_FAILED)
    assert stage.lives() == [
        ("up", "a"), ("up", "b"), ("down", "c"), ("down", "b"), ("down", "a"), ("down", ROOT),
    ]  # fmt: skip
    assert stage.exits[-1].reason.error == "OSError: scripted"
    assert not stage.watcher.restarts


def raising(error: BaseException) -> ChildSpec:
    def start(_: Link) -> Ref:
        raise error

    return ChildSpec(id="raising", start=start)


def returning(value: Any) -> ChildSpec:  # noqa: ANN401 - wrong on purpose
    return ChildSpec(id="returning", start=lambda _: value)


@pytest.mark.parametrize("spec", [raising(OSError("no")), raising(SystemExit(1)), returning(None)])
def test_whatever_start_does_wrong_is_a_failed_start(stage: Stage, spec: ChildSpec) -> None:
    stage.supervisor(stage.worker("a"), spec, ready=False)
    stage.wait("down", ROOT, ExitKind.START_FAILED)
    assert stage.lives() == [("up", "a"), ("down", "a"), ("down", ROOT)]


class FinishesInInit(Worker):
    def init(self) -> None:
        self.finish()


def test_a_child_that_ends_while_it_starts_is_a_failed_start(stage: Stage) -> None:
    def start(link: Link) -> Ref:
        traced = stage.link(link.child_id, link.incarnation, link.notify)
        return stage.cast("a", FinishesInInit.start(link=traced, stage=stage))

    stage.supervisor(ChildSpec(id="a", start=start), ready=False)
    stage.wait("down", ROOT, ExitKind.START_FAILED)
    assert stage.exits[-1].reason.error == "it ended while starting: normal"


def test_a_failed_start_in_a_nested_supervisor_rolls_the_whole_tree_back(stage: Stage) -> None:
    stage.failures["deep"] = 1
    inner = SupervisorSpec(children=[stage.worker("b"), stage.worker("deep")])
    stage.supervisor(stage.worker("a"), stage.nested("inner", inner), ready=False)
    stage.wait("down", ROOT, ExitKind.START_FAILED)
    assert stage.lives() == [
        ("up", "a"), ("up", "b"), ("down", "deep"), ("down", "b"), ("down", "inner"), ("down", "a"),
        ("down", ROOT),
    ]  # fmt: skip


def test_a_shutdown_while_children_start_stops_those_that_are_there(stage: Stage) -> None:
    stage.holds["b"] = threading.Event()
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"), ready=False)
    stage.wait("held", "b")
    stage.tell(ROOT, Shutdown())
    stage.wait("status", "b", ChildStatus.STOPPING)
    stage.holds["b"].set()
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert stage.lives() == [
        ("up", "a"), ("up", "b"), ("down", "b"), ("down", "a"), ("down", ROOT),
    ]  # fmt: skip


def test_a_shutdown_at_the_moment_of_a_failed_start_still_ends_the_supervisor(stage: Stage) -> None:
    """The notice of the failed start is behind the shutdown in the inbox."""

    def start(_: Link) -> Ref:
        stage.tell(ROOT, Shutdown())
        raise OSError("no")

    stage.lingering.add("a")
    stage.supervisor(stage.worker("a", shutdown_s=5))
    stage.tell(ROOT, StartChild(ChildSpec(id="b", start=start)))
    stage.wait("asked", "a")
    stage.ask(WhichChildren())
    stage.timers.expire(5)
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not stage.watcher.restarts


def test_a_child_that_crashes_while_its_siblings_start_is_restarted_once_all_are_up(
    stage: Stage,
) -> None:
    stage.holds["b"] = threading.Event()
    stage.supervisor(stage.worker("a"), stage.worker("b"), ready=False)
    stage.wait("held", "b")
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.STOPPED)
    assert stage.ask(CountChildren()).active == 1
    stage.holds["b"].set()
    stage.wait("up", "a", times=2)
    assert stage.lives() == [
        ("up", "a"), ("down", "a"), ("up", "b"), ("up", ROOT), ("up", "a"),
    ]  # fmt: skip


def test_a_static_child_terminated_before_its_turn_is_not_started(stage: Stage) -> None:
    stage.holds["a"] = threading.Event()
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"), ready=False)
    stage.wait("held", "a")
    stage.ask(TerminateChild("b"))
    stage.holds["a"].set()
    stage.wait("up", ROOT)
    assert stage.lives() == [("up", "a"), ("up", "c"), ("up", ROOT)]


def test_a_failing_dynamic_child_does_not_roll_back_a_supervisor_that_is_starting(
    stage: Stage,
) -> None:
    stage.holds["a"] = threading.Event()
    stage.supervisor(stage.worker("a"), ready=False)
    stage.wait("held", "a")
    stage.failures["x"] = 1
    started = stage.begin(StartChild(stage.worker("x")))
    with pytest.raises(RuntimeError, match="OSError: scripted"):
        started.result(5)
    stage.holds["a"].set()
    stage.wait("up", ROOT)
    assert stage.children() == {"a": ChildStatus.RUNNING}


def test_an_ordered_supervisor_starts_a_dynamic_child_after_its_static_ones(stage: Stage) -> None:
    stage.holds["a"] = threading.Event()
    stage.supervisor(stage.worker("a"), strategy=Strategy.REST_FOR_ONE, ready=False)
    stage.wait("held", "a")
    started = stage.begin(StartChild(stage.worker("x")))
    assert stage.children()["x"] is ChildStatus.STOPPED
    stage.holds["a"].set()
    assert started.result(5).status is ChildStatus.RUNNING
    assert [event[1] for event in stage.lives() if event[1] != ROOT] == ["a", "x"]


def test_many_children_that_crash_while_one_starts_are_all_restarted(stage: Stage) -> None:
    names = [f"w{number}" for number in range(60)]
    stage.holds["last"] = threading.Event()
    children = [stage.worker(name) for name in [*names, "last"]]
    stage.supervisor(*children, limit=Intensity(100, 5), ready=False)
    stage.wait("held", "last")
    for name in names:
        stage.crash(name)
    for name in names:
        stage.wait("status", name, ChildStatus.STOPPED)
    stage.holds["last"].set()
    for name in names:
        stage.wait("up", name, times=2)
    assert set(stage.children().values()) == {ChildStatus.RUNNING}


def test_a_temporary_child_whose_static_start_fails_fails_the_supervisor(stage: Stage) -> None:
    stage.failures["a"] = 1
    stage.supervisor(stage.worker("a", restart=Restart.TEMPORARY), ready=False)
    stage.wait("down", ROOT, ExitKind.START_FAILED)
