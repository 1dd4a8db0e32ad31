"""An identity provider with keys of its own, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from streamwarden.auth.jwts import ALGORITHMS, PublicKey, parse_jwks
from streamwarden.auth.keys import UnknownKey
from streamwarden.auth.users import ProviderKeys


@cache
def private_key(algorithm: str, name: str = "first") -> Any:  # noqa: ANN401 - three unrelated types
    """Return a key of ``algorithm``; the same for the same name, because RSA's take their time."""
    del name
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, kid: str, /, **changes: object) -> dict[str, Any]:
    """Return the public half as a provider publishes it."""
    public = private_key(algorithm, kid).public_key()
    match algorithm:
        case "RS256":
            written = RSAAlgorithm.to_jwk(public)
        case "ES256":
            written = ECAlgorithm.to_jwk(public)
        case _:
            written = OKPAlgorithm.to_jwk(public)
    entry = {"use": "sig", **json.loads(written), "kid": kid, **changes}
    return {name: value for name, value in entry.items() if value is not None}


def document(*keys: Mapping[str, Any]) -> bytes:
    """Return a JWK Set."""
    return json.dumps({"keys": list(keys)}).encode()


def sign(
    claims: Mapping[str, Any], *, algorithm: str, kid: str, headers: Mapping[str, Any] | None = None
) -> str:
    """Return a token of the provider."""
    return jwt.encode(
        dict(claims),
        private_key(algorithm, kid),
        algorithm,
        headers={"kid": kid, **(headers or {})},
    )


class PublishedKeys(ProviderKeys):
    """Keys that were fetched once."""

    def __init__(self, published: bytes) -> None:
        self._keys = parse_jwks(published, ALGORITHMS)

    def find(self, kid: str) -> PublicKey:
        """Return the key."""
        try:
            return self._keys[kid]
        except KeyError:
            raise UnknownKey from None
