"""What operators are shown of the streaming role: counts, disk, index, and the tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from streamwarden.actors.gateway import StreamGateway, which_children
from streamwarden.actors.messages import StreamStatus
from streamwarden.actors.status import StatusBoard
from streamwarden.app.resources import Ground, index_waiting
from streamwarden.app.tree import Root
from streamwarden.errors import ChildNotFound, NotRestartable, Unavailable
from streamwarden.http.wire import (
    CauseCount,
    ChildModel,
    ChildState,
    DiskModel,
    IndexModel,
    RoleSummary,
    Supervision,
)
from streamwarden.supervision import ChildInfo

_MANAGER: Final = "stream_manager"


@dataclass(frozen=True, slots=True)
class Up:
    """A role that has started."""

    ground: Ground
    root: Root


class RoleInsides:
    """Looks into a role that may not have started yet. Any thread."""

    def __init__(
        self, *, up: Callable[[], Up | None], board: StatusBoard, gateway: StreamGateway
    ) -> None:
        self._up = up
        self._board = board
        self._gateway = gateway

    def summary(self) -> RoleSummary:
        """Return cameras by state, disk and index."""
        ground = self._started().ground
        statuses = self._board.all()
        return RoleSummary(
            by_state=dict(Counter(status.status.value for status in statuses)),
            respawns=sum(status.respawns for status in statuses),
            respawn_causes=_respawn_causes(statuses),
            disk=_disk(ground),
            index=_index(ground),
        )

    def supervision(self) -> Supervision:
        """Return the tree; a supervisor that does not answer in time makes it unavailable."""
        children = which_children(self._started().root.supervisor)
        recorders = self._gateway.recorders()
        below = {_MANAGER: [_child(info, []) for info in recorders]}
        root = ChildModel(
            id="root",
            type="supervisor",
            status="running",
            incarnation=1,
            restarts=0,
            children=[_child(info, below.get(info.child_id, [])) for info in children],
        )
        return Supervision(root=root)

    def restart(self, child_id: str) -> ChildState:
        """Start a parked recorder, or replace a running one's FFmpeg by make before break.

        Raises:
            ChildNotFound: there is none.
            NotRestartable: it is no recorder.
        """
        if _find(self._gateway.recorders(), child_id) is None:
            if child_id == "root" or _find(
                which_children(self._started().root.supervisor), child_id
            ):
                raise NotRestartable("only recorders are restarted by hand")
            raise ChildNotFound("the tree has no such child")
        self._gateway.restart(UUID(child_id))
        info = _find(self._gateway.recorders(), child_id)
        if info is None:
            raise ChildNotFound("the camera is no longer wanted")
        return _state(info)

    def _started(self) -> Up:
        found = self._up()
        if found is None:
            raise Unavailable("the recorders are not yet running", retry_after_s=1)
        return found


def _respawn_causes(statuses: Iterable[StreamStatus]) -> list[CauseCount]:
    """Return the commonest cause first."""
    causes = Counter[str]()
    for status in statuses:
        causes.update({cause.value: count for cause, count in status.respawn_causes.items()})
    return [CauseCount(cause=cause, count=count) for cause, count in causes.most_common()]


def _disk(ground: Ground) -> DiskModel:
    state = os.statvfs(ground.root.path)
    total = state.f_blocks * state.f_frsize
    return DiskModel(
        total_bytes=total,
        free_bytes=state.f_bavail * state.f_frsize,
        reserve_bytes=ground.settings.free_space_reserve.bytes_of(total),
        keep_days=ground.settings.retention_days,
    )


def _index(ground: Ground) -> IndexModel:
    rows, lag_s = index_waiting(ground.journal, ground.clock)
    return IndexModel(journal_segments=rows, lag_seconds=lag_s)


def _find(children: Iterable[ChildInfo], child_id: str) -> ChildInfo | None:
    return next((info for info in children if info.child_id == child_id), None)


def _child(info: ChildInfo, children: list[ChildModel]) -> ChildModel:
    return ChildModel(**_state(info).model_dump(), children=children)


def _state(info: ChildInfo) -> ChildState:
    return ChildState(
        id=info.child_id,
        type=info.type.value,
        status=info.status.value,
        incarnation=info.incarnation,
        restarts=info.restarts,
    )
