from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from blake3 import blake3

from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.model import Segment
from streamwarden.recordings import segment_store as store_module
from streamwarden.recordings.durable import make_folder, replace_file
from streamwarden.recordings.segment_store import SegmentStore
from tests.unit.mp4 import box_writer as boxes

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
BEGAN = datetime(2026, 3, 29, 23, 59, 50, 125000, tzinfo=UTC)
ENDED = BEGAN + timedelta(seconds=15)
HEADER = boxes.header(sound=False)
FRAGMENT = boxes.fragment(boxes.run([40] * 25))
TORN = HEADER + FRAGMENT * 3 + FRAGMENT[:-5]


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    store = SegmentStore(tmp_path / "rec", "alice", CAMERA)
    store.prepare()
    return store


def _live(store: SegmentStore, content: bytes, *, run: int = 3, number: int = 1) -> Path:
    path = store.live / f"r{run}-{number:06d}.mp4"
    path.write_bytes(content)
    return path


def _publish(store: SegmentStore) -> Segment:
    stored = store.publish(ClosedSegment(run=3, number=1, started_at=BEGAN, ended_at=ENDED))
    assert stored is not None
    return stored.row


def test_a_segment_goes_to_its_day_and_is_described(store: SegmentStore, tmp_path: Path) -> None:
    source = _live(store, content := HEADER + FRAGMENT * 2)
    stored = _publish(store)
    assert stored.path == f"alice/{CAMERA}/2026-03-29/235950.125Z-r3-1.mp4"
    assert (tmp_path / "rec" / stored.path).read_bytes() == content
    assert not source.exists()
    assert (stored.media_ms, stored.size_bytes) == (2000, len(content))
    assert stored.digest == blake3(content).digest()


def test_publishing_again_says_the_same_and_changes_nothing(store: SegmentStore) -> None:
    _live(store, HEADER + FRAGMENT)
    assert _publish(store) == _publish(store)


def test_what_is_already_there_is_never_overwritten(store: SegmentStore, tmp_path: Path) -> None:
    _live(store, HEADER + FRAGMENT)
    kept = tmp_path / "rec" / _publish(store).path
    before = kept.read_bytes()
    source = _live(store, b"another")
    with pytest.raises(FileExistsError):
        _publish(store)
    assert kept.read_bytes() == before
    assert source.read_bytes() == b"another"


def test_a_segment_that_is_nowhere_is_said_to_be(store: SegmentStore) -> None:
    with pytest.raises(FileNotFoundError):
        _publish(store)


def test_a_listed_file_is_kept_even_if_nobody_can_read_it(store: SegmentStore) -> None:
    _live(store, b"what FFmpeg calls whole")
    assert _publish(store).media_ms == 0


def test_a_listed_file_with_a_torn_end_is_cut_too(store: SegmentStore, tmp_path: Path) -> None:
    _live(store, TORN)
    stored = _publish(store)
    assert (tmp_path / "rec" / stored.path).read_bytes() == HEADER + FRAGMENT * 3
    assert (stored.started_at, stored.ended_at, stored.media_ms) == (BEGAN, ENDED, 3000)


def test_a_pipe_in_place_of_a_segment_is_removed_and_nobody_waits_for_its_writer(
    store: SegmentStore,
) -> None:
    pipe = store.live / "r3-000001.mp4"
    os.mkfifo(pipe)
    assert store.publish(ClosedSegment(run=3, number=1, started_at=BEGAN, ended_at=ENDED)) is None
    assert not pipe.exists()
    os.mkfifo(pipe)
    assert (
        store.publish(ClosedSegment(torn=True, run=3, number=1, started_at=BEGAN, ended_at=ENDED))
        is None
    )


@pytest.mark.parametrize("number", [0, 1])
def test_a_torn_middle_is_cut_off_whatever_the_trailer_says(
    store: SegmentStore, tmp_path: Path, number: int
) -> None:
    body = HEADER + boxes.timed_fragment(0, [40] * 25) + boxes.timed_fragment(1000, [40])
    swallowed = body[:-80] + boxes.trailer({boxes.VIDEO: boxes.moofs(body)})
    _live(store, swallowed, number=number)
    stored = store.publish(ClosedSegment(run=3, number=number, started_at=BEGAN, ended_at=ENDED))
    assert stored is not None
    kept = (tmp_path / "rec" / stored.row.path).read_bytes()
    assert kept == HEADER + boxes.timed_fragment(0, [40] * 25)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER,
        HEADER + FRAGMENT[:40],
        HEADER + boxes.box(b"mfra", bytes(16)),
        HEADER + boxes.fragment(boxes.run([500]), id_=boxes.VIDEO + 1),
    ],
)
def test_a_listed_file_that_holds_nothing_is_removed(store: SegmentStore, content: bytes) -> None:
    source = _live(store, content)
    assert store.publish(ClosedSegment(run=3, number=1, started_at=BEGAN, ended_at=ENDED)) is None
    assert not source.exists()


def test_a_torn_file_is_cut_at_its_last_whole_fragment(store: SegmentStore, tmp_path: Path) -> None:
    _live(store, TORN)
    stored = store.publish(
        ClosedSegment(torn=True, run=3, number=1, started_at=None, ended_at=ENDED)
    )
    assert stored is not None
    assert (tmp_path / "rec" / stored.row.path).read_bytes() == HEADER + FRAGMENT * 3
    assert (stored.row.media_ms, stored.row.started_at) == (3000, ENDED - timedelta(seconds=3))


def test_a_whole_file_is_not_cut(store: SegmentStore, tmp_path: Path) -> None:
    whole = HEADER + FRAGMENT + boxes.box(b"mfra", bytes(20))
    _live(store, whole)
    stored = store.publish(
        ClosedSegment(torn=True, run=3, number=1, started_at=BEGAN, ended_at=ENDED)
    )
    assert stored is not None
    assert stored.row.started_at == BEGAN
    assert (tmp_path / "rec" / stored.row.path).read_bytes() == whole


@pytest.mark.parametrize("started_at", [None, BEGAN])
def test_salvaging_again_says_the_same(store: SegmentStore, started_at: datetime | None) -> None:
    _live(store, TORN)
    first, again = (
        store.publish(
            ClosedSegment(torn=True, run=3, number=1, started_at=started_at, ended_at=ENDED)
        )
        for _ in range(2)
    )
    assert first is not None
    assert again == first


@pytest.mark.parametrize("content", [b"", HEADER, HEADER + FRAGMENT[:40], b"junk"])
def test_a_torn_file_without_a_whole_fragment_is_removed(
    store: SegmentStore, content: bytes
) -> None:
    source = _live(store, content)
    assert (
        store.publish(ClosedSegment(torn=True, run=3, number=1, started_at=None, ended_at=ENDED))
        is None
    )
    assert not source.exists()


def test_time_stamps_that_make_no_sense_lead_before_no_date(store: SegmentStore) -> None:
    _live(store, HEADER + boxes.fragment(boxes.run([2**32 - 1] * 40_000)))
    leftover = ClosedSegment(torn=True, started_at=None, run=3, number=1, ended_at=ENDED)
    assert store.media_start(leftover) == ENDED - timedelta(days=1)
    stored = store.publish(
        ClosedSegment(torn=True, run=3, number=1, started_at=None, ended_at=ENDED)
    )
    assert stored is not None
    assert stored.row.started_at == ENDED - timedelta(days=1)


def test_leftovers_are_those_of_runs_that_are_gone_oldest_first(store: SegmentStore) -> None:
    for run, number in ((10, 0), (2, 1), (2, 0), (11, 0)):
        os.utime(_live(store, TORN, run=run, number=number), (0, ENDED.timestamp()))
    (store.live / "ledger.json").write_text("{}")
    (store.live / "r02-000007.mp4").write_bytes(TORN)
    (store.live / "r5-000000.mp4").symlink_to("r2-000000.mp4")
    found = list(store.leftovers({11}))
    assert [(left.run, left.number) for left in found] == [(2, 0), (2, 1), (10, 0)]
    assert found[0].ended_at == ENDED


def test_the_newest_run_is_found_among_stored_and_live_files(store: SegmentStore) -> None:
    assert store.newest_run() == 0
    _live(store, HEADER + FRAGMENT)
    _publish(store)
    assert store.newest_run() == 3
    _live(store, b"", run=12)
    assert store.newest_run() == 12


class Tracer:
    """Notes what is synced and renamed, in order, and does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, str]] = []
        self._fsync, self._rename = os.fsync, Path.rename
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(Path, "rename", self._renamer())

    def fsync(self, fd: int) -> None:
        self.steps.append(("sync", Path(f"/proc/self/fd/{fd}").readlink().name))
        self._fsync(fd)

    def _renamer(self) -> Callable[[Path, Path], Path]:
        def rename(source: Path, target: Path) -> Path:
            self.steps.append(("rename", target.name))
            return self._rename(source, target)

        return rename


def test_the_file_is_on_disk_before_its_name_and_its_name_before_anyone_is_told(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _live(store, HEADER + FRAGMENT)
    tracer = Tracer(monkeypatch)
    _publish(store)
    name = "235950.125Z-r3-1.mp4"
    assert tracer.steps == [
        ("sync", "r3-000001.mp4"),
        ("sync", str(CAMERA)),
        ("rename", name),
        ("sync", "2026-03-29"),
        ("sync", ".live"),
    ]


def test_a_folder_that_could_not_be_synced_is_synced_when_asked_again(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _live(store, HEADER + FRAGMENT)
    with monkeypatch.context() as patch:

        def refuse(folder: Path) -> None:
            raise OSError(5, f"no {folder.name}")

        patch.setattr(store_module, "sync_folder", refuse)
        (store.live.parent / "2026-03-29").mkdir()
        with pytest.raises(OSError, match="no 2026"):
            _publish(store)
    tracer = Tracer(monkeypatch)
    _publish(store)
    assert ("sync", "2026-03-29") in tracer.steps
    assert ("sync", ".live") in tracer.steps


def test_each_new_folder_is_synced_into_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = Tracer(monkeypatch)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert tracer.steps == [("sync", tmp_path.name), ("sync", "a")]
    assert (tmp_path / "a").stat().st_mode & 0o777 & ~0o750 == 0


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for content in (b"1", b"22"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_runs_first_segment_begins_where_its_first_frame_was_taken(store: SegmentStore) -> None:
    # Audio came 500 ms before the first key frame, and FFmpeg stretched that frame over it.
    first = boxes.fragment(boxes.run([540] + [40] * 24))
    _live(store, HEADER + first + FRAGMENT, number=0)
    stored = store.publish(ClosedSegment(run=3, number=0, started_at=BEGAN, ended_at=ENDED))
    assert stored is not None
    assert stored.row.media_ms == 2500
    assert stored.row.started_at == ENDED - timedelta(milliseconds=2000)


def test_a_first_segment_never_begins_before_its_run_could_have_begun(store: SegmentStore) -> None:
    jumped = boxes.fragment(boxes.run([40, 3_600_000, 40]))
    _live(store, HEADER + jumped, number=0)
    stored = store.publish(ClosedSegment(run=3, number=0, started_at=BEGAN, ended_at=ENDED))
    assert stored is not None
    assert stored.row.started_at >= BEGAN
