from __future__ import annotations

import pytest

from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.rtsp_client import CameraUrl, Login, parse_camera_url


@pytest.mark.parametrize(
    ("text", "url", "port"),
    [
        ("rtsp://192.0.2.7/a?b=c", CameraUrl("rtsp://192.0.2.7/a?b=c"), 554),
        ("rtsps://h/a", CameraUrl("rtsps://h/a"), 322),
        (
            "rtsp://u:p%40%3A%2F@h:8554/a#part",
            CameraUrl("rtsp://h:8554/a", Login("u", "p@:/")),
            8554,
        ),
        ("rtsp://u:p@ss@[::1]/a", CameraUrl("rtsp://[::1]/a", Login("u", "p@ss")), 554),
        ("rtsp://u@h/", CameraUrl("rtsp://h/", Login("u", "")), 554),
    ],
)
def test_user_and_password_are_taken_out_of_a_url(text: str, url: CameraUrl, port: int) -> None:
    assert parse_camera_url(text) == url
    assert parse_camera_url(text).port == port


def test_with_its_login_a_url_is_one_that_ffmpeg_reads_and_can_be_quoted() -> None:
    whole = CameraUrl("rtsp://h/a", Login("u:'", 'p@/"\\\n')).with_login()
    assert whole == "rtsp://u%3A%27:p%40%2F%22%5C%0A@h/a"
    assert parse_camera_url(whole).login == Login("u:'", 'p@/"\\\n')


@pytest.mark.parametrize(
    "text",
    ["http://h/", "rtsp:///a", "h/a", "", "rtsp://h:x/", "rtsp://h:99999/", "rtsp://h/\n", "rtsp://h/ä",
     "rtsp://h/a b", "rtsp://[::1", "rtsp://h/" + "x" * 3000],
)  # fmt: skip
def test_what_is_no_url_of_a_camera_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_camera_url(text)


def test_a_refused_url_and_a_repr_show_no_password() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_camera_url("rtsp://u:SECRET@h:x/")
    assert "SECRET" not in str(refused.value) + repr(parse_camera_url("rtsp://u:SECRET@h/"))
