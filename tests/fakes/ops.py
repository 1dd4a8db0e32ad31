"""The operators' view of the streaming role, and sums over all cameras, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from streamwarden.actors.ops import (
    DiskUsage,
    IndexLag,
    RetentionWait,
    StreamingOps,
    StreamingSummary,
    TreeNode,
)
from streamwarden.errors import ChildNotFound, NotRestartable
from streamwarden.http.wire import Supervision, child_to_json, summary_to_json, tree_to_json
from streamwarden.storage.recording_index import CoverageRepository, Missing, Recorded
from streamwarden.supervision import ChildInfo, ChildStatus, ChildType
from tests.fakes.storage import FakeStorage


class FakeOps(StreamingOps):
    """One recorder under its manager."""

    recorder = ChildInfo(
        child_id="cam",
        type=ChildType.WORKER,
        status=ChildStatus.PARKED,
        incarnation=7,
        restarts=6,
    )

    def __init__(self) -> None:
        pass

    def summary(self) -> StreamingSummary:
        return StreamingSummary(
            by_state={"running": 3, "backoff": 1},
            respawns=9,
            respawn_causes=[("source_offline", 9)],
            disk=DiskUsage(total_bytes=1000, free_bytes=500, reserve_bytes=50, keep_days=30),
            index=IndexLag(segments=2, lag_s=1.5),
            retention_waits=[
                RetentionWait(reason="clock", value=3_456_000.0, goes_on_in_s=86_000.0)
            ],
        )

    def tree(self) -> TreeNode:
        manager = ChildInfo(
            child_id="stream_manager",
            type=ChildType.SUPERVISOR,
            status=ChildStatus.RUNNING,
            incarnation=1,
            restarts=0,
        )
        return TreeNode(None, (TreeNode(manager, (TreeNode(self.recorder),)),))

    def restart(self, child_id: str) -> ChildInfo:
        if child_id == "stream_manager":
            raise NotRestartable("only recorders are restarted by hand")
        if child_id != self.recorder.child_id:
            raise ChildNotFound("the tree has no such child")
        return replace(self.recorder, status=ChildStatus.STARTING)


def ops_as_json() -> dict[str, Mapping[str, object]]:
    """Return what the streaming role answers with `FakeOps` in it."""
    ops = FakeOps()
    return {
        "summary": summary_to_json(ops.summary()).model_dump(mode="json"),
        "supervision": Supervision(root=tree_to_json(ops.tree())).model_dump(mode="json"),
        "child": child_to_json(ops.restart("cam")).model_dump(mode="json"),
    }


class FakeCoverage(CoverageRepository):
    """Sums that a test sets; away while the storage is down."""

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage
        self.seconds = 3_500.0
        self.size_bytes = 100
        self.causes = [Missing(cause="source_offline", seconds=100.0)]
        self.oldest_end: datetime | None = None
        self.asked = 0

    def recorded(self, since: datetime) -> Recorded:
        del since
        self.asked += 1
        return Recorded(seconds=self.seconds, size_bytes=self.size_bytes)

    def missing(self, since: datetime, now: datetime) -> list[Missing]:
        del since, now
        return self.causes

    def oldest(self) -> datetime | None:
        return self.oldest_end

    def cameras(self) -> dict[str, int]:
        cameras = self._storage.cameras.list_visible(None, limit=1_000).items
        active = sum(camera.status == "active" for camera in cameras)
        return {"active": active, "inactive": len(cameras) - active}
