from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.rtsp_urls import (
    RtspTarget,
    check_rtsp_url,
    internal_url,
    publish_url,
    redact,
    redactor,
    token_expiry,
)
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.errors import InvalidInput
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON

SIGNED = StreamTokens(parse_keys(f"k1:{KEY}"), ManualClock(NOON)).sign_view("u1", "cam/1", ttl_s=60)


def test_a_url_is_base_path_and_token() -> None:
    assert internal_url("rtsp://mediamtx:8554", "cam/1", "t.o-k_n") == (
        "rtsp://mediamtx:8554/cam/1?token=t.o-k_n"
    )
    assert publish_url("rtsps://host/", "p", "t") == "rtsps://host/p?token=t"


@given(
    path=st.from_regex(r"[A-Za-z0-9_-]{1,9}(/[A-Za-z0-9_-]{1,9}){0,3}", fullmatch=True),
    token=st.text(),
)
def test_what_is_put_into_a_url_comes_out_of_it(path: str, token: str) -> None:
    parts = urlsplit(internal_url("rtsp://h", path, token))
    assert parts.path == f"/{path}"
    assert parse_qs(parts.query, keep_blank_values=True) == {"token": [token]}


def test_a_made_url_passes_the_check() -> None:
    made = internal_url("rtsp://mediamtx:8554", "cam/1", SIGNED.token)
    assert check_rtsp_url(made) == RtspTarget("mediamtx", 8554)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtsp://mediamtx/p", RtspTarget("mediamtx", 554)),
        ("RTSPS://MediaMTX/p?token=x", RtspTarget("mediamtx", 322)),
        ("rtsp://[::1]:8554/p", RtspTarget("::1", 8554)),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, target: RtspTarget) -> None:
    assert check_rtsp_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "p",
        "http://mediamtx/p",
        "file:///etc/passwd",
        "concat:a|b",
        "rtsp:mediamtx/p",
        "rtsp:///p",
        "rtsp://mediamtx@other/p",
        "rtsp://other@mediamtx/p",
        "rtsp://other\\@mediamtx/p",
        "rtsp://mediamtx:99999/p",
        "rtsp://mediamtx:x/p",
        "rtsp://[::1/p",
        "rtsp://mediamtx/a b",
        "rtsp://other\t.mediamtx/p",
        "rt\nsp://mediamtx/p",
        " rtsp://mediamtx/p",
        "rtsp://mediamtx/p\x00",
        "rtsp://mediamtx/p\n",
        "rtsp://mediamtx/#p",
        "rtsp://mediamtx/p#",
        "rtsp://\uff4dediamtx/p",
        "-i rtsp://mediamtx/p",
        "rtsp://mediamtx/" + "x" * 4096,
        "rtsp://mediamtx",
        "rtsp://mediamtx/",
        "rtsp://mediamtx//p",
        "rtsp://mediamtx/../p",
        "rtsp://mediamtx/a/%2e%2e/p",
        "rtsp://mediamtx/p%00",
        "rtsp://mediamtx/a/b/c/d/e",
        "rtsp://mediamtx/p?other=x",
        "rtsp://mediamtx/p?token=x&token=y",
        "rtsp://mediamtx/p?token=x&a=b",
    ],
)
def test_any_other_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_rtsp_url(url)
    assert refused.value.field == "rtsp_url"
    assert "passwd" not in str(refused.value)


@given(st.text(st.characters()))
def test_any_text_is_judged_without_another_error(text: str) -> None:
    for url in (text, f"rtsp://{text}", f"rtsp://mediamtx{text}"):
        try:
            target = check_rtsp_url(url)
        except InvalidInput:
            continue
        assert (urlsplit(url).hostname or "").lower() == target.host


def test_the_expiry_of_a_urls_token_is_read_without_a_key() -> None:
    url = internal_url("rtsp://mediamtx", "cam/1", SIGNED.token)
    assert token_expiry(url) == SIGNED.expires_at.timestamp()


@pytest.mark.parametrize(
    "url",
    ["", "rtsp://h/p", "rtsp://h/p?token=", "rtsp://h/p?token=x.y.z", "rtsp://[h/p?token=x",
     f"rtsp://h/p?token={SIGNED.token}&token={SIGNED.token}"],
)  # fmt: skip
def test_a_url_without_a_readable_token_has_no_expiry(url: str) -> None:
    assert token_expiry(url) is None


@given(st.text(st.characters()))
def test_any_text_has_an_expiry_or_none(text: str) -> None:
    assert token_expiry(text) is None
    assert token_expiry(f"rtsp://h/p?token={text}") is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"open rtsp://h:8554/p?token={SIGNED.token}: refused", "open rtsp://h:8554/p?token=***: refused"),
        ("rtsp://u:p@ss:w0rd@h/p", "rtsp://u:***@h/p"),
        ("postgresql://u:pw@h/db?sslmode=require", "postgresql://u:***@h/db?sslmode=require"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ('{"X-Internal-Token": "abc"}', '{"X-Internal-Token": "***"}'),
        ("X-Internal-Token: abc", "X-Internal-Token: ***"),
        ("p?a=1&token=abc&b=2", "p?a=1&token=***&b=2"),
        ("p%3Ftoken%3Dabc", "p%3Ftoken%3D***"),
        ("nothing to hide at rtsp://h:8554/p", "nothing to hide at rtsp://h:8554/p"),
        ("the token is old", "the token is old"),
        ("12:30:00 a@b.c", "12:30:00 a@b.c"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(before=st.text(max_size=20), after=st.text(max_size=20), cut=st.integers(30, 400))
def test_no_token_survives_in_any_surroundings(before: str, after: str, cut: int) -> None:
    token = SIGNED.token[:cut]
    tail = token[-20:]
    assert tail not in redact(f"{before}{token} {after}")
    assert tail not in redact(f"{before}?token={token}&{after}")


@given(st.from_regex(r"[!-.0->A-~]{8,40}", fullmatch=True))
def test_no_password_survives_in_a_url(password: str) -> None:
    if "#" in password or "?" in password:
        return
    assert f":{password}@" not in redact(f"open rtsp://user:{password}@host/p failed")


@given(st.text(st.characters()))
def test_any_text_can_be_redacted_twice_as_well_as_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_known_secrets_are_hidden_wherever_they_turn_up() -> None:
    hide = redactor(["the-internal-token", "", "the-internal"])
    assert hide("got (the-internal-token)") == "got (***)"
    assert hide("Bearer abc") == "Bearer ***"
    assert redactor([]) is redact


@pytest.mark.parametrize(
    "text",
    ["://a:" * 50_000, "eyJ" * 100_000, "Bearer " * 50_000, "token=" * 50_000, " " * 300_000],
)
@pytest.mark.timeout(5)
def test_a_hostile_text_takes_no_long_time(text: str) -> None:
    redact(text)
