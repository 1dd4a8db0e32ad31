from __future__ import annotations

import pytest

from streamwarden.supervision import ChildStatus, Intensity, Shutdown, SupervisorSpec, WhichChildren
from streamwarden.supervision._actor import ExitKind
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import TerminateChild
from tests.unit.supervision.harness import ROOT, Crash, Harness


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_restart_too_many_stops_all_children_and_fails_the_supervisor(
    harness: Harness, strategy: Strategy
) -> None:
    harness.supervisor(
        *(harness.worker(child_id) for child_id in "abc"), strategy=strategy, limit=Intensity(2, 5)
    )
    for incarnation in "23":
        harness.crash("c")
        harness.wait("status", "c", ChildStatus.RUNNING, incarnation)
    harness.forget()
    harness.crash("c")
    harness.wait("down", ROOT, ExitKind.FAILED)
    assert harness.lives() == [("down", child_id) for child_id in ["c", "b", "a", ROOT]]
    assert "c ended too often" in (harness.exits[-1].reason.error or "")


def test_restarts_of_all_children_count_together(harness: Harness) -> None:
    harness.supervisor(*(harness.worker(child_id) for child_id in "abc"), limit=Intensity(2, 5))
    for child_id in "ab":
        harness.crash(child_id)
        harness.wait("status", child_id, ChildStatus.RUNNING, "2")
    harness.crash("c")
    harness.wait("down", ROOT, ExitKind.FAILED)


def test_no_restart_is_made_at_intensity_zero(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), limit=Intensity(0, 5))
    harness.crash("a")
    harness.wait("down", ROOT, ExitKind.FAILED)
    assert not harness.observer.restarts


def test_restarts_older_than_the_period_do_not_count(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), limit=Intensity(1, 5))
    for incarnation in range(2, 8):
        harness.crash("a")
        harness.wait("status", "a", ChildStatus.RUNNING, str(incarnation))
        harness.clock.advance(5.001)
    assert harness.observer.restarts == {"a": 6}


def test_a_restart_exactly_a_period_ago_still_counts(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), limit=Intensity(1, 5))
    harness.crash("a")
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    harness.clock.advance(5.0)
    harness.crash("a")
    harness.wait("down", ROOT, ExitKind.FAILED)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_child_that_cannot_come_up_again_uses_the_restarts_up(
    harness: Harness, strategy: Strategy
) -> None:
    harness.supervisor(harness.worker("a"), strategy=strategy, limit=Intensity(4, 5))
    harness.failures["a"] = 100
    harness.crash("a")
    harness.wait("down", ROOT, ExitKind.FAILED)
    assert harness.failures["a"] == 96


def test_a_child_that_never_comes_up_does_not_keep_the_supervisor_from_its_calls(
    harness: Harness,
) -> None:
    """OTP's hanging restart loop: each try is a message of its own."""
    harness.supervisor(harness.worker("a"), harness.worker("b"), limit=Intensity(10**6, 5))
    harness.failures["a"] = 10**9
    harness.crash("a")
    harness.wait("down", "a", times=20)
    done = harness.begin(TerminateChild("a"))
    assert done.result(5).status is ChildStatus.STOPPED
    assert harness.children() == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}


def test_a_supervisor_with_a_restart_loop_can_be_shut_down(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), limit=Intensity(10**6, 5))
    harness.failures["a"] = 10**9
    harness.crash("a")
    harness.wait("down", "a", times=20)
    harness.tell(ROOT, Shutdown())
    harness.wait("down", ROOT, ExitKind.SHUTDOWN)


def tree(
    harness: Harness,
    *,
    limit: int = 1,
    parent: int = 3,
    restart: Restart = Restart.PERMANENT,
) -> None:
    inner = SupervisorSpec(
        children=[harness.worker("b"), harness.worker("c")], limit=Intensity(limit, 5)
    )
    harness.supervisor(
        harness.worker("a"), harness.nested("inner", inner, restart=restart), harness.worker("d"),
        limit=Intensity(parent, 5), strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    harness.forget()


def test_a_crash_within_the_limit_is_no_business_of_the_parents(harness: Harness) -> None:
    tree(harness)
    harness.crash("c")
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.lives() == [("down", "c"), ("up", "c")]
    assert harness.observer.restarts == {"c": 1}


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent(
    harness: Harness, restart: Restart
) -> None:
    tree(harness, limit=0, restart=restart)
    harness.crash("c")
    harness.wait("status", "d", ChildStatus.RUNNING, "2")
    assert harness.lives() == [
        ("down", "c"), ("down", "b"), ("down", "inner"), ("down", "d"),
        ("up", "b"), ("up", "c"), ("up", "inner"), ("up", "d"),
    ]  # fmt: skip
    assert harness.observer.restarts == {"inner": 1}


def test_a_restarted_supervisor_counts_its_restarts_from_nothing(harness: Harness) -> None:
    tree(harness)
    for _ in "123":
        harness.forget()
        harness.crash("c")
        harness.wait("status", "c", ChildStatus.RUNNING)
    assert harness.observer.restarts == {"c": 2, "inner": 1}


def test_escalation_reaches_the_root(harness: Harness) -> None:
    tree(harness, limit=0, parent=0)
    harness.crash("b")
    harness.wait("down", ROOT, ExitKind.FAILED)
    assert [event[1] for event in harness.lives()] == ["b", "c", "inner", "d", "a", ROOT]


def test_a_crashed_supervisor_takes_its_children_along_and_is_restarted(
    harness: Harness,
) -> None:
    tree(harness)
    before = [harness.refs[child_id][-1] for child_id in "bc"]
    harness.tell("inner", Crash(ValueError("bug in the supervisor")))
    harness.wait("status", "d", ChildStatus.RUNNING, "2")
    for ref in before:
        assert ref.actor_stopped.wait(5)
    assert harness.children("inner") == {"b": ChildStatus.RUNNING, "c": ChildStatus.RUNNING}
    assert [e.reason.kind for e in harness.exits if e.child_id == "inner"] == [ExitKind.FAILED]


def test_a_crashed_root_leaves_nobody_behind_at_any_depth(harness: Harness) -> None:
    tree(harness)
    harness.tell(ROOT, Crash(SystemExit(1)))
    for child_id in ["a", "b", "c", "d", "inner"]:
        harness.wait("down", child_id, ExitKind.SHUTDOWN)


def test_a_supervisor_stopped_from_outside_takes_its_children_along(
    harness: Harness,
) -> None:
    tree(harness)
    harness.refs[ROOT][-1].stop(block=True, timeout=5)
    for child_id in ["a", "b", "c", "d", "inner"]:
        harness.wait("down", child_id, ExitKind.SHUTDOWN)


def test_a_call_to_a_nested_supervisor_concerns_that_one(harness: Harness) -> None:
    tree(harness)
    assert [info.child_id for info in harness.ask(WhichChildren(), "inner")] == ["b", "c"]
    harness.ask(TerminateChild("c"), "inner")
    assert harness.children() == dict.fromkeys(["a", "inner", "d"], ChildStatus.RUNNING)
