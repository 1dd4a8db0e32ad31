"""The insides of the streaming role, and sums over all cameras, in memory."""

from __future__ import annotations

from datetime import datetime

from streamwarden.errors import ChildNotFound, NotRestartable
from streamwarden.http.wire import (
    CauseCount,
    ChildModel,
    ChildState,
    DiskModel,
    IndexModel,
    RoleSummary,
    Supervision,
)
from streamwarden.storage.recording_index import CoverageRepository, Missing, Recorded
from tests.fakes.storage import FakeStorage


class FakeInsides:
    """One recorder under its manager."""

    recorder = ChildState(id="cam", type="worker", status="parked", incarnation=7, restarts=6)

    def summary(self) -> RoleSummary:
        return RoleSummary(
            by_state={"running": 3, "backoff": 1},
            respawns=9,
            respawn_causes=[CauseCount(cause="source_offline", count=9)],
            disk=DiskModel(total_bytes=1000, free_bytes=500, reserve_bytes=50, keep_days=30),
            index=IndexModel(journal_segments=2, lag_seconds=1.5),
        )

    def supervision(self) -> Supervision:
        manager = ChildModel(
            id="stream_manager",
            type="supervisor",
            status="running",
            incarnation=1,
            restarts=0,
            children=[ChildModel(**self.recorder.model_dump())],
        )
        root = manager.model_copy(update={"id": "root", "children": [manager]})
        return Supervision(root=root)

    def restart(self, child_id: str) -> ChildState:
        if child_id == "stream_manager":
            raise NotRestartable("only recorders are restarted by hand")
        if child_id != self.recorder.id:
            raise ChildNotFound("the tree has no such child")
        return self.recorder.model_copy(update={"status": "starting"})


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
