"""The order in which children are stopped and started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from streamwarden.supervision._spec import ChildSpec, Restart, Strategy


class Purpose(Enum):
    """Why children are stopped and started in order."""

    INITIAL = auto()
    RESTART = auto()
    FINAL = auto()


@dataclass(slots=True)
class Operation:
    """Children to stop, then children to start, one after the other; both lists are consumed."""

    purpose: Purpose
    to_stop: list[str]
    to_start: list[str]

    def leave_out(self, child_id: str) -> None:
        """Do not start this child: it has been told to stop by hand."""
        if child_id in self.to_start:
            self.to_start.remove(child_id)


def affected_by(strategy: Strategy, order: Sequence[str], failed: str) -> list[str]:
    """Return the children that a restart of ``failed`` concerns, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(order)
        case Strategy.REST_FOR_ONE:
            return list(order[order.index(failed) :])


def restart_operation(strategy: Strategy, specs: Iterable[ChildSpec], failed: str) -> Operation:
    """Return the operation that restarts ``failed`` among ``specs``, which are in start order.

    OTP: stopped from right to left, started from left to right. Temporary children are stopped and
    not started again; all others are started, also those that had ended before.
    """
    by_id = {spec.id: spec for spec in specs}
    affected = affected_by(strategy, list(by_id), failed)
    return Operation(
        Purpose.RESTART,
        to_stop=[id_ for id_ in reversed(affected) if id_ != failed],
        to_start=[id_ for id_ in affected if by_id[id_].restart is not Restart.TEMPORARY],
    )
