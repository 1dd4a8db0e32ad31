"""Generated trees and what befalls them: the real supervisors against the plain model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streamwarden.supervision import ChildSpec, ChildStatus, Intensity, Shutdown, SupervisorSpec
from streamwarden.supervision._actor import ExitKind, ExitReason
from streamwarden.supervision._spec import Restart, Strategy
from streamwarden.supervision._supervisor import (
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from tests.unit.supervision.harness import ROOT, Crash, Harness, Leave
from tests.unit.supervision.reference_model import (
    ModelSupervisor,
    ModelWorker,
    ModelWorld,
    Shape,
    cast,
)

PERIOD_S = 5.0


def limits() -> st.SearchStrategy[Intensity]:
    return st.builds(Intensity, st.integers(0, 3), st.just(PERIOD_S))


@st.composite
def trees(draw: st.DrawFn) -> Shape:
    """Return a root with up to four children, of which supervisors have up to three, two deep."""
    names = iter(f"n{number}" for number in range(100))

    def node(depth: int) -> Shape:
        restart = draw(st.sampled_from(Restart))
        if depth == 0 or draw(st.integers(0, 2)) > 0:
            return Shape(next(names), restart)
        return boss(next(names), restart, depth, 3)

    def boss(name: str, restart: Restart, depth: int, most: int) -> Shape:
        size = draw(st.integers(0, most))
        children = tuple(node(depth - 1) for _ in range(size))
        return Shape(name, restart, draw(st.sampled_from(Strategy)), draw(limits()), children)

    return boss(ROOT, Restart.PERMANENT, 2, 4)


ACTIONS = st.tuples(
    st.sampled_from(
        ["crash", "crash", "crash", "leave", "fail next", "wait", "edge", "start", "terminate",
         "restart", "delete"]
    ),
    st.integers(0, 99),
    st.integers(1, 3),
)  # fmt: skip


class TreeAndModel:
    """A real tree and its model, and the same things done to both."""

    def __init__(self, harness: Harness, shape: Shape, unlucky: str | None) -> None:
        self.harness = harness
        self.world = ModelWorld()
        if unlucky is not None:
            self.world.failures[unlucky] = self.harness.failures[unlucky] = 1
        self.root = cast(shape, self.world, None)
        assert isinstance(self.root, ModelSupervisor)
        self.dynamic = 0
        self.root.start()
        children = [self.spec(child) for child in shape.children]
        harness.supervisor(*children, strategy=shape.strategy, limit=shape.limit, ready=False)
        self.compare()

    def spec(self, shape: Shape) -> ChildSpec:
        if shape.strategy is None:
            return self.harness.worker(shape.name, restart=shape.restart)
        inner = SupervisorSpec(
            strategy=shape.strategy,
            limit=shape.limit,
            children=[self.spec(child) for child in shape.children],
        )
        return self.harness.nested(shape.name, inner, restart=shape.restart)

    def nodes(self, node: ModelWorker | None = None) -> Iterator[ModelWorker]:
        """Return all nodes whose supervisors live."""
        node = node or self.root
        if isinstance(node, ModelSupervisor) and node.alive:
            for child in node.children:
                yield child
                yield from self.nodes(child)

    def pick(self, number: int, fits: Callable[[ModelWorker], bool]) -> ModelWorker | None:
        fitting = [node for node in self.nodes() if fits(node)]
        return fitting[number % len(fitting)] if fitting else None

    def act(self, action: str, number: int, times: int) -> None:
        match action:
            case "crash" | "leave":
                self.end(self.pick(number, is_live_worker), abnormal=action == "crash")
            case "fail next":
                if node := self.pick(number, lambda node: not isinstance(node, ModelSupervisor)):
                    self.world.failures[node.shape.name] += times
                    self.harness.failures[node.shape.name] += times
            case "wait" | "edge":
                moved_s = times * 2.0 if action == "wait" else PERIOD_S
                self.world.now += moved_s
                self.harness.clock.advance(moved_s)
            case _:
                self.call(action, number)
        self.compare()

    def end(self, worker: ModelWorker | None, *, abnormal: bool) -> None:
        if worker is None:
            return
        leave = Leave(ExitReason(ExitKind.NORMAL))
        self.harness.tell(worker.shape.name, Crash(ValueError("bug")) if abnormal else leave)
        worker.crash(abnormal=abnormal)

    def call(self, action: str, number: int) -> None:
        """Do one of OTP's calls to a supervisor and a child that it fits."""
        if action == "start":
            self.start(self.pick(number, is_live_boss) or self.root, list(Restart)[number % 3])
            return
        node = self.pick(number, lambda node: node.alive == (action == "terminate"))
        if node is None or node.parent is None:
            return
        name, boss = node.shape.name, node.parent
        message = {"terminate": TerminateChild, "restart": RestartChild, "delete": DeleteChild}
        self.ask(message[action](name), boss)
        if action == "terminate":
            boss.terminate(node)
        elif action == "restart":
            node.start()
        else:
            boss.children.remove(node)

    def start(self, boss: ModelWorker, restart: Restart) -> None:
        if not isinstance(boss, ModelSupervisor) or not boss.alive:
            return
        self.dynamic += 1
        shape = Shape(f"d{self.dynamic}", restart)
        self.ask(StartChild(self.spec(shape)), boss)
        boss.add(shape)

    def ask(self, message: object, boss: ModelSupervisor) -> Any:  # noqa: ANN401 - as pykka's own ask
        try:
            return self.harness.ask(message, boss.shape.name)
        except RuntimeError:  # a scripted failure to start; the traces are compared
            return None

    def compare(self) -> None:
        expected = self.world.events
        self.harness.wait_delivered(len(expected))
        bosses = [node for node in [self.root, *self.nodes()] if is_live_boss(node)]
        for boss in bosses:
            assert isinstance(boss, ModelSupervisor)
            real = self.harness.children(boss.shape.name)
            assert real == {node.shape.name: status(node) for node in boss.children}
        assert self.harness.lives() == expected

    def shut_down(self) -> None:
        if self.root.alive:
            self.harness.tell(ROOT, Shutdown())
            self.root.stop()
        self.compare()


def is_live_worker(node: ModelWorker) -> bool:
    return node.alive and not isinstance(node, ModelSupervisor)


def is_live_boss(node: ModelWorker) -> bool:
    return node.alive and isinstance(node, ModelSupervisor)


def status(node: ModelWorker) -> ChildStatus:
    return ChildStatus.RUNNING if node.alive else ChildStatus.STOPPED


@settings(
    max_examples=int(os.environ.get("SUPERVISION_EXAMPLES", "300")),
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to shrink a failure, each wait of which lasts, would take minutes
    derandomize="SUPERVISION_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    shape=trees(),
    actions=st.lists(ACTIONS, max_size=12),
    unlucky=st.sampled_from([None] * 8 + [f"n{number}" for number in range(4)]),
)
def test_a_real_tree_does_what_the_model_does(
    shape: Shape, actions: list[tuple[str, int, int]], unlucky: str | None
) -> None:
    harness = Harness()
    try:
        both = TreeAndModel(harness, shape, unlucky)
        for action, number, times in actions:
            both.act(action, number, times)
        both.shut_down()
        assert not harness.observer.left_behind
        assert harness.timers.pending() == []
    finally:
        harness.close()
