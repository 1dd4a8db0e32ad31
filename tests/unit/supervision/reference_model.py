"""What a supervision tree must do, as plain synchronous functions over plain data.

Written after OTP's semantics and not after the code under test: here a stop is a call that returns,
and so is a start. The real tree must show the same ups and downs in the same order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streamwarden.supervision import Intensity
from streamwarden.supervision._spec import Restart, Strategy
from tests.unit.supervision.harness import Event


@dataclass(frozen=True)
class Shape:
    """One node of a tree: a worker, or with ``strategy`` a supervisor."""

    name: str
    restart: Restart = Restart.PERMANENT
    strategy: Strategy | None = None
    limit: Intensity = field(default_factory=Intensity)
    children: tuple[Shape, ...] = ()


class ModelWorld:
    """The time, what is going to fail, and what has happened."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.failures: Counter[str] = Counter()
        self.events: list[Event] = []


class ModelWorker:
    """A worker."""

    def __init__(self, shape: Shape, world: ModelWorld, parent: ModelSupervisor | None) -> None:
        self.shape = shape
        self.world = world
        self.parent = parent
        self.alive = False

    def start(self) -> bool:
        if self.world.failures[self.shape.name] > 0:
            self.world.failures[self.shape.name] -= 1
            self.world.events.append(("down", self.shape.name))
            return False
        return self._up()

    def stop(self) -> None:
        if self.alive:
            self._down()

    def crash(self, *, abnormal: bool) -> None:
        self._down()
        if self.parent is not None:
            self.parent.lost(self, abnormal=abnormal)

    def _up(self) -> bool:
        self.alive = True
        self.world.events.append(("up", self.shape.name))
        return True

    def _down(self) -> None:
        self.alive = False
        self.world.events.append(("down", self.shape.name))


class ModelSupervisor(ModelWorker):
    """A supervisor."""

    def __init__(self, shape: Shape, world: ModelWorld, parent: ModelSupervisor | None) -> None:
        super().__init__(shape, world, parent)
        self.children: list[ModelWorker] = []
        self.restarts: list[float] = []

    def start(self) -> bool:
        self.children = [cast(child, self.world, self) for child in self.shape.children]
        self.restarts = []
        for child in self.children:
            if not child.start():
                self._stop_children()
                self._down()
                return False
        return self._up()

    def stop(self) -> None:
        if self.alive:
            self._stop_children()
            self._down()

    def lost(self, child: ModelWorker, *, abnormal: bool) -> None:
        """React to a child's end."""
        match child.shape.restart:
            case Restart.TEMPORARY:
                self.children.remove(child)
            case Restart.TRANSIENT if not abnormal:
                pass
            case _:
                self.revive(child)

    def revive(self, child: ModelWorker) -> None:
        """Restart a child as the strategy says, or give up."""
        kept = [at for at in self.restarts if at >= self.world.now - self.shape.limit.period_s]
        self.restarts = [*kept, self.world.now]
        if len(self.restarts) > self.shape.limit.intensity:
            self._stop_children()
            self.crash(abnormal=True)
            return
        first = 0 if self.shape.strategy is Strategy.ONE_FOR_ALL else self.children.index(child)
        affected = self.children[first:]
        if self.shape.strategy is Strategy.ONE_FOR_ONE:
            affected = [child]
        for sibling in reversed(affected):
            sibling.stop()
        for sibling in affected:
            if sibling.shape.restart is Restart.TEMPORARY:
                self.children.remove(sibling)
            elif not sibling.start():
                self.drop_temporary(affected)
                self.revive(sibling)
                return

    def drop_temporary(self, stopped: list[ModelWorker]) -> None:
        """Forget the temporary children among ``stopped``."""
        self.children = [
            child
            for child in self.children
            if child not in stopped or child.shape.restart is not Restart.TEMPORARY
        ]

    def add(self, shape: Shape) -> None:
        """Start a dynamic child; nothing is kept of one that fails."""
        child = cast(shape, self.world, self)
        if child.start():
            self.children.append(child)

    def terminate(self, child: ModelWorker) -> None:
        """Stop a child by hand."""
        child.stop()
        self.drop_temporary([child])

    def _stop_children(self) -> None:
        for child in reversed(self.children):
            child.stop()
        self.drop_temporary(self.children)


def cast(shape: Shape, world: ModelWorld, parent: ModelSupervisor | None) -> ModelWorker:
    """Make the node that a shape describes."""
    return (ModelWorker if shape.strategy is None else ModelSupervisor)(shape, world, parent)
