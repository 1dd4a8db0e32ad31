"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.clock import rfc3339


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (datetime(99, 10, 15, 1, 2, 3, 4999, tzinfo=UTC), "0099-10-15T01:02:03.004Z"),
        (datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-02-28T23:00:00.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_with_four_digits_for_its_year(moment: datetime, text: str) -> None:
    """strftime wrote 99-10-15, which no reader takes."""
    assert rfc3339(moment) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_as_the_same_time(moment: datetime) -> None:
    read = datetime.fromisoformat(rfc3339(moment))
    assert timedelta() <= moment - read < timedelta(milliseconds=1)
