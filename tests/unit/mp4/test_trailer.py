"""A finished file is described by its trailer, and only by one that is true of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamwarden.mp4 import fragments
from streamwarden.mp4.boxes import NotFragmentedMp4, TrackExtent, Trailer, read_trailer
from streamwarden.mp4.fragments import FileSummary, summarise, summarise_finished
from tests.unit.mp4 import box_writer as boxes
from tests.unit.mp4.box_writer import AUDIO, VIDEO, timed_fragment

HEADER = boxes.header()
PICTURES = b"".join(timed_fragment(5000 + at, [40] * 5) for at in (0, 200, 400))
SOUND = timed_fragment(0, [1024] * 3, id_=AUDIO)


def _whole(body: bytes = HEADER + PICTURES, **tracks: list[int]) -> bytes:
    offsets = {VIDEO: tracks.get("video", boxes.moofs(body)), AUDIO: tracks.get("audio", [])}
    return body + boxes.trailer(offsets)


def _finished(folder: Path, content: bytes) -> FileSummary:
    path = folder / "x.mp4"
    path.write_bytes(content)
    with path.open("rb") as file:
        return summarise_finished(file.fileno(), len(content))


def _same_as_by_boxes(folder: Path, content: bytes) -> bool:
    try:
        found = _finished(folder, content)
    except NotFragmentedMp4:
        found = None
    try:
        return found == summarise(folder / "x.mp4")
    except NotFragmentedMp4:
        return found is None


@pytest.fixture
def no_box_by_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but the trailer give an answer."""

    def refuse(_pictures: object) -> int:
        raise AssertionError("counted box by box")

    monkeypatch.setattr(fragments, "_shown", refuse)


@pytest.mark.usefixtures("no_box_by_box")
@pytest.mark.parametrize("version", [0, 1])
def test_a_finished_file_is_described_by_its_trailer(tmp_path: Path, version: int) -> None:
    fragments = [timed_fragment(at, [40] * 5, version=version) for at in (70, 270)]
    body = HEADER + b"".join(fragments)
    content = body + boxes.trailer({VIDEO: boxes.moofs(body)}, version=version)
    assert _finished(tmp_path, content) == FileSummary(
        len(body), 400, complete=True, init_bytes=len(HEADER)
    )


@pytest.mark.usefixtures("no_box_by_box")
def test_sound_that_goes_on_alone_at_the_end_does_not_count(tmp_path: Path) -> None:
    body = HEADER + PICTURES + SOUND
    all_of_them = boxes.moofs(body)
    content = _whole(body, video=all_of_them[:3], audio=all_of_them)
    assert _finished(tmp_path, content).media_ms == 600


@pytest.mark.usefixtures("no_box_by_box")
def test_a_hole_in_the_time_stamps_counts_as_played(tmp_path: Path) -> None:
    body = HEADER + timed_fragment(0, [40] * 5) + timed_fragment(3200, [40] * 5)
    assert _finished(tmp_path, _whole(body)).media_ms == 3400


@pytest.mark.parametrize("jump", [-300, 3_600_000])
def test_time_stamps_that_jump_do_not_count(tmp_path: Path, jump: int) -> None:
    body = HEADER + timed_fragment(400, [40] * 5) + timed_fragment(400 + jump, [40] * 5)
    assert _finished(tmp_path, _whole(body)).media_ms == 400


@pytest.mark.usefixtures("no_box_by_box")
def test_the_lead_of_the_first_frame_is_told(tmp_path: Path) -> None:
    body = HEADER + timed_fragment(0, [900, 40, 40]) + timed_fragment(980, [40] * 5)
    assert _finished(tmp_path, _whole(body)).lead_ms == 860


@pytest.mark.usefixtures("no_box_by_box")
def test_a_long_files_trailer_is_read_as_a_whole(tmp_path: Path) -> None:
    body = HEADER + b"".join(timed_fragment(at * 200, [40] * 5) for at in range(400))
    assert _finished(tmp_path, _whole(body)).media_ms == 80_000


@pytest.mark.parametrize(
    "content",
    [
        HEADER + PICTURES,
        _whole()[:-1],
        _whole() + b"x",
        _whole(HEADER + SOUND + PICTURES, video=boxes.moofs(HEADER + SOUND + PICTURES)[1:]),
        _whole(video=[boxes.moofs(HEADER + PICTURES)[0] + 1]),
        _whole(video=boxes.moofs(HEADER + PICTURES)[:2]),
        _whole(video=[*boxes.moofs(HEADER + PICTURES), 2**63]),
        _whole(video=[]),
        HEADER + PICTURES + boxes.box(b"mfra", boxes.box(b"mfro", bytes(4), b"\xff\xff\xff\xff")),
        HEADER + PICTURES + boxes.box(b"mfra", boxes.box(b"mfro", bytes(8))),
    ],
)
def test_a_trailer_that_is_not_true_is_not_believed(tmp_path: Path, content: bytes) -> None:
    assert _same_as_by_boxes(tmp_path, content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(len(HEADER), len(HEADER + PICTURES) - 1), lost=st.integers(1, 400))
def test_bytes_that_a_full_disk_has_swallowed_are_noticed(
    tmp_path: Path, at: int, lost: int
) -> None:
    content = _whole()[:at] + _whole()[min(at + lost, len(HEADER + PICTURES)) :]
    assert _same_as_by_boxes(tmp_path, content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(_whole()) - 1), new=st.binary(min_size=1, max_size=9))
def test_bytes_changed_anywhere_raise_nothing_but_not_fragmented(
    tmp_path: Path, at: int, new: bytes
) -> None:
    content = (_whole()[:at] + new + _whole()[at + len(new) :])[: len(_whole())]
    try:
        summary = _finished(tmp_path, content)
    except NotFragmentedMp4:
        return
    assert 0 <= summary.whole_bytes <= len(content)


def test_each_tracks_first_and_last_fragment_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(bytes(50) + boxes.trailer({1: [10, 20, 30], 2: [5, 40]}))
    with path.open("rb") as file:
        found = read_trailer(file.fileno(), path.stat().st_size)
    assert found == Trailer(50, {1: TrackExtent((10, 20, 30)), 2: TrackExtent((5, 40))})
    assert (found.first, found.last) == (5, 40)
