from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.http.streaming.stored_files import (
    ByteRange,
    Unsatisfiable,
    byte_range,
    is_current,
    range_applies,
)

ENDED = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", ByteRange(0, 99)),
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=10-19", ByteRange(10, 19)),
        ("bytes=90-1000", ByteRange(90, 99)),
        ("bytes=-10", ByteRange(90, 99)),
        ("bytes=-1000", ByteRange(0, 99)),
        ("Bytes=1-2", ByteRange(1, 2)),
        ("bytes= 1-2", ByteRange(1, 2)),
    ],
)
def test_one_range_is_taken(header: str, span: ByteRange) -> None:
    assert byte_range(header, 100) == span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=\u0661-\u0662",
        "bytes=1-2-3",
        "bytes=0-" + "9" * 30,
    ],
)
def test_what_is_no_single_range_means_the_whole_file(header: str | None) -> None:
    assert byte_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0)]
)
def test_a_range_after_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, size)


@given(st.text(max_size=40), st.integers(0, 10**6))
def test_a_span_never_leaves_the_file(text: str, size: int) -> None:
    try:
        span = byte_range("bytes=" + text, size)
    except Unsatisfiable:
        return
    if span is not None:
        assert 0 <= span.first <= span.last < size


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"tag"', True),
        ('W/"tag"', False),
        ('"other"', False),
        ("Fri, 02 Jan 2026 03:04:05 GMT", True),
        ("Fri, 02 Jan 2026 03:04:06 GMT", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_range_counts_only_for_the_file_that_the_client_knows(
    if_range: str | None, applies: bool
) -> None:
    assert range_applies(if_range, etag="tag", modified_at=ENDED) is applies


@pytest.mark.parametrize(
    ("header", "current"),
    [
        (None, False),
        ("*", True),
        ('"tag"', True),
        ('W/"tag"', True),
        ('"a", "tag"', True),
        ('"a"', False),
        ("tag", False),
    ],
)
def test_a_known_tag_needs_no_new_copy(header: str | None, current: bool) -> None:
    assert is_current(header, "tag") is current
