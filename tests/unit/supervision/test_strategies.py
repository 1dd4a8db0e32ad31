from __future__ import annotations

import threading

import pytest

from streamwarden.supervision import ChildStatus, Intensity
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import TerminateChild
from tests.unit.supervision.stage import ROOT, Event, Hold, Stage, shut_down

PLENTY = Intensity(20, 5)


def lives_after_crash(
    stage: Stage, strategy: Strategy, crashed: str, *, expected: int
) -> list[Event]:
    stage.supervisor(
        *(stage.worker(child_id) for child_id in "abcd"), strategy=strategy, limit=PLENTY
    )
    stage.forget()
    stage.crash(crashed)
    stage.wait_delivered(5 + expected)
    return stage.lives()


def test_one_for_one_restarts_only_the_one_that_crashed(stage: Stage) -> None:
    lives = lives_after_crash(stage, Strategy.ONE_FOR_ONE, "b", expected=2)
    assert lives == [("down", "b"), ("up", "b")]


def test_one_for_all_stops_the_others_from_the_right_and_starts_all_from_the_left(
    stage: Stage,
) -> None:
    assert lives_after_crash(stage, Strategy.ONE_FOR_ALL, "b", expected=8) == [
        ("down", "b"), ("down", "d"), ("down", "c"), ("down", "a"),
        ("up", "a"), ("up", "b"), ("up", "c"), ("up", "d"),
    ]  # fmt: skip


def test_rest_for_one_leaves_those_before_the_crashed_one_alone(stage: Stage) -> None:
    assert lives_after_crash(stage, Strategy.REST_FOR_ONE, "b", expected=6) == [
        ("down", "b"), ("down", "d"), ("down", "c"), ("up", "b"), ("up", "c"), ("up", "d"),
    ]  # fmt: skip


def test_rest_for_one_of_the_last_restarts_only_that(stage: Stage) -> None:
    lives = lives_after_crash(stage, Strategy.REST_FOR_ONE, "d", expected=2)
    assert lives == [("down", "d"), ("up", "d")]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_temporary_bystander_is_stopped_and_not_started_again(
    stage: Stage, strategy: Strategy
) -> None:
    stage.supervisor(
        stage.worker("a"), stage.worker("b", restart=Restart.TEMPORARY), stage.worker("c"),
        strategy=strategy,
    )  # fmt: skip
    stage.forget()
    stage.crash("a")
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.lives() == [("down", "a"), ("down", "c"), ("down", "b"), ("up", "a"), ("up", "c")]
    assert list(stage.children()) == ["a", "c"]


def test_rest_for_one_spares_a_temporary_child_before_the_crashed_one(stage: Stage) -> None:
    stage.supervisor(
        stage.worker("a", restart=Restart.TEMPORARY), stage.worker("b"),
        strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    stage.crash("b")
    stage.wait("status", "b", ChildStatus.RUNNING, "2")
    assert list(stage.children()) == ["a", "b"]


def test_one_for_all_also_starts_a_child_that_had_ended_before(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), stage.worker("b"), strategy=Strategy.ONE_FOR_ALL)
    stage.ask(TerminateChild("b"))
    stage.crash("a")
    stage.wait("status", "b", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_siblings_that_crash_together_cost_one_restart(stage: Stage, strategy: Strategy) -> None:
    """All three are dead when the supervisor hears of the first."""
    stage.supervisor(
        *(stage.worker(child_id) for child_id in "abc"), strategy=strategy, limit=Intensity(1, 5)
    )
    gate = threading.Event()
    stage.tell(ROOT, Hold(gate))
    stage.wait("held", ROOT)
    for child_id in "abc":
        stage.crash(child_id)
        stage.wait("down", child_id)
    gate.set()
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert set(stage.children().values()) == {ChildStatus.RUNNING}
    assert sum(stage.watcher.restarts.values()) == 1


def test_one_for_all_begins_again_when_another_child_fails_to_restart(stage: Stage) -> None:
    stage.supervisor(
        stage.worker("a"), stage.worker("b"), strategy=Strategy.ONE_FOR_ALL, limit=PLENTY
    )
    stage.forget()
    stage.failures["b"] = 1
    stage.crash("a")
    stage.wait("status", "b", ChildStatus.RUNNING, "3")
    assert stage.lives() == [
        ("down", "a"), ("down", "b"), ("up", "a"), ("down", "b"), ("down", "a"),
        ("up", "a"), ("up", "b"),
    ]  # fmt: skip
    assert stage.watcher.restarts == {"a": 1, "b": 1}


def test_rest_for_one_goes_on_from_the_child_that_fails_to_restart(stage: Stage) -> None:
    stage.supervisor(
        *(stage.worker(child_id) for child_id in "abc"),
        strategy=Strategy.REST_FOR_ONE,
        limit=PLENTY,
    )
    stage.forget()
    stage.failures["b"] = 2
    stage.crash("a")
    stage.wait("status", "c", ChildStatus.RUNNING, "2")
    assert stage.lives() == [
        ("down", "a"), ("down", "c"), ("down", "b"), ("up", "a"), ("down", "b"), ("down", "b"),
        ("up", "b"), ("up", "c"),
    ]  # fmt: skip
    assert stage.watcher.restarts == {"a": 1, "b": 2}


def test_a_restarted_tree_still_stops_in_order(stage: Stage) -> None:
    lives_after_crash(stage, Strategy.ONE_FOR_ALL, "c", expected=8)
    stage.forget()
    shut_down(stage)
    assert stage.lives() == [("down", child_id) for child_id in [*"dcba", ROOT]]
