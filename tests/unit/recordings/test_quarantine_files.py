"""The move of a quarantine's segments into the record root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.recordings.quarantine_files import count_of, move_all, quarantined

CAMERA = UUID(int=1)
BELOW = Path("alice") / str(CAMERA) / "2026-01-31"
FIRST, SECOND = "090000.000Z-r29000000-0.mp4", "090001.000Z-r29000000-1.mp4"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture(params=["same disk", "another disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A quarantine with two segments and the notes of its runs."""
    made = tmp_path / "quarantine"
    if request.param == "another disk":
        memory = Path("/dev/shm")  # noqa: S108 - another file system is what is asked for
        if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no second file system")
        made = Path(tempfile.mkdtemp(dir=memory))
    day, live = made / BELOW, made / BELOW.parent / ".live"
    day.mkdir(parents=True)
    live.mkdir()
    (live / "ledger.json").write_text("{}")
    for name in (FIRST, SECOND):
        (day / name).write_bytes(name.encode() * 1000)
        os.utime(day / name, (1_000, 1_000))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_what_it_holds_is_shown_and_stays(folder: Path) -> None:
    (held,) = quarantined(folder)
    assert (held.owner, held.camera_id, held.segments) == ("alice", CAMERA, 2)
    assert held.size_bytes == 2 * 1000 * len(FIRST)
    assert not held.unfinished
    assert count_of(folder) == 2
    (folder / BELOW.parent / ".live" / "r29000000-000002.mp4").touch()
    assert next(quarantined(folder)).unfinished


def test_segments_are_at_the_same_place_in_the_root_with_their_bytes_and_times(
    folder: Path, root: Path
) -> None:
    (moved,) = move_all(folder, root)
    assert (moved.segments, moved.in_the_way) == (2, ())
    for name in (FIRST, SECOND):
        path = root / BELOW / name
        assert path.read_bytes() == name.encode() * 1000
        assert path.stat().st_mtime == 1_000
    assert sorted(path.name for path in (root / BELOW).iterdir()) == [FIRST, SECOND]
    assert list(folder.rglob("*.mp4")) == []
    assert not (folder / "alice").exists()
    assert list(move_all(folder, root)) == []


def test_a_move_that_was_cut_off_is_finished(folder: Path, root: Path) -> None:
    (root / BELOW).mkdir(parents=True)
    (root / BELOW / (FIRST + ".adopted")).write_bytes(b"half")
    shutil.copy2(folder / BELOW / SECOND, root / BELOW / SECOND)
    (moved,) = move_all(folder, root)
    assert moved.segments == 2
    assert sorted(path.name for path in (root / BELOW).iterdir()) == [FIRST, SECOND]
    assert (root / BELOW / FIRST).read_bytes() == FIRST.encode() * 1000


def test_another_file_of_the_name_is_left_and_so_is_the_segment(folder: Path, root: Path) -> None:
    (root / BELOW).mkdir(parents=True)
    (root / BELOW / FIRST).write_bytes(b"another")
    (moved,) = move_all(folder, root)
    assert moved.segments == 1
    assert moved.in_the_way == (str(BELOW / FIRST),)
    assert (root / BELOW / FIRST).read_bytes() == b"another"
    assert (folder / BELOW / FIRST).exists()


def test_no_link_leads_out_of_the_root(folder: Path, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "alice").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        list(move_all(folder, root))
    assert list(outside.iterdir()) == []
    assert count_of(folder) == 2
