"""An identity provider's public keys as it publishes them: a JWK Set (RFC 7517, 5).

A key is taken for one algorithm, which its type decides and the configuration allows; what a token's
header says chooses nothing but the key (RFC 8725, 3.1). What is no signing key, is too weak, or cannot
be read is passed over: one strange key must not cost the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

MAX_KEYS: Final = 64
MAX_KID_CHARS: Final = 256
MIN_RSA_BITS: Final = 2048
"""RFC 7518, 3.3."""
MAX_RSA_BITS: Final = 8192
"""Above it a verification takes long enough to be worth sending."""

_ALGORITHM_OF: Final[Mapping[tuple[object, object], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS: Final = tuple(_ALGORITHM_OF.values())
"""What a provider may sign with. HMAC is not among them: its key would be a public text."""


class JwksInvalid(Exception):
    """The document is no JWK Set with a key that can be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key and the one algorithm that it verifies."""

    kid: str
    algorithm: str
    jwk: jwt.PyJWK = field(repr=False)


def parse_jwks(document: bytes, algorithms: Collection[str]) -> dict[str, PublicKey]:
    """Return the usable keys by their ``kid``; of two with the same, the first.

    Raises:
        JwksInvalid: there is none.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise JwksInvalid("it is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise JwksInvalid("it is no JWK Set")
    keys: dict[str, PublicKey] = {}
    for entry in listed[:MAX_KEYS]:
        key = _read(entry, algorithms) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault(key.kid, key)
    if not keys:
        raise JwksInvalid("it holds no key that can be used")
    return keys


def _read(entry: dict[str, Any], algorithms: Collection[str]) -> PublicKey | None:
    kid = entry.get("kid")
    algorithm = _algorithm_of(entry)
    if algorithm is None or algorithm not in algorithms or not _is_for_signatures(entry):
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARS:
        return None
    try:
        jwk = jwt.PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if algorithm == "RS256" and not MIN_RSA_BITS <= jwk.key.key_size <= MAX_RSA_BITS:
        return None
    return PublicKey(kid, algorithm, jwk)


def _algorithm_of(entry: Mapping[str, object]) -> str | None:
    kty, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(kty, str) or not isinstance(curve, str | None):
        return None
    algorithm = _ALGORITHM_OF.get((kty, curve))
    # A key that names its algorithm is for that one alone (RFC 7517, 4.4).
    return algorithm if entry.get("alg") in (None, algorithm) else None


def _is_for_signatures(entry: Mapping[str, object]) -> bool:
    if "d" in entry:  # a private key that is published is everybody's
        return False
    operations = entry.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    return entry.get("use") in (None, "sig") and verifies
