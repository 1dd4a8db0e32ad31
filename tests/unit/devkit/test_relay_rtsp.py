from __future__ import annotations

import base64

import pytest

from streamwarden.devkit.relay.rtsp import (
    MalformedRequest,
    Request,
    RequestTarget,
    Response,
    body_length,
    credentials_of,
    interleaved_channel,
    parse_head,
    parse_target,
    parse_track_target,
)


def _request(authorization: str = "") -> Request:
    return Request("DESCRIBE", "rtsp://h/p", {"authorization": authorization})


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtsp://h:1/cam/a?token=x", RequestTarget("cam/a", "token=x")),
        ("rtsp://h:1/cam/a?token=x/", RequestTarget("cam/a", "token=x")),
        ("rtsp://h:1/cam/a/", RequestTarget("cam/a", "")),
        ("rtsp://h/cam%2Fa", RequestTarget("cam/a", "")),
        ("rtsp://h/a?b=c?d/e", RequestTarget("a", "b=c?d/e")),
    ],
)
def test_a_url_names_a_path_and_keeps_its_query_as_sent(url: str, target: RequestTarget) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtsp://h/cam/a?token=x/trackID=1", RequestTarget("cam/a", "token=x", 1)),
        ("rtsp://h/cam/a/trackID=0", RequestTarget("cam/a", "", 0)),
        ("rtsp://h/cam/a/trackID=2?token=x", RequestTarget("cam/a", "token=x", 2)),
    ],
)
def test_a_track_is_found_after_the_query_and_after_the_path(
    url: str, target: RequestTarget
) -> None:
    assert parse_track_target(url) == target


@pytest.mark.parametrize(
    "url", ["http://h/a", "rtsp://h", "rtsp://h/", "rtsp://h//a", "rtsp://h/a b", "rtsp://h/é"]
)
def test_what_is_no_path_name_is_refused(url: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_target(url)


@pytest.mark.parametrize("url", ["rtsp://h/a", "rtsp://h/a/trackID=x", "rtsp://h/a/trackID="])
def test_a_setup_without_a_track_is_refused(url: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_track_target(url)


@pytest.mark.parametrize(
    ("authorization", "query", "token"),
    [
        ("", "token=t", "t"),
        ("", "jwt=j", "j"),
        ("", "token=t&jwt=j", "t"),
        ("", "token=t&token=u", ""),
        ("", "token=t&token=u&jwt=j", "j"),
        ("", "token=t;x=y", ""),
        ("", "token=%zz", ""),
        ("", "token=a%2Eb", "a.b"),
        (_basic("u:p"), "token=t", "p"),
        (_basic("u:p:q"), "", "p:q"),
        (_basic("u:"), "token=t", "t"),
        ("Basic ???", "", ""),
        ('Digest username="u", response="x"', "", ""),
    ],
)
def test_the_token_is_the_password_else_the_one_in_the_query(
    authorization: str, query: str, token: str
) -> None:
    assert credentials_of(_request(authorization), query).token == token


def test_a_digest_header_yields_a_user_and_no_password() -> None:
    found = credentials_of(_request('Digest username="u", response="x"'), "")
    assert (found.user, found.password, found.absent) == ("u", "", False)


@pytest.mark.parametrize(
    ("transport", "channel"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", 2),
        ("RTP/AVP/TCP;unicast", 6),
        ("RTP/AVP;unicast;client_port=1-2,RTP/AVP/TCP;interleaved=0-1", 0),
        ("RTP/AVP;unicast;client_port=1-2", None),
        ("RTP/AVP/TCP;interleaved=1-2", None),
        ("RTP/AVP/TCP;interleaved=4-6", None),
        ("RTP/AVP/TCP;interleaved=256-257", None),
        ("", None),
    ],
)
def test_a_channel_is_taken_from_the_first_offer_over_tcp(
    transport: str, channel: int | None
) -> None:
    assert interleaved_channel(transport, 6) == channel


def test_headers_are_found_whatever_their_case() -> None:
    request = parse_head(b"SETUP rtsp://h/a RTSP/1.0\r\ncseq: 4\r\nTRANSPORT: x")
    assert request.headers == {"cseq": "4", "transport": "x"}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1",
        b"OPTIONS * RTSP/1.0\r\nno colon",
        b"\x16\x03\x01",
        b"options * RTSP/1.0",
    ],
)
def test_what_is_not_rtsp_is_refused(head: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse_head(head)


@pytest.mark.parametrize(("value", "status"), [("-1", 400), ("x", 400), ("²", 400), ("11", 413)])
def test_a_body_is_bounded(value: str, status: int) -> None:
    with pytest.raises(MalformedRequest) as refused:
        body_length(Request("ANNOUNCE", "u", {"content-length": value}), 10)
    assert refused.value.status == status


def test_an_answer_carries_the_requests_cseq_and_its_length() -> None:
    answer = Response(404, {"A": "b"}, b"xyz").encode("7")
    assert answer == b"RTSP/1.0 404 Not Found\r\nCSeq: 7\r\nA: b\r\nContent-Length: 3\r\n\r\nxyz"


def test_no_secret_is_in_a_repr() -> None:
    request = Request("DESCRIBE", "rtsp://h/a?token=SECRET", {"authorization": "SECRET"})
    shown = (
        repr(request)
        + repr(parse_target(request.url))
        + repr(credentials_of(request, "token=SECRET"))
    )
    assert "SECRET" not in shown
