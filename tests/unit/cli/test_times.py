from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from streamwarden.cli.arguments import moment


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["Asia/Taipei"], indirect=True)
def test_a_time_without_a_zone_is_local_and_is_printed_in_both(
    zone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zone
    assert moment("2026-01-31T09:00") == datetime(2026, 1, 31, 1, tzinfo=UTC)
    said = capsys.readouterr().err
    assert "2026-01-31 09:00:00+0800 is 2026-01-31T01:00:00.000Z" in said


@pytest.mark.parametrize("zone", ["Asia/Taipei"], indirect=True)
@pytest.mark.parametrize("text", ["2026-01-31T01:00Z", "2026-01-31T02:00+01:00"])
def test_a_time_with_a_zone_is_taken_as_it_is_and_nothing_is_said(
    zone: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zone
    assert moment(text) == datetime(2026, 1, 31, 1, tzinfo=UTC)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize("text", ["2026-10-25T02:30", "2026-03-29T02:30"])
def test_a_local_time_that_exists_twice_or_never_is_refused(zone: str, text: str) -> None:
    assert zone
    with pytest.raises(argparse.ArgumentTypeError, match="give its zone"):
        moment(text)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a time"):
        moment("yesterday")
