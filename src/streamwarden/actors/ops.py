"""The operators' view of the streaming role: cameras by state, disk, index, supervision tree.

Any thread may ask. A supervisor answers within a bounded time, or the call raises Unavailable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from streamwarden.actors.gateway import StreamGateway, which_children
from streamwarden.actors.messages import StreamStatus
from streamwarden.actors.status import StatusRegistry
from streamwarden.errors import ChildNotFound, NotRestartable, Unavailable
from streamwarden.supervision import ActorRef, ChildInfo

_MANAGER: Final = "stream_manager"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """The disk under the record root; ``keep_days`` is how long recordings are kept.

    ``floor_reached``: less than the reserve is free, and what is left is too young to be deleted.
    """

    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    keep_days: float
    floor_reached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLag:
    """Rows that wait in the journal, and the age of the oldest."""

    segments: int
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionWait:
    """A deletion that waits: for seconds of a clock, an age in seconds, bytes, or segments."""

    reason: str
    value: float
    goes_on_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSummary:
    """Recorders by state, their respawns since the start by cause (most frequent first), disk and index."""

    by_state: Mapping[str, int]
    respawns: int
    respawn_causes: Sequence[tuple[str, int]]
    disk: DiskUsage
    index: IndexLag
    retention_waits: Sequence[RetentionWait]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A child with the children that it supervises; the root has no info."""

    info: ChildInfo | None
    children: tuple[TreeNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRole:
    """The parts of the role that exist once it has started."""

    supervisor: ActorRef
    disk: Callable[[], DiskUsage]
    index: Callable[[], IndexLag]
    retention_waits: Callable[[], Sequence[RetentionWait]]


class StreamingOps:
    """Reads and restarts the parts of a role; ``started`` returns None until it has started."""

    def __init__(
        self,
        *,
        started: Callable[[], StartedRole | None],
        registry: StatusRegistry,
        gateway: StreamGateway,
    ) -> None:
        self._started = started
        self._registry = registry
        self._gateway = gateway

    def summary(self) -> StreamingSummary:
        """Return recorders by state, disk and index."""
        role = self._role()
        statuses = self._registry.all()
        return StreamingSummary(
            by_state=dict(Counter(status.status.value for status in statuses)),
            respawns=sum(status.respawns for status in statuses),
            respawn_causes=_respawn_causes(statuses),
            disk=role.disk(),
            index=role.index(),
            retention_waits=role.retention_waits(),
        )

    def tree(self) -> TreeNode:
        """Return the supervision tree."""
        children = which_children(self._role().supervisor)
        recorders = tuple(TreeNode(info) for info in self._gateway.recorders())
        return TreeNode(
            None,
            tuple(
                TreeNode(info, recorders if info.child_id == _MANAGER else ()) for info in children
            ),
        )

    def restart(self, child_id: str) -> ChildInfo:
        """Start a parked recorder, or replace a running one's FFmpeg by make before break.

        Raises:
            ChildNotFound: the tree has no such child.
            NotRestartable: the child is no recorder.
        """
        if _find(self._gateway.recorders(), child_id) is None:
            if child_id == "root" or _find(which_children(self._role().supervisor), child_id):
                raise NotRestartable("only recorders are restarted by hand")
            raise ChildNotFound("the tree has no such child")
        self._gateway.restart(UUID(child_id))
        info = _find(self._gateway.recorders(), child_id)
        if info is None:
            raise ChildNotFound("the camera is no longer wanted")
        return info

    def _role(self) -> StartedRole:
        found = self._started()
        if found is None:
            raise Unavailable("the recorders are not yet running", retry_after_s=1)
        return found


def _respawn_causes(statuses: Iterable[StreamStatus]) -> list[tuple[str, int]]:
    causes = Counter[str]()
    for status in statuses:
        causes.update({cause.value: count for cause, count in status.respawn_causes.items()})
    return causes.most_common()


def _find(children: Iterable[ChildInfo], child_id: str) -> ChildInfo | None:
    return next((info for info in children if info.child_id == child_id), None)
