from __future__ import annotations

import threading

import pytest

from streamwarden.supervision import ChildStatus, Intensity
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import TerminateChild
from tests.unit.supervision.harness import ROOT, Event, Harness, Hold, shut_down

PLENTY = Intensity(20, 5)


def lives_after_crash(
    harness: Harness, strategy: Strategy, crashed: str, *, expected: int
) -> list[Event]:
    harness.supervisor(
        *(harness.worker(child_id) for child_id in "abcd"), strategy=strategy, limit=PLENTY
    )
    harness.forget()
    harness.crash(crashed)
    harness.wait_delivered(5 + expected)
    return harness.lives()


def test_one_for_one_restarts_only_the_one_that_crashed(harness: Harness) -> None:
    lives = lives_after_crash(harness, Strategy.ONE_FOR_ONE, "b", expected=2)
    assert lives == [("down", "b"), ("up", "b")]


def test_one_for_all_stops_the_others_from_the_right_and_starts_all_from_the_left(
    harness: Harness,
) -> None:
    assert lives_after_crash(harness, Strategy.ONE_FOR_ALL, "b", expected=8) == [
        ("down", "b"), ("down", "d"), ("down", "c"), ("down", "a"),
        ("up", "a"), ("up", "b"), ("up", "c"), ("up", "d"),
    ]  # fmt: skip


def test_rest_for_one_leaves_those_before_the_crashed_one_alone(harness: Harness) -> None:
    assert lives_after_crash(harness, Strategy.REST_FOR_ONE, "b", expected=6) == [
        ("down", "b"), ("down", "d"), ("down", "c"), ("up", "b"), ("up", "c"), ("up", "d"),
    ]  # fmt: skip


def test_rest_for_one_of_the_last_restarts_only_that(harness: Harness) -> None:
    lives = lives_after_crash(harness, Strategy.REST_FOR_ONE, "d", expected=2)
    assert lives == [("down", "d"), ("up", "d")]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_temporary_bystander_is_stopped_and_not_started_again(
    harness: Harness, strategy: Strategy
) -> None:
    harness.supervisor(
        harness.worker("a"), harness.worker("b", restart=Restart.TEMPORARY), harness.worker("c"),
        strategy=strategy,
    )  # fmt: skip
    harness.forget()
    harness.crash("a")
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.lives() == [
        ("down", "a"),
        ("down", "c"),
        ("down", "b"),
        ("up", "a"),
        ("up", "c"),
    ]
    assert list(harness.children()) == ["a", "c"]


def test_rest_for_one_spares_a_temporary_child_before_the_crashed_one(
    harness: Harness,
) -> None:
    harness.supervisor(
        harness.worker("a", restart=Restart.TEMPORARY), harness.worker("b"),
        strategy=Strategy.REST_FOR_ONE,
    )  # fmt: skip
    harness.crash("b")
    harness.wait("status", "b", ChildStatus.RUNNING, "2")
    assert list(harness.children()) == ["a", "b"]


def test_one_for_all_also_starts_a_child_that_had_ended_before(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), harness.worker("b"), strategy=Strategy.ONE_FOR_ALL)
    harness.ask(TerminateChild("b"))
    harness.crash("a")
    harness.wait("status", "b", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_siblings_that_crash_together_cost_one_restart(
    harness: Harness, strategy: Strategy
) -> None:
    """All three are dead when the supervisor hears of the first."""
    harness.supervisor(
        *(harness.worker(child_id) for child_id in "abc"), strategy=strategy, limit=Intensity(1, 5)
    )
    gate = threading.Event()
    harness.tell(ROOT, Hold(gate))
    harness.wait("held", ROOT)
    for child_id in "abc":
        harness.crash(child_id)
        harness.wait("down", child_id)
    gate.set()
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert set(harness.children().values()) == {ChildStatus.RUNNING}
    assert sum(harness.observer.restarts.values()) == 1


def test_one_for_all_begins_again_when_another_child_fails_to_restart(
    harness: Harness,
) -> None:
    harness.supervisor(
        harness.worker("a"), harness.worker("b"), strategy=Strategy.ONE_FOR_ALL, limit=PLENTY
    )
    harness.forget()
    harness.failures["b"] = 1
    harness.crash("a")
    harness.wait("status", "b", ChildStatus.RUNNING, "3")
    assert harness.lives() == [
        ("down", "a"), ("down", "b"), ("up", "a"), ("down", "b"), ("down", "a"),
        ("up", "a"), ("up", "b"),
    ]  # fmt: skip
    assert harness.observer.restarts == {"a": 1, "b": 1}


def test_rest_for_one_goes_on_from_the_child_that_fails_to_restart(
    harness: Harness,
) -> None:
    harness.supervisor(
        *(harness.worker(child_id) for child_id in "abc"),
        strategy=Strategy.REST_FOR_ONE,
        limit=PLENTY,
    )
    harness.forget()
    harness.failures["b"] = 2
    harness.crash("a")
    harness.wait("status", "c", ChildStatus.RUNNING, "2")
    assert harness.lives() == [
        ("down", "a"), ("down", "c"), ("down", "b"), ("up", "a"), ("down", "b"), ("down", "b"),
        ("up", "b"), ("up", "c"),
    ]  # fmt: skip
    assert harness.observer.restarts == {"a": 1, "b": 2}


def test_a_restarted_tree_still_stops_in_order(harness: Harness) -> None:
    lives_after_crash(harness, Strategy.ONE_FOR_ALL, "c", expected=8)
    harness.forget()
    shut_down(harness)
    assert harness.lives() == [("down", child_id) for child_id in [*"dcba", ROOT]]
