"""Cursors: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.clock import to_milliseconds
from streamwarden.errors import InvalidInput
from streamwarden.storage.pool import BEGINNING, Position, decode_cursor, encode_cursor

URL_SAFE = frozenset(string.ascii_letters + string.digits + "-_")
moments = st.datetimes(timezones=st.just(UTC)).map(to_milliseconds)


@given(moments, st.uuids())
def test_a_position_survives_being_handed_out(moment: datetime, item: object) -> None:
    position = Position(moment, item)  # type: ignore[arg-type] # hypothesis's uuids() is untyped

    cursor = encode_cursor(position)

    assert decode_cursor(cursor) == position
    assert URL_SAFE.issuperset(cursor)


@given(st.text())
def test_any_text_is_a_position_or_refused_by_name(text: str) -> None:
    try:
        position = decode_cursor(text)
    except InvalidInput:
        return
    assert encode_cursor(position) == text


def test_no_cursor_is_the_beginning() -> None:
    assert decode_cursor(None) == BEGINNING


def test_a_time_past_the_end_of_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidInput):
        decode_cursor("f" * 32)
