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


class SymlinkHarness:
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
def harness(tmp_path: Path) -> Iterator[SymlinkHarness]:
    made = SymlinkHarness(tmp_path)
    yield made
    assert made.untouched()


@pytest.mark.parametrize("level", ["owner", "camera", ".live"])
def test_no_folder_is_made_or_used_behind_a_link(harness: SymlinkHarness, level: str) -> None:
    at = {"owner": harness.camera.parent, "camera": harness.camera, ".live": harness.store.live}[
        level
    ]
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(harness.outside)
    with pytest.raises(OSError, match="symbolic link"):
        harness.store.prepare()


def test_the_programs_own_folder_is_not_taken_behind_a_link(harness: SymlinkHarness) -> None:
    harness.root.mkdir()
    (harness.root / ".streamwarden").symlink_to(harness.outside)
    with pytest.raises(ConfigError):
        RecordRoot(harness.root).take()


def test_a_link_in_place_of_a_segment_is_removed_and_not_read_cut_or_stored(
    harness: SymlinkHarness,
) -> None:
    harness.store.prepare()
    link = harness.store.live / live_name(1, 0)
    link.symlink_to(harness.secret)
    assert (
        harness.store.publish(ClosedSegment(run=1, number=0, started_at=AT, ended_at=LATER)) is None
    )
    assert not link.is_symlink()
    assert list(harness.store.leftovers(())) == []


def test_a_segment_is_not_moved_behind_a_link(harness: SymlinkHarness) -> None:
    harness.store.prepare()
    source = harness.store.live / live_name(1, 0)
    source.write_bytes(boxes.header() + boxes.fragment(boxes.run([40] * 25)))
    (harness.camera / f"{AT:%Y-%m-%d}").symlink_to(harness.outside)
    with pytest.raises(OSError, match="symbolic link"):
        harness.store.publish(ClosedSegment(run=1, number=0, started_at=AT, ended_at=LATER))
    assert source.exists()


def test_a_link_is_neither_digested_nor_written_through(harness: SymlinkHarness) -> None:
    harness.root.mkdir()
    link = harness.root / "streams.json.new"
    link.symlink_to(harness.secret)
    with pytest.raises(OSError, match="symbolic"):
        file_digest(link)
    with pytest.raises(OSError, match="symbolic"):
        replace_file(harness.root / "streams.json", b"{}")


@pytest.mark.parametrize("inside", [True, False], ids=["to another camera", "out of the root"])
def test_no_file_is_served_behind_a_link(harness: SymlinkHarness, *, inside: bool) -> None:
    storage = FakeStorage()
    segment = a_segment(CAMERA, start=0, end=2)
    storage.segments.insert_many([segment])
    real = harness.root / segment.path
    behind = harness.root / "other" if inside else harness.outside
    (harness.root / "other").mkdir(parents=True)
    (harness.root / "other" / real.name).write_bytes(b"another camera's")
    real.parent.parent.mkdir(parents=True, exist_ok=True)
    real.parent.symlink_to(behind)
    with pytest.raises(NotFound):
        IndexedFiles(storage.segments, harness.root).open(CAMERA, segment.id)


def test_a_path_is_plain_only_where_it_is_what_it_says(harness: SymlinkHarness) -> None:
    harness.root.mkdir()
    (harness.root / "link").symlink_to(harness.root)
    assert has_no_symlink(harness.root, harness.root / "a" / "b")
    for other in ("link/a", "a/../b", "../outside"):
        assert not has_no_symlink(harness.root, harness.root / other)
    assert not has_no_symlink(harness.root, harness.outside)
    above = harness.root.parent / "above"
    above.symlink_to(harness.root)
    assert has_no_symlink(above, above / "a")  # a link to the root itself is the operator's own
