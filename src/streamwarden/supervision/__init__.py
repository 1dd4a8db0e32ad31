"""OTP's supervisors for pykka actors.

The vocabulary and its meaning are those of Erlang/OTP's ``supervisor``: child specifications, strategies,
intensity and period, start in order and stop in reverse, escalation. Deviations are listed in
``docs/design/0001-two-loops.md`` and ``0002-exit-notices.md``. Independent of cameras, FFmpeg and Postgres.
"""

from __future__ import annotations

from streamwarden.supervision._actor import (
    ActorRef,
    ChildExited,
    ChildStarted,
    Link,
    Shutdown,
    SupervisedActor,
    inbox_depths,
    tell,
)
from streamwarden.supervision._children import ChildInfo, ChildStatus
from streamwarden.supervision._spec import (
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    Observer,
    Parking,
    SupervisorSpec,
)
from streamwarden.supervision._supervisor import Supervisor, WhichChildren

__all__ = [
    "INFINITY",
    "ActorRef",
    "ChildExited",
    "ChildInfo",
    "ChildSpec",
    "ChildStarted",
    "ChildStatus",
    "ChildType",
    "Intensity",
    "Link",
    "Observer",
    "Parking",
    "Shutdown",
    "SupervisedActor",
    "Supervisor",
    "SupervisorSpec",
    "WhichChildren",
    "inbox_depths",
    "tell",
]
