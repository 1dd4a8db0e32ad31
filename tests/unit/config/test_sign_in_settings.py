"""How users sign in: one way, over a line that nobody can change on its way."""

from __future__ import annotations

import pytest

from streamwarden.auth.jwts import ALGORITHMS
from streamwarden.config.settings import PROVIDER_ALGORITHMS, Settings, load
from streamwarden.errors import ConfigError

SECRET = "user-secret-of-at-least-32-bytes-length"


def loaded(**environ: str) -> Settings:
    return load(None, {f"STREAMWARDEN_{name}": value for name, value in environ.items()})


def refused(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(**environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/realms/a/protocol/openid-connect/certs",
        "https://issuer.example/keys?tenant=a",
        "http://127.0.0.1:8090/keys",
        "http://localhost/keys",
        "http://[::1]:8090/keys",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    assert loaded(USER_JWKS_URL=url).user_jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.example/keys",
        "http://10.0.0.1/keys",
        "https://user:password@issuer.example/keys",
        "file:///etc/keys",
        "keys.json",
    ],
)
def test_keys_come_from_nowhere_else(url: str) -> None:
    said = refused(USER_JWKS_URL=url)
    assert "USER_JWKS_URL" in said
    assert url not in said


def test_there_is_one_way_to_sign_in() -> None:
    assert "set one of them" in refused(
        USER_JWKS_URL="https://issuer.example/keys", USER_JWT_SECRET=SECRET
    )


def test_the_api_needs_one_of_the_two() -> None:
    others = {
        "DATABASE_URL": "postgresql://localhost/x",
        "INTERNAL_TOKEN": "i" * 32,
        "STREAM_TOKEN_KEYS": f"a:{'k' * 40}",
    }
    for one in ({"USER_JWT_SECRET": SECRET}, {"USER_JWKS_URL": "https://issuer.example/keys"}):
        loaded(**others, **one).require_for("api")
    with pytest.raises(ConfigError, match=r"USER_JWT_SECRET.*USER_JWKS_URL"):
        loaded(**others).require_for("api")


def test_the_algorithms_are_those_that_are_named_and_known() -> None:
    assert loaded().user_jwt_algorithms == PROVIDER_ALGORITHMS == ALGORITHMS
    assert loaded(USER_JWT_ALGORITHMS="EdDSA, RS256").user_jwt_algorithms == ("RS256", "EdDSA")
    for text in ("HS256", "none", "RS256,HS256", ",", "rs256"):
        assert "RS256, ES256, EdDSA" in refused(USER_JWT_ALGORITHMS=text)


def test_an_outage_is_survived_for_a_minute_to_a_week() -> None:
    assert loaded().user_jwks_max_age == 86_400
    assert loaded(USER_JWKS_MAX_AGE="2 h").user_jwks_max_age == 7200
    for text in ("59", "8000 h"):
        assert "USER_JWKS_MAX_AGE" in refused(USER_JWKS_MAX_AGE=text)


@pytest.mark.parametrize("issuer", [" https://issuer.example", "a\nb", "x" * 501])
def test_an_issuer_that_no_token_can_hold_is_refused(issuer: str) -> None:
    assert "USER_JWT_ISSUER" in refused(USER_JWT_ISSUER=issuer)
