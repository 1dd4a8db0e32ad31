from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from streamwarden.auth.jwts import ALGORITHMS, MAX_KEYS, JwksInvalid, parse_jwks
from tests.unit.auth.provider_keys import document, jwk, private_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def usable(*keys: dict[str, Any], algorithms: tuple[str, ...] = ALGORITHMS) -> list[str]:
    """The kids that are left when one key is surely good."""
    found = parse_jwks(document(*keys, jwk("EdDSA", "good")), {*algorithms, "EdDSA"})
    return sorted(found.keys() - {"good"})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_published_key_is_for_the_one_algorithm_of_its_type(algorithm: str) -> None:
    found = parse_jwks(document(jwk(algorithm, "a")), ALGORITHMS)
    assert [(key.kid, key.algorithm) for key in found.values()] == [("a", algorithm)]
    assert found["a"].jwk.algorithm_name == algorithm


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"}, {"alg": "HS256"}, {"alg": "RS512"}, {"alg": "none"}, {"kty": "oct", "k": "eHg"},
        {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"kid": None}, {"kid": ""}, {"kid": 7},
        {"kid": "x" * 257}, {"kty": None}, {"kty": ["RSA"]}, {"n": "!"}, {"n": 5}, {"n": None},
        {"crv": "P-256"}, {"crv": {}}, {"e": "AA"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_signing_key_is_passed_over(changes: dict[str, object]) -> None:
    assert usable(jwk("RS256", "odd", **changes)) == []


def test_a_private_key_that_is_published_is_not_believed() -> None:
    private = json.loads(RSAAlgorithm.to_jwk(private_key("RS256", "leaked")))
    assert usable({**private, "kid": "leaked", "key_ops": None}) == []


def test_a_key_that_names_its_own_algorithm_or_none_is_taken() -> None:
    named = jwk("ES256", "named", alg="ES256", use=None, key_ops=["verify"])
    assert usable(named, jwk("ES256", "plain", use=None)) == ["named", "plain"]


def test_an_rsa_key_of_1024_bits_is_passed_over() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - to be refused
    assert usable({**json.loads(RSAAlgorithm.to_jwk(weak)), "kid": "weak", "key_ops": None}) == []


def test_a_key_of_an_algorithm_that_is_not_configured_is_passed_over() -> None:
    assert usable(jwk("RS256", "r"), jwk("ES256", "e"), algorithms=("ES256",)) == ["e"]


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    first, second = jwk("RS256", "a"), {**jwk("RS256", "b"), "kid": "a"}
    found = parse_jwks(document(first, second), ALGORITHMS)
    assert (
        found["a"].jwk.key.public_numbers()
        == private_key("RS256", "a").public_key().public_numbers()
    )


def test_more_keys_than_any_provider_has_are_not_read() -> None:
    many = [{**jwk("EdDSA", "same"), "kid": str(n)} for n in range(MAX_KEYS + 5)]
    assert len(parse_jwks(document(*many), ALGORITHMS)) == MAX_KEYS


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1, null]}', b"\xff",
             b"[" * 100_000, b'{"keys":' * 50_000]
)  # fmt: skip
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(JwksInvalid):
        parse_jwks(text, ALGORITHMS)


@given(
    st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg"]), JSON)
)
def test_no_entry_of_any_shape_costs_the_others(entry: dict[str, Any]) -> None:
    assert "good" in parse_jwks(document(entry, jwk("EdDSA", "good")), ALGORITHMS)


@given(JSON)
def test_no_document_of_any_shape_raises_anything_else(value: object) -> None:
    with pytest.raises(JwksInvalid):
        parse_jwks(json.dumps({"keys": value}).encode(), ALGORITHMS)


def test_a_keys_repr_holds_none_of_its_numbers() -> None:
    key = parse_jwks(document(jwk("RS256", "a")), ALGORITHMS)["a"]
    assert repr(key) == "PublicKey(kid='a', algorithm='RS256')"
