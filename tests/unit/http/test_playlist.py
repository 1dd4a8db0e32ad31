"""Playlists as text, and what of overlapping runs is played."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from streamwarden.http.api.playlist import (
    Part,
    Piece,
    Playlist,
    cut,
    one_line,
    overlapping,
    part_of,
    playable,
)
from streamwarden.model import Segment
from tests.fakes.storage_samples import NOON, a_segment, at

CAMERA = uuid4()


def _segment(start: float, end: float, run: int = 1, **changes: Any) -> Segment:  # noqa: ANN401 - any field
    filled: dict[str, Any] = {"init_bytes": 100, "size_bytes": 1000, **changes}
    return a_segment(CAMERA, start=start, end=end, run=run, **filled)


def test_every_file_has_its_own_map_and_a_discontinuity_before_it() -> None:
    ids = [UUID(int=1), UUID(int=2)]
    segments = [_segment(0, 30, id=ids[0]), _segment(30, 60.5, id=ids[1], init_bytes=120)]
    text = Playlist(parts=[part_of(one) for one in segments], kind="VOD").text("a.b")
    assert text == "\n".join(
        [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            "#EXT-X-TARGETDURATION:31",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            f'#EXT-X-MAP:URI="{ids[0]}.mp4?token=a.b",BYTERANGE="100@0"',
            "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z",
            "#EXTINF:30.000,",
            "#EXT-X-BYTERANGE:900@100",
            f"{ids[0]}.mp4?token=a.b",
            "#EXT-X-DISCONTINUITY",
            f'#EXT-X-MAP:URI="{ids[1]}.mp4?token=a.b",BYTERANGE="120@0"',
            "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:30.000Z",
            "#EXTINF:30.500,",
            "#EXT-X-BYTERANGE:880@120",
            f"{ids[1]}.mp4?token=a.b&at=30000",
            "#EXT-X-ENDLIST",
            "",
        ]
    )


def test_a_growing_playlist_has_no_end() -> None:
    text = Playlist(parts=[part_of(_segment(0, 30))], kind="EVENT").text(None)
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in text
    assert "ENDLIST" not in text
    assert "?" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"init_bytes": 0}, False),
        ({"size_bytes": 100}, False),
        ({"media_ms": 0}, False),
    ],
)
def test_what_has_no_known_header_or_no_media_is_not_played(
    changes: dict[str, Any], expected: bool
) -> None:
    assert playable(_segment(0, 30, **changes)) is expected


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        # (start, end, run): what is left of them
        ([(0, 30, 1), (30, 60, 1)], [0, 1]),
        ([(0, 30, 1), (30.4, 30.7, 1), (30.7, 60, 1)], [0, 1, 2]),
        ([(0, 15, 1), (15, 20, 1), (14, 44, 2)], [0, 2]),
        ([(0, 30, 1), (10, 20, 2), (30, 60, 1)], [0, 2]),
        ([(0, 30, 1), (0, 30, 2)], [1]),
        ([(0, 10, 1), (5, 15, 2), (10, 20, 1)], [0, 2]),
        ([(0, 20, 1), (15, 45, 2), (45, 75, 2)], [0, 1, 2]),
    ],
)
def test_no_time_is_played_twice(spans: list[tuple[float, float, int]], kept: list[int]) -> None:
    segments = [_segment(start, end, run) for start, end, run in spans]
    assert one_line(segments) == [segments[n] for n in kept]


def test_the_end_that_reaches_into_the_next_run_is_cut_at_a_fragment() -> None:
    old, new = _segment(0, 20, 1), _segment(15.2, 45, 2)
    assert overlapping([old, new]) == {f"{old.id}.mp4": at(15.2)}
    pieces = [Piece(100 + 40 * n, 1_000) for n in range(1, 21)]
    left = cut(part_of(old), pieces, at(15.2))
    assert left is not None
    assert (left.media_ms, left.offset, left.size_bytes) == (15_000, 100, 600)


def test_a_cut_that_leaves_nothing_leaves_no_part() -> None:
    assert cut(part_of(_segment(0, 20)), [Piece(200, 1_000)], NOON + timedelta(seconds=0.2)) is None


def test_a_sliding_playlist_says_where_it_stands() -> None:
    part = Part(
        uri="live/r1-000000.mp4",
        init_bytes=9,
        offset=9,
        size_bytes=1,
        media_ms=1_040,
        started_at=NOON,
    )
    lines = Playlist(parts=[part, part], sequence=7, discontinuities=2).text("t").splitlines()
    assert "#EXT-X-MEDIA-SEQUENCE:7" in lines
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:2" in lines
    assert sum(line.startswith("#EXT-X-MAP") for line in lines) == 1
