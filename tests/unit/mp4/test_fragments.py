from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamwarden.mp4.boxes import BoxReader, NotFragmentedMp4
from streamwarden.mp4.fragments import FileSummary, init_bytes, summarise
from tests.unit.mp4 import box_writer as boxes
from tests.unit.mp4.box_writer import AUDIO, VIDEO

WITHIN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def _summary(folder: Path, content: bytes) -> FileSummary:
    path = folder / "x.mp4"
    path.write_bytes(content)
    return summarise(path)


def test_media_length_and_end_are_those_of_the_whole_fragments(tmp_path: Path) -> None:
    whole = boxes.header() + boxes.fragment(boxes.run([40, 40])) + boxes.fragment(boxes.run([20]))
    torn = boxes.fragment(boxes.run([500]))[:-1]
    assert _summary(tmp_path, whole + torn) == FileSummary(
        len(whole), 100, complete=False, init_bytes=len(boxes.header())
    )


def test_only_a_trailer_at_the_very_end_makes_a_file_complete(tmp_path: Path) -> None:
    content = boxes.header() + boxes.fragment(boxes.run([40])) + boxes.box(b"mfra", bytes(16))
    assert _summary(tmp_path, content).complete
    assert not _summary(tmp_path, content + b"x").complete
    assert not _summary(tmp_path, content[:-1]).complete


def test_media_data_that_no_header_describes_play_no_time(tmp_path: Path) -> None:
    content = boxes.header() + boxes.fragment(boxes.run([40])) + boxes.box(b"mdat", bytes(9))
    assert _summary(tmp_path, content).media_ms == 40


def test_the_audios_samples_do_not_count(tmp_path: Path) -> None:
    audio = boxes.fragment(boxes.run([9999]), id_=AUDIO)
    content = boxes.header() + audio + boxes.fragment(boxes.run([40]))
    assert _summary(tmp_path, content).media_ms == 40


@pytest.mark.parametrize("version", [0, 1])
def test_the_timescale_is_read_from_either_version_of_the_header(
    tmp_path: Path, version: int
) -> None:
    content = boxes.header(timescale=90000, version=version) + boxes.fragment(boxes.run([45000]))
    assert _summary(tmp_path, content).media_ms == 500


@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("sizes", [True, False])
def test_durations_are_found_among_a_samples_fields(
    tmp_path: Path, offset: bool, sizes: bool
) -> None:
    trun = boxes.run([1, 2, 3], offset=offset, sizes=sizes)
    assert _summary(tmp_path, boxes.header() + boxes.fragment(trun)).media_ms == 6


def test_a_missing_duration_is_the_fragments_default_else_the_movies(tmp_path: Path) -> None:
    movie = boxes.movie(boxes.track(VIDEO), default_duration=11)
    trun = boxes.run_by_default(3)
    assert _summary(tmp_path, movie + boxes.fragment(trun, default=7)).media_ms == 21
    assert _summary(tmp_path, movie + boxes.fragment(trun)).media_ms == 33


def test_a_box_of_64_bit_size_is_read_like_any_other(tmp_path: Path) -> None:
    moof, mdat = boxes.fragment(boxes.run([40]), data=0)[:-8], boxes.large_box(b"mdat", bytes(9))
    content = boxes.header() + moof + mdat
    assert _summary(tmp_path, content) == FileSummary(
        len(content), 40, complete=False, init_bytes=len(boxes.header())
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a movie at all",
        boxes.box(b"ftyp", bytes(8)),
        boxes.movie(boxes.track(AUDIO, handler=b"soun")),
        boxes.movie(boxes.track(VIDEO, timescale=0)),
        boxes.movie(boxes.box(b"trak", boxes.box(b"mdia"))),
        bytes(64),
    ],
)
def test_what_has_no_video_header_is_no_recording(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NotFragmentedMp4):
        _summary(tmp_path, content)


def test_a_header_too_large_to_be_ours_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    size = 17 * 1024 * 1024
    path.write_bytes(size.to_bytes(4, "big") + b"moov")
    os.truncate(path, size)
    with pytest.raises(NotFragmentedMp4, match="b'moov' box of"):
        summarise(path)


def test_a_count_of_samples_that_is_a_lie_reads_nothing_beyond_the_box(tmp_path: Path) -> None:
    lie = boxes.box(b"trun", (0x100).to_bytes(4, "big"), (2**32 - 1).to_bytes(4, "big"))
    with pytest.raises(NotFragmentedMp4):
        _summary(tmp_path, boxes.header() + boxes.fragment(lie))


WHOLE = (
    boxes.header(timescale=12800)
    + boxes.box(b"prft", bytes(24))
    + boxes.fragment(boxes.run([512] * 5))
    + boxes.box(b"prft", bytes(24))
    + boxes.fragment(boxes.run([512] * 5, sizes=False), boxes.run_by_default(2), default=512)
    + boxes.box(b"mfra", bytes(40))
)


def test_a_file_torn_anywhere_keeps_its_whole_fragments_and_raises_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(WHOLE)
    last = summarise(path)
    assert (last.media_ms, last.complete) == (480, True)
    for size in range(len(WHOLE) - 1, -1, -1):
        os.truncate(path, size)
        try:
            now = summarise(path)
        except NotFragmentedMp4:
            now = FileSummary(0, 0, complete=False, init_bytes=0)
        assert now.whole_bytes <= min(size, last.whole_bytes)
        assert now.media_ms <= last.media_ms
        assert not now.complete
        last = now
    assert last.whole_bytes == 0


def test_cutting_at_the_last_whole_fragment_changes_nothing_else(tmp_path: Path) -> None:
    for size in range(len(boxes.header()), len(WHOLE), 7):
        torn = _summary(tmp_path, WHOLE[:size])
        assert _summary(tmp_path, WHOLE[: torn.whole_bytes]) == torn


@WITHIN_ONE_FOLDER
@given(
    at=st.integers(0, len(WHOLE) - 1), new=st.binary(min_size=1, max_size=9), cut=st.integers(0, 60)
)
def test_bytes_changed_anywhere_raise_nothing_but_not_fragmented(
    tmp_path: Path, at: int, new: bytes, cut: int
) -> None:
    content = (WHOLE[:at] + new + WHOLE[at + len(new) :])[: len(WHOLE) - cut]
    try:
        summary = _summary(tmp_path, content)
    except NotFragmentedMp4:
        return
    assert 0 <= summary.whole_bytes <= len(content)
    assert summary.media_ms >= 0


def test_the_header_is_found_once_its_size_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    header = boxes.header()
    sizes = []
    for size in (0, 7, 16, 23, len(header), len(WHOLE)):
        path.write_bytes(WHOLE[:size] if size > len(header) else header[:size])
        with path.open("rb") as file:
            sizes.append(init_bytes(file.fileno()))
    assert sizes[:3] == [None, None, None]
    assert sizes[4] == len(header)
    assert sizes[5] is not None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(WHOLE)
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    with pytest.raises(OSError, match="symbolic"):
        summarise(tmp_path / "link.mp4")


def test_behind_a_damaged_size_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(boxes.header())
    with path.open("rb") as file:
        assert BoxReader(file.fileno()).box(2**64 + 8) is None
