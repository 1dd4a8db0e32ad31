from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamwarden.ffmpeg.run import SegmentListReader, StampWatch

LINES = (
    b"r7-000000.mp4,0.000000,15.000000\n"
    b"Warning: something else\n"
    b"\n"
    b"r7-000001.mp4,15.000000,30.500000\n"
    b"r8-000002.mp4,30.000000,45.000000\n"
    b"r7-000002.mp4,30.500000,29.000000\n"
    + b"x" * 5000
    + b"r7-000009.mp4,0,1\n"
    + b"r7-000003.mp4,nan,inf\r\n"
    b"r7-000004.mp4\n"
    b"r7-000005.mp4,1,2,3\n"
    b"\xff\xfe\x00,1,2\n"
    b"../r7-000006.mp4,0,1\n"
    b"r7-000007.mp4,0,1"
)
SEGMENTS = [
    (0, 15.0),
    (1, 15.5),
    (2, 0.0),
    (3, 0.0),
    (4, 0.0),
    (5, 0.0),
]


def _fed(reader: SegmentListReader, chunk: bytes) -> list[tuple[int, float]]:
    return [(one.number, one.media_s) for one in reader.feed(chunk)]


def test_a_line_says_where_its_segment_begins() -> None:
    lines = b"r7-000001.mp4,15.000000,30.500000\nr7-000002.mp4,30.500000,29.000000\n"
    assert SegmentListReader(7).feed(lines) == [(1, 15.5, 15.0), (2, 0.0, 0.0)]


def test_a_list_in_one_piece_is_read_line_by_line() -> None:
    reader = SegmentListReader(7)
    assert _fed(reader, LINES) == SEGMENTS
    assert reader.dropped == 5
    assert _fed(reader, b"\n") == [(7, 1.0)]


@given(st.lists(st.integers(0, len(LINES)), max_size=12))
def test_it_does_not_matter_where_the_pipe_cuts(cuts: list[int]) -> None:
    reader, found, begin = SegmentListReader(7), [], 0
    for end in [*sorted(cuts), len(LINES)]:
        found += _fed(reader, LINES[begin:end])
        begin = end
    assert (found, reader.dropped) == (SEGMENTS, 5)


def test_every_single_byte_may_come_alone() -> None:
    reader = SegmentListReader(7)
    assert [s for byte in LINES for s in _fed(reader, bytes([byte]))] == SEGMENTS


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_junk_is_dropped_and_never_raises(chunks: list[bytes]) -> None:
    reader = SegmentListReader(7)
    for chunk in chunks:
        _fed(reader, chunk)
    assert _fed(reader, b"\nr7-000001.mp4,0,2\n") == [(1, 2.0)]


def test_a_line_without_an_end_is_not_kept() -> None:
    reader = SegmentListReader(7)
    for _ in range(1000):
        assert _fed(reader, b"r7-000001.mp4," * 5000) == []
        assert len(reader._rest) <= 4096
    assert _fed(reader, b",0,1\nr7-000002.mp4,0,2\n") == [(2, 2.0)]
    assert reader.dropped == 1


def test_the_end_of_a_line_too_long_to_keep_is_no_line() -> None:
    reader = SegmentListReader(7)
    assert _fed(reader, b"x" * 5000) == []
    assert _fed(reader, b"r7-000003.mp4,0,1\n") == []
    assert _fed(reader, b"r7-000004.mp4,0,1\n") == [(4, 1.0)]


def test_a_number_of_any_length_is_a_strangers() -> None:
    reader = SegmentListReader(7)
    digits = b"9" * 4050
    assert _fed(reader, b"r7-" + digits + b".mp4,0,1\nr7-000001.mp4,0,1e400\n") == [(1, 0.0)]


def _jumped(lines: list[tuple[float, float]], *, life_s: float = 1000.0) -> bool:
    """Whether segments that end at the first value and are listed at the second have a jump."""
    watch = StampWatch()
    for ended_s, now_s in lines:
        watch.note(ended_s, 0.0, now_s)
    return watch.due(0.0, life_s)


def test_stamps_that_jump_ahead_are_seen_and_late_lists_and_quick_clocks_are_none() -> None:
    steady = [(4.0 * n, 4.0 * n + 0.5) for n in range(1, 20)]
    assert not _jumped(steady)
    assert not _jumped([(2 * ended, now) for ended, now in steady])
    assert not _jumped([(60.0 * n, 600.0) for n in range(1, 10)]), "read late, all at once"
    assert _jumped([*steady, (3680.0, 80.5)])
    assert _jumped([(3604.0, 4.5)]), "in its first segment"
    assert _jumped([(4.0, 4.5), (3605.0, 5.5), (3606.0, 6.5)])
    assert not _jumped([*steady, (3680.0, 80.5)], life_s=9.0), "not within its first seconds"
