"""The ring of stream token keys at work: which one signs, and which one a token was signed with."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamwarden.auth import jwts
from streamwarden.auth.keys import SigningKey
from streamwarden.clock import Clock
from streamwarden.errors import ConfigError, Unavailable


class UnknownKey(Exception):
    """The token names no key of the ring."""


class KeyExpired(Exception):
    """The token's key counts for nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedToken:
    """A fresh token. ``expires_at`` may come before the life asked for: with the last key's end."""

    token: str = field(repr=False)
    expires_at: datetime
    jti: str


class KeyRing:
    """Keys in the order of ``STREAM_TOKEN_KEYS``; the first that lasts long enough signs.

    Raises ConfigError where none is usable at the start.
    """

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._keys = {key.kid: key for key in keys}
        self._clock = clock
        if not any(key.usable(clock.now()) for key in keys):
            raise ConfigError(
                "STREAM_TOKEN_KEYS has no key that is still valid; put a new one first"
            )

    def expiries(self) -> dict[str, datetime | None]:
        """Return when each key ends by its ``kid``; None means never."""
        return {kid: key.not_after for kid, key in self._keys.items()}

    def key_of(self, token: str) -> SigningKey:
        """Return the key that ``token`` names; nothing of the token is verified yet.

        Raises:
            TokenInvalid: its header cannot be read.
            UnknownKey: it names none of these.
            KeyExpired: it names one that has ended.
        """
        key = self._keys.get(jwts.key_id(token) or "")
        if key is None:
            raise UnknownKey
        if not key.usable(self._clock.now()):
            raise KeyExpired
        return key

    def sign(
        self, claims: Mapping[str, object], *, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        """Sign ``claims`` for ``ttl_s`` seconds; ``asked_at``, if not now, is what `issue_time` reads.

        Raises:
            Unavailable: no key is valid any more.
        """
        now = self._clock.now()
        issued_s = int(now.timestamp())
        key, expires_s = self.signing_key(issued_s=issued_s, expires_s=issued_s + ttl_s)
        jti = secrets.token_urlsafe(12)
        signed = {
            **claims,
            "iat": issued_s,
            "asked_at": (asked_at or now).timestamp(),
            "exp": expires_s,
            "jti": jti,
        }
        return SignedToken(
            token=jwts.encode(signed, key.secret, kid=key.kid),
            expires_at=datetime.fromtimestamp(expires_s, UTC),
            jti=jti,
        )

    def signing_key(self, *, issued_s: int, expires_s: int) -> tuple[SigningKey, int]:
        """Choose the first key that outlives the token, else the one that lasts longest.

        The second value is when the token ends, in seconds since 1970.
        """
        lives = [(key, min(expires_s, key.ends_s)) for key in self._keys.values()]
        key, until_s = max(lives, key=lambda life: life[1])  # the first of equals
        if until_s <= issued_s:
            raise Unavailable("no stream token key is valid any more", retry_after_s=60)
        return key, until_s


def issue_time(claims: Mapping[str, Any]) -> datetime:
    """Read when a token was asked for: ``asked_at``, of our own, to the fraction; else ``iat``.

    ``iat`` is in whole seconds, so that ``exp`` less ``iat`` is the life that was asked for. Raises
    TypeError or ValueError where it is no NumericDate (RFC 7519, 2).
    """
    value = claims.get("asked_at", claims["iat"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not (math.isfinite(value) and 0 <= value <= jwts.MAX_EXPIRY_S):
        raise ValueError("no time")
    return datetime.fromtimestamp(value, UTC)
