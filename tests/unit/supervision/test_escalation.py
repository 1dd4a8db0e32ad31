from __future__ import annotations

import pytest

from streamwarden.supervision import ChildStatus, Intensity, Shutdown, SupervisorSpec, WhichChildren
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import TerminateChild
from tests.unit.supervision.stage import ROOT, Crash, Stage


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_restart_too_many_stops_all_children_and_fails_the_supervisor(
    stage: Stage, strategy: Strategy
) -> None:
    stage.supervisor(
        *(stage.worker(child_id) for child_id in "abc"), strategy=strategy, limit=Intensity(2, 5)
    )
    for incarnation in "23":
        stage.crash("c")
        stage.wait("status", "c", ChildStatus.RUNNING, incarnation)
    stage.forget()
    stage.crash("c")
    stage.wait("down", ROOT, ExitKind.FAILED)
    assert stage.lives() == [("down", child_id) for child_id in ["c", "b", "a", ROOT]]
    assert "c ended too often" in (stage.exits[-1].reason.error or "")


def test_restarts_of_all_children_count_together(stage: Stage) -> None:
    stage.supervisor(*(stage.worker(child_id) for child_id in "abc"), limit=Intensity(2, 5))
    for child_id in "ab":
        stage.crash(child_id)
        stage.wait("status", child_id, ChildStatus.RUNNING, "2")
    stage.crash("c")
    stage.wait("down", ROOT, ExitKind.FAILED)


def test_no_restart_is_made_at_intensity_zero(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), limit=Intensity(0, 5))
    stage.crash("a")
    stage.wait("down", ROOT, ExitKind.FAILED)
    assert not stage.watcher.restarts


def test_restarts_older_than_the_period_do_not_count(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), limit=Intensity(1, 5))
    for incarnation in range(2, 8):
        stage.crash("a")
        stage.wait("status", "a", ChildStatus.RUNNING, str(incarnation))
        stage.clock.seconds += 5.001
    assert stage.watcher.restarts == {"a": 6}


def test_a_restart_exactly_a_period_ago_still_counts(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), limit=Intensity(1, 5))
    stage.crash("a")
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    stage.clock.seconds += 5.0
    stage.crash("a")
    stage.wait("down", ROOT, ExitKind.FAILED)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_child_that_cannot_come_up_again_uses_the_restarts_up(
    stage: Stage, strategy: Strategy
) -> None:
    stage.supervisor(stage.worker("a"), strategy=strategy, limit=Intensity(4, 5))
    stage.failures["a"] = 100
    stage.crash("a")
    stage.wait("down", ROOT, ExitKind.FAILED)
    assert stage.failures["a"] == 96


def test_a_child_that_never_comes_up_does_not_keep_the_supervisor_from_its_calls(
    stage: Stage,
) -> None:
    """OTP's hanging restart loop: each try is a message of its own."""
    stage.supervisor(stage.worker("a"), stage.worker("b"), limit=Intensity(10**6, 5))
    stage.failures["a"] = 10**9
    stage.crash("a")
    stage.wait("down", "a", times=20)
    done = stage.begin(TerminateChild("a"))
    assert done.result(5).status is ChildStatus.STOPPED
    assert stage.children() == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}


def test_a_supervisor_with_a_restart_loop_can_be_shut_down(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), limit=Intensity(10**6, 5))
    stage.failures["a"] = 10**9
    stage.crash("a")
    stage.wait("down", "a", times=20)
    stage.tell(ROOT, Shutdown())
    stage.wait("down", ROOT, ExitKind.SHUTDOWN)


def tree(
    stage: Stage, *, limit: int = 1, parent: int = 3, restart: Restart = Restart.PERMANENT
) -> None:
    inner = SupervisorSpec(
        children=[stage.worker("b"), stage.worker("c")], limit=Intensity(limit, 5)
    )
    stage.supervisor(
        stage.worker("a"), stage.nested("inner", inner, restart=restart), stage.worker("d"),
        limit=Intensity(parent, 5), strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    stage.forget()


def test_a_crash_within_the_limit_is_no_business_of_the_parents(stage: Stage) -> None:
    tree(stage)
    stage.crash("c")
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.lives() == [("down", "c"), ("up", "c")]
    assert stage.watcher.restarts == {"c": 1}


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent(
    stage: Stage, restart: Restart
) -> None:
    tree(stage, limit=0, restart=restart)
    stage.crash("c")
    stage.wait("status", "d", ChildStatus.RUNNING, "2")
    assert stage.lives() == [
        ("down", "c"), ("down", "b"), ("down", "inner"), ("down", "d"),
        ("up", "b"), ("up", "c"), ("up", "inner"), ("up", "d"),
    ]  # fmt: skip
    assert stage.watcher.restarts == {"inner": 1}


def test_a_restarted_supervisor_counts_its_restarts_from_nothing(stage: Stage) -> None:
    tree(stage)
    for _ in "123":
        stage.forget()
        stage.crash("c")
        stage.wait("status", "c", ChildStatus.RUNNING)
    assert stage.watcher.restarts == {"c": 2, "inner": 1}


def test_escalation_reaches_the_root(stage: Stage) -> None:
    tree(stage, limit=0, parent=0)
    stage.crash("b")
    stage.wait("down", ROOT, ExitKind.FAILED)
    assert [event[1] for event in stage.lives()] == ["b", "c", "inner", "d", "a", ROOT]


def test_a_crashed_supervisor_takes_its_children_along_and_is_restarted(stage: Stage) -> None:
    tree(stage)
    before = [stage.refs[child_id][-1] for child_id in "bc"]
    stage.tell("inner", Crash(ValueError("bug in the supervisor")))
    stage.wait("status", "d", ChildStatus.RUNNING, "2")
    for ref in before:
        assert ref.actor_stopped.wait(5)
    assert stage.children("inner") == {"b": ChildStatus.RUNNING, "c": ChildStatus.RUNNING}
    assert [e.reason.kind for e in stage.exits if e.child_id == "inner"] == [ExitKind.FAILED]


def test_a_crashed_root_leaves_nobody_behind_at_any_depth(stage: Stage) -> None:
    tree(stage)
    stage.tell(ROOT, Crash(SystemExit(1)))
    for child_id in ["a", "b", "c", "d", "inner"]:
        stage.wait("down", child_id, ExitKind.SHUTDOWN)


def test_a_supervisor_stopped_from_outside_takes_its_children_along(stage: Stage) -> None:
    tree(stage)
    stage.refs[ROOT][-1].stop(block=True, timeout=5)
    for child_id in ["a", "b", "c", "d", "inner"]:
        stage.wait("down", child_id, ExitKind.SHUTDOWN)


def test_a_call_to_a_nested_supervisor_concerns_that_one(stage: Stage) -> None:
    tree(stage)
    assert [info.child_id for info in stage.ask(WhichChildren(), "inner")] == ["b", "c"]
    stage.ask(TerminateChild("c"), "inner")
    assert stage.children() == dict.fromkeys(["a", "inner", "d"], ChildStatus.RUNNING)
