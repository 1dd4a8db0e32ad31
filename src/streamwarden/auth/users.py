"""Who calls: users' bearer tokens, signed with a shared secret or with a provider's published keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamwarden.auth import jwts
from streamwarden.auth.jwks import PublicKey
from streamwarden.auth.provider import UnknownKey
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, StreamwardenError

LEEWAY_S = 5.0
"""The identity provider has its own clock; both are taken to follow NTP."""
DEFAULT_TTL_S = 86_400
MAX_ROLES = 256


class Unauthenticated(StreamwardenError):
    """The caller has shown no token that we believe."""

    code = "unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    """Who calls; ``sub`` is whatever the identity provider calls them."""

    sub: str
    roles: frozenset[str] = frozenset()


class KeySource(Protocol):
    """Knows a provider's keys."""

    def find(self, kid: str) -> PublicKey:
        """Return the key; raise UnknownKey, or Unavailable where nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a user's token must say. ``issuer`` None: any, for only one holds the key.

    ``roles_claim`` is a claim's name or a dotted path into nested claims (``realm_access.roles``).
    """

    audience: str
    roles_claim: str
    issuer: str | None = None


class ProviderTokens:
    """Verifies users' tokens with the keys that an identity provider publishes."""

    def __init__(self, keys: KeySource, expected: Expected, clock: Clock) -> None:
        self._keys = keys
        self._expected = expected
        self._clock = clock

    def verify(self, token: str) -> User:
        """Return who the token speaks for.

        Raises:
            Unauthenticated: it repeats nothing of the token.
            Unavailable: the provider's keys cannot be had.
        """
        try:
            kid = jwts.key_id(token)
            if kid is None:
                raise Unauthenticated("the bearer token names no key")
            key = self._keys.find(kid)
        except jwts.TokenInvalid as refused:
            raise Unauthenticated(_DETAIL[refused.fault]) from None
        except UnknownKey:
            raise Unauthenticated(_DETAIL[jwts.TokenFault.BAD_SIGNATURE]) from None
        return _verified(token, key, self._expected, self._clock)


class UserTokens:
    """Verifies users' tokens, and signs them for the operators' tool and the demo.

    ``roles_claim`` and ``issuer`` as in `Expected`. Raises ConfigError for an unfit secret.
    """

    def __init__(
        self,
        secret: str,
        *,
        audience: str,
        roles_claim: str,
        clock: Clock,
        issuer: str | None = None,
    ) -> None:
        self._key = jwts.check_secret(secret, what="USER_JWT_SECRET")
        self._expected = Expected(audience=audience, roles_claim=roles_claim, issuer=issuer)
        self._clock = clock

    def verify(self, token: str) -> User:
        """Return who the token speaks for; raise Unauthenticated, which repeats nothing of it."""
        return _verified(token, self._key, self._expected, self._clock)

    def sign(self, sub: str, *, roles: Iterable[str] = (), ttl_s: int = DEFAULT_TTL_S) -> str:
        """Return a token for ``sub`` that lives ``ttl_s`` seconds; raise InvalidInput if unfit."""
        if not jwts.is_subject(sub):
            raise InvalidInput(
                f"a user's id has 1 to {jwts.MAX_SUBJECT_CHARS} printable characters", field="sub"
            )
        if ttl_s < 1:
            raise InvalidInput("a token lives at least 1 second", field="ttl")
        issued_s = int(self._clock.now().timestamp())
        expected = self._expected
        claims: dict[str, object] = {"aud": expected.audience, "sub": sub, "iat": issued_s}
        claims["exp"] = issued_s + ttl_s
        if expected.issuer is not None:
            claims["iss"] = expected.issuer
        return jwts.encode(_put(claims, expected.roles_claim, sorted(roles)), self._key)


_DETAIL: Mapping[jwts.TokenFault, str] = {
    jwts.TokenFault.MALFORMED: "the bearer token is not a JWT",
    jwts.TokenFault.BAD_SIGNATURE: "the bearer token is not signed by a key that is trusted here",
    jwts.TokenFault.WRONG_AUDIENCE: "the bearer token is for another audience",
    jwts.TokenFault.BAD_CLAIMS: "the bearer token lacks a usable exp, aud or sub",
    jwts.TokenFault.EXPIRED: "the bearer token has expired",
    jwts.TokenFault.NOT_YET_VALID: "the bearer token is not yet valid",
}


def _verified(token: str, key: bytes | PublicKey, expected: Expected, clock: Clock) -> User:
    now_s = clock.now().timestamp()
    try:
        claims = jwts.decode(token, key, audience=expected.audience, now_s=now_s, leeway_s=LEEWAY_S)
    except jwts.TokenInvalid as refused:
        raise Unauthenticated(_DETAIL[refused.fault]) from None
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise Unauthenticated("the bearer token is from another issuer")
    return User(claims["sub"], _roles(claims, expected.roles_claim))


def _roles(claims: Mapping[str, object], name: str) -> frozenset[str]:
    """Read the roles; what is not a text or a list of texts gives none, for deny is the default."""
    found = claims[name] if name in claims else _dig(claims, name.split("."))
    if isinstance(found, str):
        return frozenset({found})
    if isinstance(found, list) and len(found) <= MAX_ROLES:
        return frozenset(role for role in found if isinstance(role, str))
    return frozenset()


def _dig(claims: object, names: list[str]) -> object:
    for name in names:
        if not isinstance(claims, Mapping):
            return None
        claims = claims.get(name)
    return claims


def _put(claims: dict[str, object], name: str, roles: list[str]) -> dict[str, object]:
    value: object = roles
    first, *rest = name.split(".")
    for part in reversed(rest):
        value = {part: value}
    return {first: value, **claims}
