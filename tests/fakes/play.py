"""What the streaming role plays beside whole segments, in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from streamwarden.errors import ExportNotFound, NoPicture, NothingRecorded
from streamwarden.recordings.exports import Export, Exports
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.serving import OpenFile
from streamwarden.recordings.snapshots import SnapshotMaker, TakenPicture
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock

AGE_S = 60
TAKEN_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakePictures(SnapshotMaker):
    """Every camera looks alike."""

    def __init__(self) -> None:
        pass

    def take(
        self, camera_id: UUID, width: int, user_id: str = "", *, max_age_s: int | None = None
    ) -> TakenPicture:
        del user_id
        if max_age_s is not None and max_age_s < AGE_S:
            raise NoPicture("it is too old")
        return TakenPicture(f"{camera_id} {width}".encode(), TAKEN_AT)


class FakeExports(Exports):
    """Nothing was ever exported."""

    def __init__(self) -> None:
        pass

    def add(self, *_: object) -> Export:
        raise NothingRecorded("nothing was recorded then")

    def of_camera(self, camera_id: UUID) -> list[Export]:
        del camera_id
        return []

    def get(self, *_: object) -> Export:
        raise ExportNotFound("this camera has no such export")

    def proof(self, *_: object) -> bytes:
        raise ExportNotFound("this camera has no such export")

    def cancel(self, *_: object) -> Export:
        raise ExportNotFound("this camera has no such export")

    def open(self, *_: object) -> OpenFile:
        raise ExportNotFound("this camera has no such export")


def a_live_index() -> LiveIndex:
    return LiveIndex(ManualClock(EPOCH))
