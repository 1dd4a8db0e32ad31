from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.jwts import ALGORITHMS
from streamwarden.auth.users import (
    LEEWAY_S,
    Expected,
    ProviderTokens,
    Unauthenticated,
    User,
    UserTokens,
)
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.provider_keys import PublishedKeys, document, jwk, private_key, sign
from tests.unit.auth.signing_secrets import NOON, SECRET

ISSUER = "https://issuer.example/realms/a"
NOW_S = int(ManualClock(NOON).now().timestamp())
PUBLISHED = document(*(jwk(algorithm, algorithm) for algorithm in ALGORITHMS))


def verifier(issuer: str | None = ISSUER) -> ProviderTokens:
    expected = Expected(audience="streamwarden", roles_claim="realm_access.roles", issuer=issuer)
    return ProviderTokens(PublishedKeys(PUBLISHED), expected, ManualClock(NOON))


def claims(**changes: object) -> dict[str, Any]:
    whole = {
        "sub": "u1", "aud": ["account", "streamwarden"], "iss": ISSUER, "exp": NOW_S + 60,
        "realm_access": {"roles": ["admin"]}, **changes,
    }  # fmt: skip
    return {name: value for name, value in whole.items() if value != "absent"}


def refused(token: str, match: str = "bearer token") -> None:
    with pytest.raises(Unauthenticated, match=match) as caught:
        verifier().verify(token)
    assert token[-20:] not in str(caught.value) or not token


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_provider_says_who_calls_and_their_roles(algorithm: str) -> None:
    token = sign(claims(), algorithm=algorithm, kid=algorithm)
    assert verifier().verify(token) == User("u1", frozenset({"admin"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "https://issuer.example/realms/b"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": "absent"}, "another issuer"),
        ({"aud": "account"}, "another audience"),
        ({"aud": "absent"}, "exp, aud or sub"),
        ({"exp": "absent"}, "exp, aud or sub"),
        ({"sub": "absent"}, "exp, aud or sub"),
        ({"exp": NOW_S - int(LEEWAY_S)}, "expired"),
        ({"nbf": NOW_S + 60}, "not yet valid"),
        ({"exp": str(NOW_S + 60)}, "exp, aud or sub"),
        ({"sub": "a\nb"}, "exp, aud or sub"),
    ],
    ids=str,
)
def test_a_claim_that_is_wrong_is_refused(changes: dict[str, object], said: str) -> None:
    refused(sign(claims(**changes), algorithm="ES256", kid="ES256"), said)


def test_without_a_configured_issuer_any_is_taken() -> None:
    token = sign(claims(iss="absent"), algorithm="RS256", kid="RS256")
    assert verifier(issuer=None).verify(token).sub == "u1"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 7, "HS256", "RS512", "ES256"])
def test_the_header_does_not_choose_the_algorithm(alg: object) -> None:
    header, body, signature = sign(claims(), algorithm="RS256", kid="RS256").split(".")
    changed = encoded({"alg": alg, "kid": "RS256", "typ": "JWT"})
    refused(f"{changed}.{body}.{signature}")
    refused(f"{changed}.{body}.")
    refused(f"{changed}.{body}")
    assert header


def test_the_public_key_is_no_secret_for_hmac() -> None:
    """RS/HS confusion: everybody has the public key, so everybody could sign with it."""
    public = private_key("RS256", "RS256").public_key()
    pem, subject, der = serialization.PublicFormat, serialization.Encoding, []
    der.append(public.public_bytes(subject.PEM, pem.SubjectPublicKeyInfo))
    der.append(public.public_bytes(subject.DER, pem.SubjectPublicKeyInfo))
    der.append(public.public_bytes(subject.PEM, pem.PKCS1))
    der.append(json.dumps(jwk("RS256", "RS256")).encode())
    for key in der:
        head = encoded({"alg": "HS256", "kid": "RS256"})
        signing_input = f"{head}.{encoded(claims())}"
        mac = hmac.new(key, signing_input.encode(), hashlib.sha256).digest()
        refused(f"{signing_input}.{encoded(mac)}")


@pytest.mark.parametrize(
    "kid", ["unknown", "", "../RS256", "RS256\0", "rs256", None, 5, ["RS256"], {"a": 1}, "x" * 5000]
)
def test_a_kid_that_names_no_key_is_refused(kid: object) -> None:
    _, body, signature = sign(claims(), algorithm="RS256", kid="RS256").split(".")
    refused(f"{encoded({'alg': 'RS256', 'kid': kid})}.{body}.{signature}")


def test_a_token_without_a_kid_is_refused() -> None:
    refused(jwt.encode(claims(), private_key("RS256", "RS256"), "RS256"), "names no key")


def test_a_key_of_another_kid_does_not_sign_for_this_one() -> None:
    token = jwt.encode(
        claims(), private_key("RS256", "stranger"), "RS256", headers={"kid": "RS256"}
    )
    refused(token, "not signed by a key that is trusted")


def test_keys_that_the_token_brings_along_are_not_looked_at() -> None:
    stranger = {**jwk("RS256", "stranger"), "kid": "stranger"}
    for headers in (
        {"jwk": stranger, "kid": "stranger"},
        {"jku": "https://attacker.example/jwks.json", "kid": "stranger"},
        {"x5u": "https://attacker.example/x5u", "x5c": ["AAAA"], "kid": "stranger"},
    ):
        token = jwt.encode(claims(), private_key("RS256", "stranger"), "RS256", headers=headers)
        refused(token)


def test_an_extension_that_must_be_understood_is_refused() -> None:
    """RFC 7515, 4.1.11: what ``crit`` names and we do not know makes the token invalid."""
    refused(sign(claims(), algorithm="RS256", kid="RS256", headers={"crit": ["exp"], "exp": 1}))


def test_a_shared_secrets_token_is_not_the_providers_nor_the_reverse() -> None:
    shared = UserTokens(
        SECRET, audience="streamwarden", roles_claim="roles", clock=ManualClock(NOON)
    )
    refused(shared.sign("u1", roles=["admin"]))
    with pytest.raises(Unauthenticated):
        shared.verify(sign(claims(), algorithm="RS256", kid="RS256"))


@given(st.text(max_size=200))
def test_no_text_passes_for_a_token(text: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier().verify(text)


@given(st.data())
def test_no_change_of_a_signed_token_passes(data: st.DataObject) -> None:
    token = sign(claims(), algorithm="EdDSA", kid="EdDSA")
    place = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(st.characters(max_codepoint=127).filter(lambda c: c != token[place]))
    changed = token[:place] + put + token[place + 1 :]
    try:
        user = verifier().verify(changed)
    except Unauthenticated:
        return
    # Base64url's last character holds bits that count for nothing: the same signature, spelt anew.
    assert place == len(token) - 1
    assert user.sub == "u1"
