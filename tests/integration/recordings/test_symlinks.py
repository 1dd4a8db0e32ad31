"""Symbolic links that somebody has put below the record root lead nothing of ours out of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.errors import ConfigError, NotFound
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.paths import camera_folder, has_no_symlink, live_name
from streamwarden.recordings.durable import file_digest, replace_file
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.recordings.segment_store import SegmentStore
from streamwarden.recordings.serving import IndexedFiles
from tests.fakes.storage import FakeStorage
from tests.fakes.storage_samples import a_segment
from tests.unit.mp4 import box_writer as boxes

CAMERA = UUID(int=7)
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = AT + timedelta(seconds=2)


class Place:
    """A record root, and beside it a folder with a file that nobody may touch."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.outside = folder / "outside"
        self.outside.mkdir(parents=True)
        self.secret = self.outside / "secret"
        self.secret.write_bytes(b"secret")
        self.store = SegmentStore(self.root, "alice", CAMERA)
        self.camera = camera_folder(self.root, "alice", CAMERA)

    def untouched(self) -> bool:
        return list(self.outside.iterdir()) == [self.secret] and (
            self.secret.read_bytes() == b"secret"
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    assert made.untouched()


@pytest.mark.parametrize("level", ["owner", "camera", ".live"])
def test_no_folder_is_made_or_used_behind_a_link(place: Place, level: str) -> None:
    at = {"owner": place.camera.parent, "camera": place.camera, ".live": place.store.live}[level]
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(place.outside)
    with pytest.raises(OSError, match="symbolic link"):
        place.store.prepare()


def test_the_programs_own_folder_is_not_taken_behind_a_link(place: Place) -> None:
    place.root.mkdir()
    (place.root / ".streamwarden").symlink_to(place.outside)
    with pytest.raises(ConfigError):
        RecordRoot(place.root).take()


def test_a_link_in_place_of_a_segment_is_removed_and_not_read_cut_or_stored(place: Place) -> None:
    place.store.prepare()
    link = place.store.live / live_name(1, 0)
    link.symlink_to(place.secret)
    assert (
        place.store.publish(ClosedSegment(run=1, number=0, started_at=AT, ended_at=LATER)) is None
    )
    assert not link.is_symlink()
    assert list(place.store.leftovers(())) == []


def test_a_segment_is_not_moved_behind_a_link(place: Place) -> None:
    place.store.prepare()
    source = place.store.live / live_name(1, 0)
    source.write_bytes(boxes.header() + boxes.fragment(boxes.run([40] * 25)))
    (place.camera / f"{AT:%Y-%m-%d}").symlink_to(place.outside)
    with pytest.raises(OSError, match="symbolic link"):
        place.store.publish(ClosedSegment(run=1, number=0, started_at=AT, ended_at=LATER))
    assert source.exists()


def test_a_link_is_neither_digested_nor_written_through(place: Place) -> None:
    place.root.mkdir()
    link = place.root / "streams.json.new"
    link.symlink_to(place.secret)
    with pytest.raises(OSError, match="symbolic"):
        file_digest(link)
    with pytest.raises(OSError, match="symbolic"):
        replace_file(place.root / "streams.json", b"{}")


@pytest.mark.parametrize("inside", [True, False], ids=["to another camera", "out of the root"])
def test_no_file_is_served_behind_a_link(place: Place, *, inside: bool) -> None:
    storage = FakeStorage()
    segment = a_segment(CAMERA, start=0, end=2)
    storage.segments.insert_many([segment])
    real = place.root / segment.path
    behind = place.root / "other" if inside else place.outside
    (place.root / "other").mkdir(parents=True)
    (place.root / "other" / real.name).write_bytes(b"another camera's")
    real.parent.parent.mkdir(parents=True, exist_ok=True)
    real.parent.symlink_to(behind)
    with pytest.raises(NotFound):
        IndexedFiles(storage.segments, place.root).open(CAMERA, segment.id)


def test_a_path_is_plain_only_where_it_is_what_it_says(place: Place) -> None:
    place.root.mkdir()
    (place.root / "link").symlink_to(place.root)
    assert has_no_symlink(place.root, place.root / "a" / "b")
    for other in ("link/a", "a/../b", "../outside"):
        assert not has_no_symlink(place.root, place.root / other)
    assert not has_no_symlink(place.root, place.outside)
    above = place.root.parent / "above"
    above.symlink_to(place.root)
    assert has_no_symlink(above, above / "a")  # a link to the root itself is the operator's own
