"""Addresses of cameras: what is taken, what is cleaned, and what could be read in two ways."""

from __future__ import annotations

import pytest

from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.credentials import CameraCredentials, check_credentials
from streamwarden.mediamtx.source_urls import (
    MAX_SOURCE_CHARS,
    parse_source,
    shown_source,
    source_host,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rtsp://10.0.0.7", "rtsp://10.0.0.7"),
        ("rtsp://10.0.0.7/", "rtsp://10.0.0.7/"),
        ("RTSP://Cam-1.LAN:554/Stream/1", "rtsp://cam-1.lan/Stream/1"),
        (
            "rtsp://cam_2.lan:8554/a?channel=1&subtype=0",
            "rtsp://cam_2.lan:8554/a?channel=1&subtype=0",
        ),
        ("rtsps://cam.lan:322/x", "rtsps://cam.lan/x"),
        ("rtsps://cam.lan:554/x", "rtsps://cam.lan:554/x"),
        ("rtsp://[fd00::7]:8554/x", "rtsp://[fd00::7]:8554/x"),
        ("rtsp://[FD00:0::7]/x", "rtsp://[fd00::7]/x"),
        ("rtsp://10.0.0.7/user%40home;a=(1),'2'!*", "rtsp://10.0.0.7/user%40home;a=(1),'2'!*"),
    ],
)
def test_an_address_has_one_spelling(text: str, clean: str) -> None:
    url, shown = parse_source(text)
    assert (str(url), shown) == (clean, None)
    assert parse_source(clean) == (url, None)


@pytest.mark.parametrize(
    ("userinfo", "username", "password"),
    [
        ("viewer:geheim", "viewer", "geheim"),
        ("viewer:a:b", "viewer", "a:b"),
        ("viewer", "viewer", ""),
        ("vi%65wer:p%40%2Fss%3A%23%24", "viewer", "p@/ss:#$"),
        ("%E9%96%80:%E7%A7%98", "門", "秘"),
    ],
)
def test_credentials_in_an_address_are_taken_out_of_it(
    userinfo: str, username: str, password: str
) -> None:
    url, shown = parse_source(f"rtsp://{userinfo}@10.0.0.7:8554/x")
    assert str(url) == "rtsp://10.0.0.7:8554/x"
    assert shown == CameraCredentials(username, password)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "http://10.0.0.7/",
        "rtmp://10.0.0.7/",
        "rtsp+http://10.0.0.7/",
        "file:///etc/passwd",
        "rtsp:10.0.0.7",
        "rtsp:/10.0.0.7",
        "rtsp://",
        "rtsp:///x",
        "rtsp://:554/x",
        "rtsp://@/x",
        "rtsp://10.0.0.7:0/x",
        "rtsp://10.0.0.7:65536/x",
        "rtsp://10.0.0.7:5x4/x",
        "rtsp://10.0.0.7:-1/x",
        # Addresses that only some readers take for addresses.
        "rtsp://2130706433/x",
        "rtsp://0177.0.0.1/x",
        "rtsp://0x7f.0.0.1/x",
        "rtsp://0x7f000001/x",
        "rtsp://127.1/x",
        "rtsp://10.0.0.7./x",
        "rtsp://10.0.0.256/x",
        "rtsp://cam.0x7f/x",
        "rtsp://\uff11\uff10.0.0.7/x",
        "rtsp://[fe80::1%25eth0]/x",
        "rtsp://[fe80::1%eth0]/x",
        "rtsp://[v1.x]/x",
        "rtsp://[10.0.0.7]/x",
        "rtsp://fd00::7/x",
        "rtsp://[fd00::7/x",
        # Whose host is it?
        "rtsp://10.0.0.7@evil@10.0.0.8/x",
        "rtsp://10.0.0.7/x@evil/",
        "rtsp://10.0.0.7?@evil/",
        "rtsp://10.0.0.7#@evil/",
        "rtsp://10.0.0.7\\@evil/",
        "rtsp://evil /x",
        "rtsp://a:p@ss@10.0.0.7/x",
        # What others would fill in, cut off or put into a second line.
        "rtsp://10.0.0.7/$G1",
        "rtsp://10.0.0.7/?$MTX_QUERY",
        "rtsp://10.0.0.7/x#y",
        "rtsp://10.0.0.7/x\r\nCSeq: 2",
        "rtsp://10.0.0.7/x\ty",
        " rtsp://10.0.0.7/x",
        "rtsp://10.0.0.7/%0d%0aCSeq",
        "rtsp://10.0.0.7/%00",
        "rtsp://10.0.0.7/%zz",
        "rtsp://10.0.0.7/%",
        "rtsp://10.0.0.7/a[1]",
        "rtsp://%FF:x@10.0.0.7/",
        "rtsp://ca\u0438m.lan/x",
        "rtsp://-cam.lan/x",
        "rtsp://cam..lan/x",
        "rtsp://" + "a" * 64 + ".lan/x",
        "rtsp://10.0.0.7/" + "x" * MAX_SOURCE_CHARS,
    ],
)
def test_what_is_no_address_or_two_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_source(text)
    assert refused.value.field == "source_url"
    assert "evil" not in str(refused.value)


def test_the_media_server_is_given_the_address_that_was_judged_and_what_to_show() -> None:
    shown = CameraCredentials("vie wer", "p@s/s:#$G1%")
    url, _ = parse_source("rtsp://cam.lan:8554/x?y=1")
    pulled = "rtsp://vie%20wer:p%40s%2Fs%3A%23%24G1%25@10.0.0.7:8554/x?y=1"
    assert url.for_media_server("10.0.0.7", shown) == pulled
    assert url.for_media_server("fd00::7", None) == "rtsp://[fd00::7]:8554/x?y=1"
    assert parse_source(pulled) == (parse_source("rtsp://10.0.0.7:8554/x?y=1")[0], shown)


def test_rtsps_keeps_the_name_that_its_certificate_is_for() -> None:
    url, _ = parse_source("rtsps://cam.lan/x")
    assert url.for_media_server("10.0.0.7", None) == "rtsps://cam.lan/x"


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [
        ("", "x", "source_username"),
        ("a" * 129, "x", "source_username"),
        ("a:b", "x", "source_username"),
        ("a\nb", "x", "source_username"),
        ("a", "x" * 257, "source_password"),
        ("a", "x\x00y", "source_password"),
        ("a", "x\u2028y", "source_password"),
        ("a", "x\ud800", "source_password"),
    ],
)
def test_credentials_that_cannot_be_shown_are_refused(
    username: str, password: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_credentials(CameraCredentials(username, password))
    assert refused.value.field == field


def test_no_repr_shows_the_password() -> None:
    assert "geheim" not in repr(CameraCredentials("viewer", "geheim"))


XM = "/user=admin&password=hunter2&channel=1&stream=0.sdp?auth=YWRtaW46aHVudGVyMg=="


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (XM, "/user=admin&password=***&channel=1&stream=0.sdp?auth=***"),
        ("/cam?usr=a&pwd=x;b=1", "/cam?usr=a&pwd=***;b=1"),
        ("/a/b?token=1&x=2", "/a/b?token=***&x=2"),
        ("/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp", "/user=admin_password=***"),
        ("/x?%70assword=abc", "/x?%70assword=***"),
        ("/h?channel=1&password=a/b/c&z=1", "/h?channel=1&password=***&z=1"),
        ("/user=admin,password=x,ch=1", "/user=admin,password=***"),
        ("/?loginuse=admin&loginpas=888888", "/?loginuse=admin&loginpas=***"),
        ("/h?username=a&Video.PassWord=x", "/h?username=a&Video.PassWord=***"),
        ("/live?password=a=b==&c=1", "/live?password=***&c=1"),
        ("/s?key=1&sessionid=2&access_token=3", "/s?key=***&sessionid=***&access_token=***"),
    ],
)
def test_secrets_in_an_address_are_masked(rest: str, shown: str) -> None:
    url, _ = parse_source(f"rtsp://10.0.0.7:8554{rest}")
    assert url.masked.rest == shown
    assert str(url.masked) == shown_source(str(url)) == f"rtsp://10.0.0.7:8554{shown}"
    assert url.masked.masked == url.masked
    assert source_host(str(url)) == "rtsp://10.0.0.7:8554"
    opened = url.masked.with_secrets(CameraCredentials(rest=url.rest))
    assert opened == url
    assert url.masked.for_media_server("10.0.0.7", CameraCredentials(rest=url.rest)) == str(url)


@pytest.mark.parametrize(
    "rest",
    ["", "/", "/Streaming/Channels/101?transportmode=unicast&profile=1", "/live?password=",
     "/keyframe=1", "/cam/realmonitor?channel=1&subtype=00", "/pass/x", "/h264Preview_01_main"],
)  # fmt: skip
def test_an_address_without_secrets_is_shown_as_it_is(rest: str) -> None:
    url, _ = parse_source(f"rtsp://10.0.0.7{rest}")
    assert url.masked == url


def test_secrets_of_another_address_are_not_sent() -> None:
    url, _ = parse_source("rtsp://10.0.0.7/other?token=***")
    assert url.with_secrets(CameraCredentials(rest="/a?token=secret")) == url
