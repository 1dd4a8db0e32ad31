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
from tests.unit.supervision.harness import ROOT, Harness, Ref, Worker, shut_down


def test_children_start_from_left_to_right_and_the_supervisor_is_up_after_them(
    harness: Harness,
) -> None:
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"))
    assert harness.lives() == [("up", "a"), ("up", "b"), ("up", "c"), ("up", ROOT)]


def test_a_child_starts_only_when_the_one_before_it_is_up(harness: Harness) -> None:
    harness.holds["a"] = threading.Event()
    harness.supervisor(harness.worker("a"), harness.worker("b"), ready=False)
    harness.wait("held", "a")
    assert harness.children() == {"a": ChildStatus.STARTING, "b": ChildStatus.STOPPED}
    harness.holds["a"].set()
    harness.wait("up", ROOT)
    assert harness.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.RUNNING}


def test_a_supervisor_without_children_starts_and_stops(harness: Harness) -> None:
    harness.supervisor()
    shut_down(harness)
    assert harness.lives() == [("up", ROOT), ("down", ROOT)]


def test_a_failed_start_is_rolled_back_from_right_to_left(harness: Harness) -> None:
    harness.failures["c"] = 1
    harness.supervisor(*(harness.worker(child_id) for child_id in "abcd"), ready=False)
    harness.wait("down", ROOT, ExitKind.START_FAILED)
    assert harness.lives() == [
        ("up", "a"), ("up", "b"), ("down", "c"), ("down", "b"), ("down", "a"), ("down", ROOT),
    ]  # fmt: skip
    assert harness.exits[-1].reason.error == "OSError: scripted"
    assert not harness.observer.restarts


def raising(error: BaseException) -> ChildSpec:
    def start(_: Link) -> Ref:
        raise error

    return ChildSpec(id="raising", start=start)


def returning(value: Any) -> ChildSpec:  # noqa: ANN401 - wrong on purpose
    return ChildSpec(id="returning", start=lambda _: value)


@pytest.mark.parametrize("spec", [raising(OSError("no")), raising(SystemExit(1)), returning(None)])
def test_whatever_start_does_wrong_is_a_failed_start(harness: Harness, spec: ChildSpec) -> None:
    harness.supervisor(harness.worker("a"), spec, ready=False)
    harness.wait("down", ROOT, ExitKind.START_FAILED)
    assert harness.lives() == [("up", "a"), ("down", "a"), ("down", ROOT)]


class FinishesInInit(Worker):
    def init(self) -> None:
        self.finish()


def test_a_child_that_ends_while_it_starts_is_a_failed_start(harness: Harness) -> None:
    def start(link: Link) -> Ref:
        traced = harness.link(link.child_id, link.incarnation, link.notify)
        return harness.cast("a", FinishesInInit.start(link=traced, harness=harness))

    harness.supervisor(ChildSpec(id="a", start=start), ready=False)
    harness.wait("down", ROOT, ExitKind.START_FAILED)
    assert harness.exits[-1].reason.error == "it ended while starting: normal"


def test_a_failed_start_in_a_nested_supervisor_rolls_the_whole_tree_back(
    harness: Harness,
) -> None:
    harness.failures["deep"] = 1
    inner = SupervisorSpec(children=[harness.worker("b"), harness.worker("deep")])
    harness.supervisor(harness.worker("a"), harness.nested("inner", inner), ready=False)
    harness.wait("down", ROOT, ExitKind.START_FAILED)
    assert harness.lives() == [
        ("up", "a"), ("up", "b"), ("down", "deep"), ("down", "b"), ("down", "inner"), ("down", "a"),
        ("down", ROOT),
    ]  # fmt: skip


def test_a_shutdown_while_children_start_stops_those_that_are_there(
    harness: Harness,
) -> None:
    harness.holds["b"] = threading.Event()
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"), ready=False)
    harness.wait("held", "b")
    harness.tell(ROOT, Shutdown())
    harness.wait("status", "b", ChildStatus.STOPPING)
    harness.holds["b"].set()
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert harness.lives() == [
        ("up", "a"), ("up", "b"), ("down", "b"), ("down", "a"), ("down", ROOT),
    ]  # fmt: skip


def test_a_shutdown_at_the_moment_of_a_failed_start_still_ends_the_supervisor(
    harness: Harness,
) -> None:
    """The notice of the failed start is behind the shutdown in the inbox."""

    def start(_: Link) -> Ref:
        harness.tell(ROOT, Shutdown())
        raise OSError("no")

    harness.lingering.add("a")
    harness.supervisor(harness.worker("a", shutdown_s=5))
    harness.tell(ROOT, StartChild(ChildSpec(id="b", start=start)))
    harness.wait("asked", "a")
    harness.ask(WhichChildren())
    harness.timers.expire(5)
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)
    assert not harness.observer.restarts


def test_a_child_that_crashes_while_its_siblings_start_is_restarted_once_all_are_up(
    harness: Harness,
) -> None:
    harness.holds["b"] = threading.Event()
    harness.supervisor(harness.worker("a"), harness.worker("b"), ready=False)
    harness.wait("held", "b")
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.STOPPED)
    assert harness.ask(CountChildren()).active == 1
    harness.holds["b"].set()
    harness.wait("up", "a", times=2)
    assert harness.lives() == [
        ("up", "a"), ("down", "a"), ("up", "b"), ("up", ROOT), ("up", "a"),
    ]  # fmt: skip


def test_a_static_child_terminated_before_its_turn_is_not_started(harness: Harness) -> None:
    harness.holds["a"] = threading.Event()
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"), ready=False)
    harness.wait("held", "a")
    harness.ask(TerminateChild("b"))
    harness.holds["a"].set()
    harness.wait("up", ROOT)
    assert harness.lives() == [("up", "a"), ("up", "c"), ("up", ROOT)]


def test_a_failing_dynamic_child_does_not_roll_back_a_supervisor_that_is_starting(
    harness: Harness,
) -> None:
    harness.holds["a"] = threading.Event()
    harness.supervisor(harness.worker("a"), ready=False)
    harness.wait("held", "a")
    harness.failures["x"] = 1
    started = harness.begin(StartChild(harness.worker("x")))
    with pytest.raises(RuntimeError, match="OSError: scripted"):
        started.result(5)
    harness.holds["a"].set()
    harness.wait("up", ROOT)
    assert harness.children() == {"a": ChildStatus.RUNNING}


def test_an_ordered_supervisor_starts_a_dynamic_child_after_its_static_ones(
    harness: Harness,
) -> None:
    harness.holds["a"] = threading.Event()
    harness.supervisor(harness.worker("a"), strategy=Strategy.REST_FOR_ONE, ready=False)
    harness.wait("held", "a")
    started = harness.begin(StartChild(harness.worker("x")))
    assert harness.children()["x"] is ChildStatus.STOPPED
    harness.holds["a"].set()
    assert started.result(5).status is ChildStatus.RUNNING
    assert [event[1] for event in harness.lives() if event[1] != ROOT] == ["a", "x"]


def test_many_children_that_crash_while_one_starts_are_all_restarted(
    harness: Harness,
) -> None:
    names = [f"w{number}" for number in range(60)]
    harness.holds["last"] = threading.Event()
    children = [harness.worker(name) for name in [*names, "last"]]
    harness.supervisor(*children, limit=Intensity(100, 5), ready=False)
    harness.wait("held", "last")
    for name in names:
        harness.crash(name)
    for name in names:
        harness.wait("status", name, ChildStatus.STOPPED)
    harness.holds["last"].set()
    for name in names:
        harness.wait("up", name, times=2)
    assert set(harness.children().values()) == {ChildStatus.RUNNING}


def test_a_temporary_child_whose_static_start_fails_fails_the_supervisor(
    harness: Harness,
) -> None:
    harness.failures["a"] = 1
    harness.supervisor(harness.worker("a", restart=Restart.TEMPORARY), ready=False)
    harness.wait("down", ROOT, ExitKind.START_FAILED)
