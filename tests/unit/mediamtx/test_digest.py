"""The sums of RFC 7616 and RFC 2069, with the examples that they print."""

from __future__ import annotations

import pytest

from streamwarden.mediamtx.rtsp_client import (
    Challenge,
    Login,
    authorization,
    parse_challenge,
    response_of,
)

MUFASA = Login("Mufasa", "Circle of Life")
RFC7616 = {
    "realm": "http-auth@example.org",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "qop": "auth",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
}


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    given = {**RFC7616, "algorithm": algorithm}
    assert response_of(given, MUFASA, method="GET", uri="/dir/index.html") == response


def test_without_qop_it_is_the_sum_of_rfc_2069() -> None:
    given = {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    login = Login("Mufasa", "CircleOfLife")
    # The RFC's own example is known to be wrong (errata 749); this is the corrected one.
    expected = "1949323746fe6a43ef61f9606e7febea"
    assert response_of(given, login, method="GET", uri="/dir/index.html") == expected


def test_an_unknown_algorithm_has_no_answer() -> None:
    assert response_of({"algorithm": "SHA-512-256"}, MUFASA, method="GET", uri="/") is None
    odd = Challenge("digest", {"algorithm": "SHA-512-256", "realm": "r", "nonce": "n"})
    assert authorization([odd], MUFASA, method="GET", uri="/") is None


def test_the_strongest_of_what_is_offered_is_taken() -> None:
    offers = [
        parse_challenge('Basic realm="a"'),
        parse_challenge('Digest realm="a", nonce="b"'),
        parse_challenge('Digest realm="a", nonce="b", algorithm=SHA-256, qop="auth,auth-int"'),
    ]
    shown = [
        authorization(offers[:count], MUFASA, method="DESCRIBE", uri="rtsp://h/x") or ""
        for count in (1, 2, 3)
    ]
    assert shown[0] == "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl"
    assert "algorithm" not in shown[1]
    assert "qop" not in shown[1]
    assert {"algorithm=SHA-256", "qop=auth", "nc=00000001"} <= set(shown[2].split(", "))


def test_what_is_quoted_comes_back_as_it_was() -> None:
    login = Login('say "hi"\\', "p")
    offer = parse_challenge('Digest realm="a \\"b\\", c=d", nonce="n"')
    assert offer.parameters["realm"] == 'a "b", c=d'
    shown = parse_challenge(
        authorization([offer], login, method="DESCRIBE", uri="rtsp://h/x") or ""
    )
    assert shown.parameters["username"] == login.user
    assert shown.parameters["realm"] == offer.parameters["realm"]


def test_no_password_is_in_a_repr_or_in_a_digest() -> None:
    shown = authorization([Challenge("digest", {})], MUFASA, method="GET", uri="/") or ""
    assert MUFASA.password not in repr(MUFASA) + shown
