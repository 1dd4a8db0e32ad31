from __future__ import annotations

import pytest

from streamwarden.supervision import ChildStatus, WhichChildren
from streamwarden.supervision._actor import ExitKind, ExitReason
from streamwarden.supervision._spec import Restart
from streamwarden.supervision._supervisor import CountChildren, StartChild
from tests.unit.supervision.stage import Leave, Stage

END = {
    ExitKind.NORMAL: Leave(ExitReason(ExitKind.NORMAL)),
    ExitKind.SHUTDOWN: Leave(ExitReason(ExitKind.SHUTDOWN)),
    ExitKind.FAILED: Leave(ExitReason(ExitKind.FAILED, "bug")),
}


def end(stage: Stage, restart: Restart, kind: ExitKind) -> None:
    stage.supervisor(stage.worker("a", restart=restart), stage.worker("b"))
    stage.tell("a", END[kind])
    stage.wait("down", "a", kind)
    stage.wait_delivered(4)


@pytest.mark.parametrize("kind", list(END))
def test_a_permanent_child_is_restarted_whatever_its_end(stage: Stage, kind: ExitKind) -> None:
    end(stage, Restart.PERMANENT, kind)
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    assert stage.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.RUNNING}
    assert stage.watcher.restarts == {"a": 1}


def test_a_transient_child_is_restarted_after_an_abnormal_end(stage: Stage) -> None:
    end(stage, Restart.TRANSIENT, ExitKind.FAILED)
    stage.wait("status", "a", ChildStatus.RUNNING, "2")


@pytest.mark.parametrize("kind", [ExitKind.NORMAL, ExitKind.SHUTDOWN])
def test_a_transient_child_stays_down_after_a_normal_end_and_is_kept(
    stage: Stage, kind: ExitKind
) -> None:
    end(stage, Restart.TRANSIENT, kind)
    assert stage.children() == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}
    counts = stage.ask(CountChildren())
    assert (counts.specs, counts.active) == (2, 1)
    assert not stage.watcher.restarts


@pytest.mark.parametrize("kind", list(END))
def test_a_temporary_child_is_forgotten_whatever_its_end(stage: Stage, kind: ExitKind) -> None:
    end(stage, Restart.TEMPORARY, kind)
    assert stage.children() == {"b": ChildStatus.RUNNING}
    assert stage.ask(CountChildren()).specs == 1
    assert not stage.watcher.restarts
    stage.ask(StartChild(stage.worker("a", restart=Restart.TEMPORARY)))
    assert stage.children()["a"] is ChildStatus.RUNNING


def test_restarts_are_told_per_child(stage: Stage) -> None:
    end(stage, Restart.PERMANENT, ExitKind.FAILED)
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    infos = {info.child_id: info for info in stage.ask(WhichChildren())}
    assert (infos["a"].incarnation, infos["a"].restarts) == (2, 1)
    assert (infos["b"].incarnation, infos["b"].restarts) == (1, 0)


def test_pykkas_own_stop_is_a_normal_end(stage: Stage) -> None:
    stage.supervisor(stage.worker("a"), stage.worker("b", restart=Restart.TRANSIENT))
    for child_id in "ab":
        stage.refs[child_id][-1].stop(block=True, timeout=5)
    stage.wait("status", "a", ChildStatus.RUNNING, "2")
    stage.wait("status", "b", ChildStatus.STOPPED)
    assert stage.children() == {"a": ChildStatus.RUNNING, "b": ChildStatus.STOPPED}
