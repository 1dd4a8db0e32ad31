"""A supervisor's own flags, and what it is given to work with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamwarden.supervision._intensity import Intensity
from streamwarden.supervision._spec import ChildSpec, InvalidSpec, Strategy, check_specs
from streamwarden.timers import Timer


class Observer(Protocol):
    """What wants to know of restarts: metrics and the log. Called in the supervisor's thread."""

    def restarted(self, child_id: str) -> None:
        """A child is being started again after it ended."""

    def parked(self, child_id: str, *, parked: bool) -> None:
        """A child has been parked, or taken out of it."""

    def abandoned(self, child_id: str) -> None:
        """A child has outlasted its shutdown time; its thread is left behind."""


class Scheduler(Protocol):
    """What calls back later (``timers.Timers``)."""

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` on another thread after ``delay_s`` seconds."""


@dataclass(frozen=True, slots=True)
class Parking:
    """A deviation from OTP: count restarts per child, and park one that has too many.

    A parked child is tried again every ``retry_after_s`` seconds; the others go on.
    """

    retry_after_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_after_s < math.inf:
            raise ValueError(
                f"retry_after_s must be above 0 and finite, not {self.retry_after_s!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSpec:
    """A supervisor's own flags. ``stop_together`` is OTP's way with ``simple_one_for_one``."""

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
                "parking goes with one_for_one: one child is parked, the others go on"
            )
