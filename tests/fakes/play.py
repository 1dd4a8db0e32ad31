"""What the streaming role plays beside whole segments, in memory."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from streamwarden.errors import ExportNotFound, NothingRecorded
from streamwarden.http.streaming.ports import FragmentEnd, OpenFile, Playback
from streamwarden.http.wire import OwnedExport
from streamwarden.recordings.live import LiveShelf, ShelfSource
from tests.fakes.http import FakeClock


class FakeFragments:
    """Every file is made up alike."""

    def __init__(self) -> None:
        self.found = [FragmentEnd(end=1_000 * n, media_ms=1_000) for n in range(1, 4)]

    def of(self, camera_id: UUID, segment_id: UUID) -> list[FragmentEnd]:
        del camera_id, segment_id
        return self.found


class FakePictures:
    """Every camera looks alike."""

    def take(self, camera_id: UUID, width: int) -> bytes:
        return f"{camera_id} {width}".encode()


class FakeExports:
    """Nothing was ever exported."""

    def add(self, *_: object) -> OwnedExport:
        raise NothingRecorded("nothing was recorded then")

    def of_camera(self, camera_id: UUID) -> list[OwnedExport]:
        del camera_id
        return []

    def get(self, *_: object) -> OwnedExport:
        raise ExportNotFound("there is no such export")

    def proof(self, *_: object) -> bytes:
        raise ExportNotFound("there is no such export")

    def cancel(self, *_: object) -> OwnedExport:
        raise ExportNotFound("there is no such export")

    def open(self, *_: object) -> OpenFile:
        raise ExportNotFound("there is no such export")


def a_playback() -> Playback:
    return Playback(
        fragments=FakeFragments(),
        pictures=FakePictures(),
        exports=FakeExports(),
        live=ShelfSource(partial(LiveShelf, FakeClock())),
    )
