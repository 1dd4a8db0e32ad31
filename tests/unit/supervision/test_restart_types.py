from __future__ import annotations

import pytest

from streamwarden.supervision import ChildStatus, WhichChildren
from streamwarden.supervision._actor import ExitKind, ExitReason
from streamwarden.supervision._spec import Restart
from streamwarden.supervision._supervisor import CountChildren, StartChild
from tests.unit.supervision.harness import Harness, Leave

END = {
    ExitKind.NORMAL: Leave(ExitReason(ExitKind.NORMAL)),
    ExitKind.SHUTDOWN: Leave(ExitReason(ExitKind.SHUTDOWN)),
    ExitKind.FAILED: Leave(ExitReason(ExitKind.FAILED, "bug")),
}


def end(harness: Harness, restart: Restart, kind: ExitKind) -> None:
    harness.supervisor(harness.worker("a", restart=restart), harness.worker("b"))
    harness.tell("a", END[kind])
    harness.wait("down", "a", kind)
    harness.wait_delivered(4)


@pytest.mark.parametrize("kind", list(END))
def test_a_permanent_child_is_restarted_whatever_its_end(harness: Harness, kind: ExitKind) -> None:
    end(harness, Restart.PERMANENT, kind)
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    assert harness.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.RUNNING}
    assert harness.observer.restarts == {"a": 1}


def test_a_transient_child_is_restarted_after_an_abnormal_end(harness: Harness) -> None:
    end(harness, Restart.TRANSIENT, ExitKind.FAILED)
    harness.wait("status", "a", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("kind", [ExitKind.NORMAL, ExitKind.SHUTDOWN])
def test_a_transient_child_stays_down_after_a_normal_end_and_is_kept(
    harness: Harness, kind: ExitKind
) -> None:
    end(harness, Restart.TRANSIENT, kind)
    assert harness.children() == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}
    counts = harness.ask(CountChildren())
    assert (counts.specs, counts.active) == (2, 1)
    assert not harness.observer.restarts


@pytest.mark.parametrize("kind", list(END))
def test_a_temporary_child_is_forgotten_whatever_its_end(harness: Harness, kind: ExitKind) -> None:
    end(harness, Restart.TEMPORARY, kind)
    assert harness.children() == {"b": ChildStatus.RUNNING}
    assert harness.ask(CountChildren()).specs == 1
    assert not harness.observer.restarts
    harness.ask(StartChild(harness.worker("a", restart=Restart.TEMPORARY)))
    assert harness.children()["a"] is ChildStatus.RUNNING


def test_restarts_are_reported_per_child(harness: Harness) -> None:
    end(harness, Restart.PERMANENT, ExitKind.FAILED)
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    infos = {info.child_id: info for info in harness.ask(WhichChildren())}
    assert (infos["a"].incarnation, infos["a"].restarts) == (2, 1)
    assert (infos["b"].incarnation, infos["b"].restarts) == (1, 0)


def test_pykkas_own_stop_is_a_normal_end(harness: Harness) -> None:
    harness.supervisor(harness.worker("a"), harness.worker("b", restart=Restart.TRANSIENT))
    for child_id in "ab":
        harness.refs[child_id][-1].stop(block=True, timeout=5)
    harness.wait("status", "a", ChildStatus.RUNNING, "2")
    harness.wait("status", "b", ChildStatus.STOPPED)
    assert harness.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.STOPPED}
