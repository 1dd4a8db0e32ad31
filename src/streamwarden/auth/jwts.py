"""JSON Web Tokens (RFC 7519): HMAC-SHA-256 for our own, and public keys of an identity provider.

The algorithm belongs to the key and is never read from a token (RFC 8725, 3.1), so a public key verifies
no HMAC, and a secret nothing else. Times are compared with the injected clock, and more strictly than
PyJWT does, which accepts ``"exp": "9000000000"`` and ``"exp": true`` as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import jwt

from streamwarden.errors import ConfigError

ALGORITHM = "HS256"
MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2: an HMAC key is at least as long as the hash."""
MAX_TOKEN_CHARS = 8192
"""More than identity providers issue, and too little for hashing to be an attack."""
MAX_EXPIRY_S = 253_402_300_799
"""9999-12-31T23:59:59Z, the maximum of ``datetime``."""
MAX_SUBJECT_CHARS = 255
MAX_KEYS: Final = 64
MAX_KID_CHARS: Final = 256
MIN_RSA_BITS: Final = 2048
"""RFC 7518, 3.3."""
MAX_RSA_BITS: Final = 8192
"""The verification of larger signatures takes long enough to be an attack."""
_ALGORITHM_OF: Final[Mapping[tuple[object, object], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS: Final = tuple(_ALGORITHM_OF.values())
"""The algorithms of providers. HMAC is not one of them: its key would be public."""


class JwksInvalid(Exception):
    """The document is not a JWK Set with a usable key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key and the one algorithm that it verifies."""

    kid: str
    algorithm: str
    jwk: jwt.PyJWK = field(repr=False)


def parse_jwks(document: bytes, algorithms: Collection[str]) -> dict[str, PublicKey]:
    """Return the usable keys of a JWK Set (RFC 7517, 5) by ``kid``; of equal ones the first.

    The key's type decides its algorithm, which must be one of ``algorithms``. Keys that are not for
    signatures, too weak or unreadable are skipped, so that one such key does not disable the others.

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
    # A key that names an algorithm is for that one only (RFC 7517, 4.4).
    return algorithm if entry.get("alg") in (None, algorithm) else None


def _is_for_signatures(entry: Mapping[str, object]) -> bool:
    if "d" in entry:  # a private key that is published is no secret
        return False
    operations = entry.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    return entry.get("use") in (None, "sig") and verifies


class TokenFault(StrEnum):
    """The reason why a token is refused."""

    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    BAD_CLAIMS = "bad_claims"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"


class TokenInvalid(Exception):
    """The token is refused for ``fault``; the message repeats nothing of it."""

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def check_secret(secret: str, *, what: str) -> bytes:
    """Return ``secret`` as an HMAC key; raise ConfigError, which names ``what``, if it is unfit."""
    key = secret.encode()
    if len(key) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"{what} has {len(key)} bytes; it needs at least {MIN_SECRET_BYTES} "
            "(for example from: openssl rand -hex 32)"
        )
    try:
        encode({}, key)
    except jwt.PyJWTError:
        # PyJWT refuses PEM, SSH, DER and JWK texts: a public key must not become an HMAC secret.
        raise ConfigError(f"{what} looks like a key file; it must be a random text") from None
    return key


def encode(claims: Mapping[str, object], key: bytes, *, kid: str | None = None) -> str:
    """Sign ``claims``; ``kid`` names the key in the header (RFC 7515, 4.1.4)."""
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(dict(claims), key, algorithm=ALGORITHM, headers=headers)


def key_id(token: str) -> str | None:
    """Return the unverified ``kid`` of the header; raise TokenInvalid if unreadable."""
    _check_shape(token)
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenInvalid(TokenFault.MALFORMED) from None
    return kid if isinstance(kid, str) else None


def decode(
    token: str,
    key: bytes | PublicKey,
    *,
    audience: str,
    now_s: float,
    leeway_s: float = 0.0,
    require: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the claims of a token that ``key`` has signed for ``audience``.

    ``exp``, ``aud`` and ``sub`` are always required, ``require`` adds to them. ``leeway_s``
    stretches ``exp`` and ``nbf`` for an issuer with another clock. Raises TokenInvalid.
    """
    _check_shape(token)
    claims = _decode_signed(token, key, audience, ["exp", "aud", "sub", *require])
    if not is_subject(claims["sub"]):
        raise TokenInvalid(TokenFault.BAD_CLAIMS)
    if _moment(claims["exp"]) <= now_s - leeway_s:
        raise TokenInvalid(TokenFault.EXPIRED)
    if claims.get("nbf") is not None and _moment(claims["nbf"]) > now_s + leeway_s:
        raise TokenInvalid(TokenFault.NOT_YET_VALID)
    return claims


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified; raise TokenInvalid where it is no JWT with an ``exp``."""
    _check_shape(token)
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenInvalid(TokenFault.MALFORMED) from None
    _moment(claims.get("exp"))
    return claims


def unverified_expiry(token: str) -> float | None:
    """Return the unverified ``exp``, in seconds since 1970; None where it is not a time.

    Only for the decision whether to ask for a newer token.
    """
    try:
        return _moment(unverified_claims(token)["exp"])
    except TokenInvalid:
        return None


def is_subject(value: object) -> bool:
    """Return whether ``value`` can be a user's id: short and printable, for logs and Postgres."""
    return isinstance(value, str) and 0 < len(value) <= MAX_SUBJECT_CHARS and value.isprintable()


def _check_shape(token: str) -> None:
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise TokenInvalid(TokenFault.MALFORMED)


def _decode_signed(
    token: str, key: bytes | PublicKey, audience: str, require: list[str]
) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key.jwk if isinstance(key, PublicKey) else key,
            algorithms=[key.algorithm if isinstance(key, PublicKey) else ALGORITHM],
            audience=audience,
            options={
                "require": require,
                # Checked by `decode`, with our clock and types.
                "verify_exp": False,
                "verify_nbf": False,
                # Informative only: the issuer's clock may be ahead.
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise TokenInvalid(_fault(error)) from None
    except (ValueError, RecursionError):
        # JSON that is nested a thousand times, before PyJWT has looked at the signature.
        raise TokenInvalid(TokenFault.MALFORMED) from None


def _fault(error: jwt.PyJWTError) -> TokenFault:
    match error:
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError():
            return TokenFault.BAD_SIGNATURE
        case jwt.InvalidAudienceError():
            return TokenFault.WRONG_AUDIENCE
        case jwt.DecodeError():
            return TokenFault.MALFORMED
        case _:
            return TokenFault.BAD_CLAIMS


def _moment(value: object) -> float:
    """Return a NumericDate (RFC 7519, 2): a finite JSON number, and not a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(TokenFault.BAD_CLAIMS)
    # Compared before anything makes a float of it: a whole number of JSON may have thousands of digits.
    if not 0 <= value <= MAX_EXPIRY_S:
        raise TokenInvalid(TokenFault.BAD_CLAIMS)
    return float(value)
