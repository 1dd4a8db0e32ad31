"""Specifications of supervisors and their children, checked before anything is started.

Sources: Erlang/OTP ``supervisor:child_spec()``, ``supervisor:check_childspecs/1`` and "Tuning the
intensity and period".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from streamwarden.supervision._actor import ActorRef, Link

BRUTAL_KILL: Final = 0.0
"""Do not wait for the child at all. A thread cannot be killed: the child is abandoned at once."""


WORKER_SHUTDOWN_S: Final = 5.0
"""OTP's default for a worker."""


INFINITY: Final = math.inf
"""Wait for ever: for a child that is a supervisor, whose own children have their own shutdown times."""


class Restart(StrEnum):
    """When an ended child is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only when it ended abnormally."""
    TEMPORARY = "temporary"
    """Never, and its specification goes with it."""


class ChildType(StrEnum):
    """Worker or supervisor; a supervisor's shutdown time should be ``INFINITY``."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Strategy(StrEnum):
    """Which children are restarted when one ends and is to be restarted."""

    ONE_FOR_ONE = "one_for_one"
    """Only that one."""
    ONE_FOR_ALL = "one_for_all"
    """All: the others are stopped first."""
    REST_FOR_ONE = "rest_for_one"
    """That one and those started after it."""


class InvalidSpec(ValueError):
    """An invalid specification; nothing has been started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How to start, stop and restart one child.

    ``start`` is called with the ``Link`` to hand to the actor and returns the started actor's ref.
    ``shutdown_s`` is how long an orderly stop may take: a number of seconds, ``BRUTAL_KILL`` or
    ``INFINITY``; None is OTP's default, 5 s for a worker and ``INFINITY`` for a supervisor.
    """

    id: str
    start: Callable[[Link], ActorRef]
    restart: Restart = Restart.PERMANENT
    shutdown_s: float | None = None
    type: ChildType = ChildType.WORKER

    @property
    def shutdown_within_s(self) -> float:
        """Return ``shutdown_s``, or OTP's default for it."""
        if self.shutdown_s is not None:
            return self.shutdown_s
        return INFINITY if self.type is ChildType.SUPERVISOR else WORKER_SHUTDOWN_S


def check_specs(specs: Sequence[ChildSpec]) -> None:
    """Raise ``InvalidSpec`` for the first invalid specification."""
    seen: set[str] = set()
    for spec in specs:
        check_spec(spec)
        if spec.id in seen:
            raise InvalidSpec(f"duplicate child id {spec.id!r}")
        seen.add(spec.id)


def check_spec(spec: ChildSpec) -> None:
    """Raise ``InvalidSpec`` unless every field of ``spec`` is valid."""
    if not isinstance(spec, ChildSpec):
        raise InvalidSpec(f"not a child specification: {spec!r}")
    if not isinstance(spec.id, str) or not spec.id:
        raise InvalidSpec(f"a child's id must be a non-empty string, not {spec.id!r}")
    if not callable(spec.start):
        raise InvalidSpec(f"{spec.id}: start must be callable, not {spec.start!r}")
    if not isinstance(spec.restart, Restart):
        raise InvalidSpec(f"{spec.id}: restart must be one of {list(Restart)}")
    if not isinstance(spec.type, ChildType):
        raise InvalidSpec(f"{spec.id}: type must be one of {list(ChildType)}")
    within_s = spec.shutdown_within_s
    if not isinstance(within_s, int | float) or not within_s >= 0:
        raise InvalidSpec(f"{spec.id}: shutdown_s must be 0 or more, not {spec.shutdown_s!r}")


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most ``intensity`` restarts within ``period_s`` seconds; beyond that the supervisor gives up."""

    intensity: int = 1
    period_s: float = 5.0

    def __post_init__(self) -> None:
        if not isinstance(self.intensity, int) or self.intensity < 0:
            raise ValueError(f"intensity must be a number of restarts, not {self.intensity!r}")
        if not 0 < self.period_s < math.inf:
            raise ValueError(f"period_s must be above 0 and finite, not {self.period_s!r}")


@dataclass(frozen=True, slots=True)
class RestartLog:
    """Times of the recent restarts, newest last; at most ``intensity`` + 1."""

    limit: Intensity
    at: tuple[float, ...] = field(default=())

    def add(self, now: float) -> RestartLog:
        """Return the log plus a restart at ``now``, in monotonic seconds, minus those before the period."""
        recent = tuple(moment for moment in self.at if now - moment <= self.limit.period_s)
        return RestartLog(self.limit, (*recent, now)[-self.limit.intensity - 1 :])

    @property
    def exceeded(self) -> bool:
        """Whether there were more than ``intensity`` restarts within the period."""
        return len(self.at) > self.limit.intensity


class Observer(Protocol):
    """Listener for restarts, implemented by the metrics. Called in the supervisor's thread."""

    def restarted(self, child_id: str) -> None:
        """A child that ended is started again."""

    def parked(self, child_id: str, *, parked: bool) -> None:
        """A child has been parked, or is no longer parked."""

    def abandoned(self, child_id: str) -> None:
        """A child has not ended within its shutdown time; its thread is left running."""


@dataclass(frozen=True, slots=True)
class Parking:
    """A deviation from OTP: count restarts per child, and park one that has too many.

    A parked child is started again every ``retry_after_s`` seconds; its siblings are not affected.
    """

    retry_after_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_after_s < math.inf:
            raise ValueError(
                f"retry_after_s must be above 0 and finite, not {self.retry_after_s!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSpec:
    """Flags and static children of a supervisor; ``stop_together`` as in OTP's ``simple_one_for_one``."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    limit: Intensity = field(default_factory=Intensity)
    children: Sequence[ChildSpec] = ()
    parking: Parking | None = None
    stop_together: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.strategy, Strategy):
            raise InvalidSpec(f"strategy must be one of {list(Strategy)}, not {self.strategy!r}")
        check_specs(self.children)
        if self.parking is not None and self.strategy is not Strategy.ONE_FOR_ONE:
            raise InvalidSpec(
                "parking requires one_for_one: one child is parked, its siblings keep running"
            )
