"""The live window over files that the test writes as FFmpeg does."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.errors import NotLive, SegmentNotFound
from streamwarden.model import Segment
from streamwarden.paths import stored_name
from streamwarden.recordings.live import MIN_PARTS, STALE_S, WINDOW_MS, LiveIndex, LiveWindow
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.unit.mp4 import box_writer as boxes

NOT_KEY = 0x10000


def _fragment(*, key: bool = True, ms: int = 1000) -> bytes:
    flags = 0x1 | 0x4 | 0x100
    head = struct.pack(">IIII", flags, 1, 7, 0 if key else NOT_KEY)
    return boxes.fragment(boxes.box(b"trun", head, struct.pack(">I", ms)))


class Recorder:
    """Writes files into ``.live`` and moves them away, a second of the clock for a second of media."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(EPOCH)
        self.index = LiveIndex(self.clock)
        self.camera_id: UUID = uuid4()
        self.live = folder / ".live"
        self.live.mkdir()
        self.stored = folder / "2026-01-02"
        self.stored.mkdir()
        self.index.opened(self.camera_id, self.live)

    def path(self, run: int, number: int) -> Path:
        return self.live / f"r{run}-{number:06d}.mp4"

    def begin(self, run: int, number: int) -> None:
        self.path(run, number).write_bytes(boxes.header())

    def write(self, run: int, number: int, *, key: bool = True, whole: bool = True) -> None:
        self.clock.advance(1)
        data = _fragment(key=key)
        path = self.path(run, number)
        with path.open("ab") as file:
            file.write(data if whole else data[:-5])
        now = self.clock.now().timestamp()
        os.utime(path, (now, now))

    def finish(self, run: int, number: int, *, seconds: int) -> None:
        ended_at = self.clock.now()
        started_at = ended_at - timedelta(seconds=seconds)
        self.path(run, number).rename(self.stored_path(started_at, run, number))
        self.index.stored(
            Segment(
                id=uuid4(),
                camera_id=self.camera_id,
                owner="alice",
                run=run,
                number=number,
                started_at=started_at,
                ended_at=ended_at,
                media_ms=seconds * 1000,
                size_bytes=0,
                path="",
            )
        )

    def stored_path(self, started_at: datetime, run: int, number: int) -> Path:
        return self.live.parent / stored_name(started_at, run, number)

    def record(self, run: int, number: int, *, seconds: int) -> None:
        self.begin(run, number)
        for _ in range(seconds):
            self.write(run, number)
        self.finish(run, number, seconds=seconds)

    def window(self) -> LiveWindow:
        return self.index.window(self.camera_id)

    def names(self) -> list[str]:
        return [part.name for part in self.window().parts]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    made.index.close()


def test_nothing_is_live_before_anything_is_recorded(recorder: Recorder) -> None:
    with pytest.raises(NotLive):
        recorder.window()
    with pytest.raises(NotLive):
        recorder.index.window(uuid4())
    recorder.begin(1, 0)
    with pytest.raises(NotLive):
        recorder.window()


def test_the_open_file_is_shown_as_far_as_it_is_whole(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(3):
        recorder.write(1, 0)
    recorder.write(1, 0, whole=False)
    window = recorder.window()
    size, init = len(_fragment()), len(boxes.header())
    # The third is shown at once: the ones before have told how far apart key frames are.
    assert [part.offset for part in window.parts] == [init, init + size, init + 2 * size]
    assert {part.size_bytes for part in window.parts} == {size}
    assert {part.init_bytes for part in window.parts} == {init}
    assert window.target_s == 1


def test_who_comes_while_a_file_is_being_stored_sees_it(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(3):
        recorder.write(1, 0)
    recorder.begin(1, 1)
    assert recorder.names() == ["r1-000000.mp4"] * 3


def test_times_follow_from_when_the_file_was_written(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    began = recorder.clock.now()
    for _ in range(3):
        recorder.write(1, 0)
    starts = [part.started_at for part in recorder.window().parts]
    assert starts == [began + timedelta(seconds=n) for n in range(3)]


def test_a_window_slides_and_its_numbers_only_grow(recorder: Recorder) -> None:
    last_end = -1
    seen: dict[int, tuple[str, int]] = {}
    discontinuities = 0
    for number in range(6):
        recorder.begin(1, number)
        for second in range(5):
            recorder.write(1, number)
            if number == 0 and second < 2:
                continue
            window = recorder.window()
            assert window.discontinuities >= discontinuities
            discontinuities = window.discontinuities
            for place, part in enumerate(window.parts, window.sequence):
                # A part never changes once it has been shown.
                assert seen.setdefault(place, (part.name, part.offset)) == (part.name, part.offset)
            assert window.sequence + len(window.parts) > last_end
            last_end = window.sequence + len(window.parts) - 1
        recorder.finish(1, number, seconds=5)
    assert sorted(seen) == list(range(min(seen), max(seen) + 1))
    assert len(set(seen.values())) == len(seen) == 30
    assert len(recorder.window().parts) * 1000 == WINDOW_MS
    assert discontinuities == 3


def test_a_player_that_comes_late_in_a_file_finds_enough(recorder: Recorder) -> None:
    for number in range(4):
        recorder.record(1, number, seconds=3)
    recorder.begin(1, 4)
    recorder.write(1, 4)
    assert len(recorder.window().parts) >= MIN_PARTS


def test_a_file_stays_to_be_had_by_its_name_while_and_after_it_moves(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(3):
        recorder.write(1, 0)
    name = recorder.names()[0]
    recorder.path(1, 0).rename(recorder.stored / "on its way.mp4")
    for _ in range(2):
        with recorder.index.open(recorder.camera_id, name).stream as file:
            assert file.read().startswith(boxes.header())
        (recorder.stored / "on its way.mp4").rename(recorder.path(1, 0))
        recorder.finish(1, 0, seconds=3)
        stored = recorder.stored_path(recorder.clock.now() - timedelta(seconds=3), 1, 0)
        stored.rename(recorder.stored / "on its way.mp4")


@pytest.mark.parametrize(
    "name",
    [
        "../ledger.json",
        "ledger.json",
        "r1-0.mp4",
        "r01-000000.mp4",
        "r1-000000.mp4/",
        "r1-000009.mp4",
        "",
        "r1-000000.mp4\0",
        "..%2fr1-000000.mp4",
    ],
)
def test_no_other_name_opens_anything(recorder: Recorder, name: str) -> None:
    (recorder.live / "ledger.json").write_text("secret")
    recorder.begin(1, 0)
    with pytest.raises(SegmentNotFound):
        recorder.index.open(recorder.camera_id, name)


def test_a_link_in_the_folder_is_not_followed(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    recorder.path(1, 0).symlink_to(tmp_path / "secret")
    with pytest.raises(SegmentNotFound):
        recorder.index.open(recorder.camera_id, "r1-000000.mp4")


def test_where_a_run_takes_over_no_time_is_shown_twice(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(4):
        recorder.write(1, 0)
    recorder.window()
    recorder.begin(2, 0)
    for _ in range(2):
        recorder.write(1, 0)
        recorder.clock.advance(-1)
        recorder.write(2, 0)
    assert set(recorder.names()) == {"r1-000000.mp4"}
    recorder.finish(1, 0, seconds=6)
    for _ in range(2):
        recorder.write(2, 0)
    parts = recorder.window().parts
    assert {part.name for part in parts} == {"r1-000000.mp4", "r2-000000.mp4"}
    assert all(
        one.ended_at <= after.started_at + timedelta(milliseconds=500)
        for one, after in itertools.pairwise(parts)
    )


def test_what_has_stopped_is_no_longer_live(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(3):
        recorder.write(1, 0)
    recorder.window()
    for _ in range(3):
        recorder.clock.advance(STALE_S / 3)
        recorder.window()
    recorder.clock.advance(STALE_S / 3)
    with pytest.raises(NotLive):
        recorder.window()


def test_a_sequence_never_goes_back_even_when_all_is_forgotten(recorder: Recorder) -> None:
    recorder.begin(1, 0)
    for _ in range(3):
        recorder.write(1, 0)
    before = recorder.window()
    recorder.clock.advance(STALE_S + 1)
    for _ in range(3):
        recorder.write(1, 0)
    after = recorder.window()
    assert after.sequence >= before.sequence + len(before.parts)
    recorder.index.forget(recorder.camera_id)
    recorder.index.opened(recorder.camera_id, recorder.live)
    recorder.write(1, 0)
    assert recorder.window().sequence >= after.sequence


def test_a_file_that_is_no_mp4_is_passed_over(recorder: Recorder) -> None:
    recorder.path(1, 0).write_bytes(boxes.box(b"moof", b"") + boxes.box(b"mdat", b""))
    with pytest.raises(NotLive):
        recorder.window()
    recorder.begin(1, 1)
    for _ in range(3):
        recorder.write(1, 1)
    assert set(recorder.names()) == {"r1-000001.mp4"}
