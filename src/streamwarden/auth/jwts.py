"""JSON Web Tokens (RFC 7519): HMAC-SHA-256 for our own, one fixed algorithm a key for a provider's.

With ``jwks`` the one module that touches PyJWT. The algorithm goes with the key and is never read from
a token (RFC 8725, 3.1): a public key verifies no HMAC, and a secret nothing else. Times are judged by the
injected clock and more strictly than PyJWT does: it takes ``"exp": "9000000000"`` and ``"exp": true`` for
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import jwt

from streamwarden.auth.jwks import PublicKey
from streamwarden.errors import ConfigError

ALGORITHM = "HS256"
MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2: an HMAC key is at least as long as the hash."""
MAX_TOKEN_CHARS = 8192
"""Above the largest that identity providers issue, below what hashing would make worth sending."""
MAX_EXPIRY_S = 253_402_300_799
"""9999-12-31T23:59:59Z: the last moment that ``datetime`` can hold."""
MAX_SUBJECT_CHARS = 255


class TokenFault(StrEnum):
    """Why a token says nothing that we believe."""

    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    BAD_CLAIMS = "bad_claims"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"


class TokenInvalid(Exception):
    """The token is refused; ``fault`` says why and the message holds nothing of the token."""

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
    """Return the header's ``kid`` before anything is verified; raise TokenInvalid if unreadable."""
    _check_shape(token)
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
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


def unverified_expiry(token: str) -> float | None:
    """Return what the token claims as ``exp``, in seconds since 1970; None if it claims no time.

    Nothing is verified: good for deciding whether to ask for a newer one, and for nothing else.
    """
    try:
        _check_shape(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        return _moment(claims.get("exp"))
    except (jwt.PyJWTError, TokenInvalid):
        return None


def is_subject(value: object) -> bool:
    """Tell whether ``value`` can name a user: short and printable, as logs and Postgres need."""
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
                # Judged by our own clock and types.
                "verify_exp": False,
                "verify_nbf": False,
                # Informative only: an issuer whose clock is ahead has still issued it.
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise TokenInvalid(_fault(error)) from None


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
    """Read a NumericDate (RFC 7519, 2), which is a JSON number and neither true nor infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(TokenFault.BAD_CLAIMS)
    if not (math.isfinite(value) and 0 <= value <= MAX_EXPIRY_S):
        raise TokenInvalid(TokenFault.BAD_CLAIMS)
    return float(value)
