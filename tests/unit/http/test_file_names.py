"""What a saved file is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote

import pytest

from streamwarden.http.api.relay_file import attachment, file_stem

FROM = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TO = datetime(2026, 3, 1, 21, 0, 1, tzinfo=timezone(timedelta(hours=8)))
SPAN = "20260301T120000Z-20260301T130001Z.mp4"


def test_a_file_is_called_by_its_camera_and_its_time_in_utc() -> None:
    assert attachment("Front door", FROM, TO) == f'attachment; filename="Front-door-{SPAN}"'


def test_a_name_beyond_ascii_is_kept_and_has_a_plain_twin() -> None:
    value = attachment("大門口 2", FROM, TO)
    plain, _, encoded = value.partition("; filename*=UTF-8''")
    assert plain == f'attachment; filename="2-{SPAN}"'
    assert encoded.isascii()
    assert unquote(encoded) == f"大門口-2-{SPAN}"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ('a"; filename="b.exe', "a-;-filename=-b.exe"),
        ("line\r\nSet-Cookie: x", "line-Set-Cookie-x"),
        ("photo\u202egpj.exe", "photo-gpj.exe"),
        ("100 % <b>", "100-b"),
        ("...", "camera"),
        ("", "camera"),
        ("  -.hidden", "hidden"),
    ],
)
def test_what_no_file_name_should_hold_is_left_out(name: str, stem: str) -> None:
    assert file_stem(name) == stem


@pytest.mark.parametrize("char", ["x", "門", "🎥"])
def test_a_long_name_leaves_a_name_that_file_systems_take(char: str) -> None:
    name = unquote(attachment(char * 500, FROM, TO).rpartition("=")[2].strip('"'))
    assert len(name.removeprefix("UTF-8''").encode()) <= 255
    assert name.endswith(SPAN)
