from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.users import LEEWAY_S, Unauthenticated, User, UserTokens
from streamwarden.errors import ConfigError, InvalidInput
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import NOON, SECRET

NOW_S = int(ManualClock(NOON).now().timestamp())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def tokens(clock: ManualClock | None = None, *, roles_claim: str = "roles") -> UserTokens:
    return UserTokens(
        SECRET, audience="streamwarden", roles_claim=roles_claim, clock=clock or ManualClock(NOON)
    )


def signed(claims: dict[str, Any], *, algorithm: str = "HS256", secret: str = SECRET) -> str:
    whole = {"sub": "u1", "aud": "streamwarden", "exp": NOW_S + 60} | claims
    return jwt.encode({k: v for k, v in whole.items() if v != "absent"}, secret, algorithm)


def test_a_signed_token_says_who_calls_and_their_roles() -> None:
    assert tokens().verify(tokens().sign("u1", roles=["admin"])) == User("u1", frozenset({"admin"}))


def test_a_token_ends_with_its_life_and_the_leeway() -> None:
    clock = ManualClock(NOON)
    both = tokens(clock)
    token = both.sign("u1", ttl_s=60)
    clock.advance(60 + LEEWAY_S - 0.001)
    both.verify(token)
    clock.advance(0.001)
    with pytest.raises(Unauthenticated, match="expired"):
        both.verify(token)


def test_an_expiry_of_thousands_of_digits_is_refused() -> None:
    """math.isfinite() raised OverflowError for it, so the answer was 500."""
    for claims in ({"exp": 10**4000}, {"nbf": 10**4000}):
        with pytest.raises(Unauthenticated):
            tokens().verify(signed(claims))


@pytest.mark.parametrize("part", [0, 1])
def test_a_token_of_json_that_is_nested_a_thousand_times_is_refused(part: int) -> None:
    parts = signed({}).split(".")
    parts[part] = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    with pytest.raises(Unauthenticated):
        tokens().verify(".".join(parts))


def test_a_token_is_refused_before_its_nbf() -> None:
    with pytest.raises(Unauthenticated, match="not yet"):
        tokens().verify(signed({"nbf": NOW_S + 60}))


@pytest.mark.parametrize("nbf", [True, "0", float("nan"), -1])
def test_a_start_that_is_no_plain_number_is_refused(nbf: object) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({"nbf": nbf}))


def test_a_well_signed_token_that_is_too_long_is_refused() -> None:
    tokens().verify(signed({"extra": "x" * 5000}))
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({"extra": "x" * 6500}))


def test_a_token_of_an_issuer_whose_clock_is_ahead_is_believed() -> None:
    tokens().verify(signed({"iat": NOW_S + 3600}))


@pytest.mark.parametrize("claim", ["exp", "aud", "sub"])
@pytest.mark.parametrize("value", ["absent", None])
def test_a_token_without_exp_aud_or_sub_is_refused(claim: str, value: object) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({claim: value}))


@pytest.mark.parametrize(
    "exp", [True, str(NOW_S + 60), float("nan"), float("inf"), -1, 10**300, [NOW_S + 60], {}]
)
def test_an_expiry_that_is_no_plain_number_is_refused(exp: object) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({"exp": exp}))


@pytest.mark.parametrize("sub", ["", "a\nb", "a\x00b", "\ud800", "x" * 256, 7, None])
def test_a_subject_that_cannot_name_a_user_is_refused(sub: object) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({"sub": sub}))


@pytest.mark.parametrize("aud", ["other", ["other"], 7, {"streamwarden": 1}])
def test_a_token_for_another_audience_is_refused(aud: object) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(signed({"aud": aud}))


def test_one_of_several_audiences_may_be_ours() -> None:
    tokens().verify(signed({"aud": ["other", "streamwarden"]}))


def test_a_token_signed_with_another_secret_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="not signed"):
        tokens().verify(signed({}, secret="x" * 40))


def test_a_token_of_another_hmac_is_refused_though_the_secret_is_right() -> None:
    with pytest.raises(Unauthenticated, match="not signed"):
        tokens().verify(signed({}, algorithm="HS384", secret=SECRET + "x" * 20))
    with pytest.raises(Unauthenticated, match="not signed"):
        UserTokens(
            SECRET + "x" * 20, audience="streamwarden", roles_claim="r", clock=ManualClock(NOON)
        ).verify(signed({}, algorithm="HS384", secret=SECRET + "x" * 20))


def test_a_token_that_calls_itself_unsigned_is_refused() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": "u1", "aud": "streamwarden", "exp": NOW_S + 60}
    algorithms: list[object] = ["none", "None", "", None, [], {"HS256": 1}]
    for algorithm in algorithms:
        header = part({"alg": algorithm, "typ": "JWT"})
        with pytest.raises(Unauthenticated):
            tokens().verify(f"{header}.{part(claims)}.")


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(text)


@given(st.dictionaries(st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "jti", "roles"]), JSON))
def test_any_signed_claims_are_believed_or_refused_and_nothing_else(claims: dict[str, Any]) -> None:
    token = jwt.api_jws.encode(json.dumps(claims).encode(), SECRET, "HS256")
    with pytest.raises(Unauthenticated):  # no generated claims hold our audience
        tokens().verify(token)


@given(st.dictionaries(st.sampled_from(["nbf", "iat", "jti", "roles", "iss"]), JSON))
def test_odd_claims_beside_good_ones_never_break_the_verifier(claims: dict[str, Any]) -> None:
    good = {"sub": "u1", "aud": "streamwarden", "exp": NOW_S + 60}
    token = jwt.api_jws.encode(json.dumps(claims | good).encode(), SECRET, "HS256")
    with suppress(Unauthenticated):
        assert tokens().verify(token).sub == "u1"


@pytest.mark.parametrize(
    ("claim", "claims", "roles"),
    [
        ("roles", {"roles": ["admin", "viewer"]}, {"admin", "viewer"}),
        ("roles", {"roles": "admin"}, {"admin"}),
        ("roles", {"roles": "not admin"}, {"not admin"}),
        ("roles", {"roles": {"admin": True}}, set()),
        ("roles", {"roles": [1, None, "admin"]}, {"admin"}),
        ("roles", {"roles": ["r"] * 257}, set()),
        ("roles", {}, set()),
        ("realm_access.roles", {"realm_access": {"roles": ["admin"]}}, {"admin"}),
        ("realm_access.roles", {"realm_access": ["admin"]}, set()),
        ("https://example.org/roles", {"https://example.org/roles": ["admin"]}, {"admin"}),
    ],
)
def test_roles_come_from_the_configured_claim(
    claim: str, claims: dict[str, Any], roles: set[str]
) -> None:
    assert tokens(roles_claim=claim).verify(signed(claims)).roles == roles


@pytest.mark.parametrize("claim", ["roles", "realm_access.roles"])
def test_roles_are_signed_into_the_claim_that_they_are_read_from(claim: str) -> None:
    both = tokens(roles_claim=claim)
    assert both.verify(both.sign("u1", roles=["admin"])).roles == {"admin"}


def test_a_roles_claim_never_overwrites_the_subject() -> None:
    both = tokens(roles_claim="sub")
    assert both.verify(both.sign("u1", roles=["admin"])).sub == "u1"


@pytest.mark.parametrize("sub", ["", "a\nb", "x" * 256])
def test_no_token_is_signed_for_what_cannot_name_a_user(sub: str) -> None:
    with pytest.raises(InvalidInput):
        tokens().sign(sub)


@pytest.mark.parametrize(
    "secret",
    ["short", "-----BEGIN PUBLIC KEY-----\nabcdefghijklmnopqrst\n-----END PUBLIC KEY-----"],
)
def test_an_unfit_secret_is_refused_at_the_start_and_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        UserTokens(secret, audience="a", roles_claim="roles", clock=ManualClock(NOON))
    assert secret not in str(refused.value)


def test_a_refusal_repeats_nothing_of_the_token() -> None:
    token = signed({"exp": NOW_S - 60})
    with pytest.raises(Unauthenticated) as refused:
        tokens().verify(token)
    assert not any(part in str(refused.value) for part in token.split("."))
