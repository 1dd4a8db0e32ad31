from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from streamwarden.mp4.boxes import BoxReader, NotFragmentedMp4
from streamwarden.mp4.fragments import summarise
from streamwarden.mp4.sound_offset import sound_changes
from streamwarden.mp4.structure import read_structure
from streamwarden.recordings.durable import sync_file
from tests.unit.mp4 import box_writer as boxes
from tests.unit.mp4.box_writer import AUDIO, VIDEO, timed_fragment

SECOND = [100] * 10
Fragments = list[tuple[int, int, list[int]]]
"""Track, begin and durations of fragments, in the order in which they came."""


def file_of(tmp_path: Path, fragments: Fragments, *, indexed: bool = True) -> Path:
    content = boxes.header()
    offsets: dict[int, list[int]] = {}
    for track, begins, durations in fragments:
        fragment = timed_fragment(begins, durations, id_=track)
        offsets.setdefault(track, []).append(len(content) + fragment.index(b"moof") - 4)
        content += fragment
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "file.mp4"
    path.write_bytes(content + (boxes.trailer(offsets) if indexed else b""))
    return path


def aligned(path: Path) -> bytes:
    """The file as it is stored."""
    os.utime(path, (1_000, 1_000))
    assert sync_file(path, finished=True, ours=False) is not None
    assert path.stat().st_mtime == 1_000, "the time of the last write dates the file"
    return path.read_bytes()


def behind(by: int) -> Fragments:
    """Sound that came with the picture and is dated ``by`` ms earlier."""
    first = [100 + by, *SECOND[1:]]
    return [
        *((VIDEO, 0, first), (AUDIO, 0, SECOND)),
        *((VIDEO, 1000 + by, SECOND), (AUDIO, 1000, SECOND)),
        *((VIDEO, 2000 + by, SECOND), (AUDIO, 2000, SECOND)),
    ]


TOGETHER = behind(0)
AHEAD: Fragments = [
    (track, begins + (700 if track == AUDIO else 0), durations)
    for track, begins, durations in TOGETHER
]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("by", [200, 360, 5000])
def test_sound_that_is_behind_lets_no_picture_stand_still(
    tmp_path: Path, by: int, indexed: bool
) -> None:
    """360 ms is an hour of 100 ppm."""
    path = file_of(tmp_path, behind(by), indexed=indexed)
    right = file_of(tmp_path / "right", TOGETHER, indexed=indexed).read_bytes()
    assert aligned(path) == right


def test_sound_that_is_ahead_is_put_beside_its_picture(tmp_path: Path) -> None:
    path = file_of(tmp_path, AHEAD)
    right = file_of(tmp_path / "right", TOGETHER).read_bytes()
    assert aligned(path) == right


def test_a_first_picture_that_is_a_fragment_of_its_own_is_shortened_too(tmp_path: Path) -> None:
    def fragments(by: int) -> Fragments:
        return [(VIDEO, 0, [100 + by]), (AUDIO, 0, [100]), *[
            (track, begins + (by if track == VIDEO else 0) + 100, durations)
            for track, begins, durations in TOGETHER
        ]]  # fmt: skip

    path = file_of(tmp_path, fragments(4000))
    assert aligned(path) == file_of(tmp_path / "right", fragments(0)).read_bytes()


def test_what_was_moved_is_not_moved_again(tmp_path: Path) -> None:
    path = file_of(tmp_path, behind(2000))
    assert aligned(path) == aligned(path)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_track_without_sound_leaves_the_header(tmp_path: Path, indexed: bool) -> None:
    path = file_of(tmp_path, [(VIDEO, 0, SECOND), (VIDEO, 1000, SECOND)], indexed=indexed)
    before, was = summarise(path), path.read_bytes()
    now, after = aligned(path), summarise(path)
    assert (b"soun" in now, len(now)) == (False, len(was))
    assert after.init_bytes < before.init_bytes
    assert now[before.init_bytes :] == was[before.init_bytes :]
    assert now[after.init_bytes + 4 :][:4] == b"free"
    assert (after.media_ms, after.complete) == (2000, indexed)
    assert aligned(path) == now


UNCHANGED: dict[str, Fragments] = {
    "together": TOGETHER,
    "a little behind": behind(130),
    "sound before the first key frame": [
        *((AUDIO, 0, SECOND), (VIDEO, 0, [1600, *SECOND[1:]])),
        *((AUDIO, 1000, SECOND), (AUDIO, 2000, [100] * 5)),
    ],
    "sound that begins late": [
        *((VIDEO, 0, SECOND), (VIDEO, 1000, SECOND)),
        *((VIDEO, 2000, SECOND), (AUDIO, 2000, SECOND)),
    ],
    "sound that stops": [
        *((VIDEO, 0, SECOND), (AUDIO, 0, SECOND)),
        *((VIDEO, second * 1000, SECOND) for second in range(1, 6)),
    ],
    "pictures that are missing while the sound goes on": [
        *((VIDEO, 0, [2100, *SECOND[1:]]), (AUDIO, 0, SECOND), (AUDIO, 1000, SECOND)),
        (AUDIO, 2000, SECOND),
    ],
    "a camera of a picture in 2 s": [
        *((VIDEO, 0, [2000, 2000]), (AUDIO, 0, SECOND), (AUDIO, 1000, SECOND), (AUDIO, 2000, SECOND)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("fragments", UNCHANGED.values(), ids=UNCHANGED)
@pytest.mark.parametrize("indexed", [True, False])
def test_what_is_right_stays_as_it_is(tmp_path: Path, fragments: Fragments, indexed: bool) -> None:
    path = file_of(tmp_path, fragments, indexed=indexed)
    before = path.read_bytes()
    assert aligned(path) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:100],
        lambda content: content.replace(b"traf", b"traX"),
        lambda content: content.replace(b"tfdt", b"tfdX"),
        lambda content: content[:0],
    ],
)
def test_a_damaged_file_is_refused_and_kept(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = file_of(tmp_path, behind(2000))
    path.write_bytes(damage(path.read_bytes()))
    fd = os.open(path, os.O_RDONLY)
    with suppress(NotFragmentedMp4), os.fdopen(fd, "rb"):
        file = BoxReader(fd)
        assert sound_changes(file, read_structure(file, path.stat().st_size)) == []
