"""OTP's supervisors for pykka actors.

The vocabulary and its meaning are Erlang/OTP's (``supervisor`` in stdlib): child specifications,
strategies, intensity and period, ordered start and reverse stop, escalation. What differs is written
down in ``docs/design/0001-two-loops.md`` and ``0002-exit-notices.md``. Nothing here knows a camera,
FFmpeg or a database.
"""

from __future__ import annotations

from streamwarden.supervision._actor import ActorRef, Link, SupervisedActor, inbox_depths, tell
from streamwarden.supervision._messages import (
    ChildCounts,
    ChildExited,
    ChildInfo,
    ChildStarted,
    ChildStatus,
    CountChildren,
    DeleteChild,
    Exit,
    ExitKind,
    ExitReason,
    RestartChild,
    Shutdown,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from streamwarden.supervision._spec import (
    BRUTAL_KILL,
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    InvalidSpec,
    Observer,
    Parking,
    Restart,
    RestartLog,
    Strategy,
    SupervisorSpec,
    check_specs,
)
from streamwarden.supervision._supervisor import Supervisor

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "ActorRef",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildSpec",
    "ChildStarted",
    "ChildStatus",
    "ChildType",
    "CountChildren",
    "DeleteChild",
    "Exit",
    "ExitKind",
    "ExitReason",
    "Intensity",
    "InvalidSpec",
    "Link",
    "Observer",
    "Parking",
    "Restart",
    "RestartChild",
    "RestartLog",
    "Shutdown",
    "StartChild",
    "Strategy",
    "SupervisedActor",
    "Supervisor",
    "SupervisorSpec",
    "TerminateChild",
    "WhichChildren",
    "check_specs",
    "inbox_depths",
    "tell",
]
