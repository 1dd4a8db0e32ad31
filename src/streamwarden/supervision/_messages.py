"""What supervisors and their children tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamwarden.supervision._spec import ChildSpec, ChildType


class ExitKind(StrEnum):
    """How an incarnation ended; the OTP exit reasons ``normal``, ``shutdown`` and the rest."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    FAILED = "failed"
    START_FAILED = "start_failed"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an incarnation ended; ``error`` is the exception's type and text, where there was one."""

    kind: ExitKind
    error: str | None = None

    @property
    def abnormal(self) -> bool:
        """Whether a transient child is to be started again after this."""
        return self.kind in {ExitKind.FAILED, ExitKind.START_FAILED}


NORMAL = ExitReason(ExitKind.NORMAL)
SHUTDOWN = ExitReason(ExitKind.SHUTDOWN)


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A child's ``init`` has succeeded (OTP: ``init_ack``)."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    """The one notice of an incarnation's end, whatever kind of end it was."""

    child_id: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop in order: finish what must be finished, then end. Sent by the supervisor."""


@dataclass(frozen=True, slots=True)
class Exit:
    """End now, without an orderly stop: the supervisor is gone or waits no longer (OTP: exit signal).

    ``terminate`` still runs: a thread ends by itself or not at all.
    """


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add a child and start it. Answer: a future of its ``ChildInfo`` (OTP: ``start_child/2``)."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child, keep its specification. Answer: a future of ``ChildInfo`` (``terminate_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a stopped or parked child again. Answer: a future of ``ChildInfo`` (``restart_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Forget a stopped child's specification (``delete_child/2``)."""

    child_id: str


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Answer: a tuple of ``ChildInfo`` in start order (``which_children/1``)."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Answer: ``ChildCounts`` (``count_children/1``)."""


class ChildStatus(StrEnum):
    """Where a child is between its specification and its end."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildInfo:
    """One child as its supervisor sees it.

    ``incarnation`` rises by one with every start; an id that comes back after ``delete_child`` goes on
    above its predecessor's. ``restarts`` counts those that the child itself caused.
    """

    child_id: str
    type: ChildType
    status: ChildStatus
    incarnation: int
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCounts:
    """The counts of OTP's ``count_children/1``; ``active`` are those with a live incarnation."""

    specs: int
    active: int
    supervisors: int
    workers: int
