"""The key ring that signs and verifies stream tokens and play tokens.

``STREAM_TOKEN_KEYS`` is ``kid:secret[@YYYY-MM-DD],...``: the first key signs, all of them verify. A key
with ``@`` is valid through that day, UTC. To rotate, put a new key first and date the old one.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from streamwarden.auth import jwts
from streamwarden.clock import Clock
from streamwarden.errors import ConfigError, Unavailable

NAME = "STREAM_TOKEN_KEYS"
MAX_KEYS = 16
_ENTRY = re.compile(
    r"(?:(?P<kid>[A-Za-z0-9_-]{1,32}):)?"
    r"(?P<secret>[A-Za-z0-9+/=_.~-]+)"
    r"(?:@(?P<until>\d{4}-\d{2}-\d{2}))?"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. It is invalid from ``not_after`` on; None: never."""

    kid: str
    secret: bytes = field(repr=False)
    not_after: datetime | None = None

    @property
    def ends_s(self) -> int:
        """``not_after`` in seconds since 1970."""
        return jwts.MAX_EXPIRY_S if self.not_after is None else int(self.not_after.timestamp())

    def usable(self, now: datetime) -> bool:
        """Return whether the key is valid at ``now``."""
        return self.not_after is None or now < self.not_after


def parse_keys(text: str) -> tuple[SigningKey, ...]:
    """Return the keys of ``STREAM_TOKEN_KEYS``; raise ConfigError, which repeats no secret."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not 1 <= len(entries) <= MAX_KEYS:
        raise ConfigError(f"{NAME} holds {len(entries)} keys; it needs 1 to {MAX_KEYS}")
    keys = tuple(_parse(entry, place) for place, entry in enumerate(entries, 1))
    if len({key.kid for key in keys}) < len(keys) or len({key.secret for key in keys}) < len(keys):
        raise ConfigError(f"{NAME} holds the same key or the same key id twice")
    return keys


def _parse(entry: str, place: int) -> SigningKey:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ConfigError(
            f"{NAME}: key {place} is not written as kid:secret or kid:secret@YYYY-MM-DD "
            "(secrets of A-Z a-z 0-9 + / = _ . ~ -)"
        )
    secret = jwts.check_secret(found["secret"], what=f"{NAME}: the secret of key {place}")
    kid = found["kid"] or hashlib.sha256(secret).hexdigest()[:12]
    return SigningKey(kid, secret, _end_of(found["until"], place))


def _end_of(day: str | None, place: int) -> datetime | None:
    if day is None:
        return None
    try:
        midnight = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
        return midnight + timedelta(days=1)
    except (ValueError, OverflowError):
        raise ConfigError(f"{NAME}: the date of key {place} is no day of the calendar") from None


class UnknownKey(Exception):
    """The token names a key that is not known."""


class KeyExpired(Exception):
    """The token's key is no longer valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedToken:
    """A new token. It expires earlier than requested where the last key does."""

    token: str = field(repr=False)
    expires_at: datetime
    jti: str


class KeyRing:
    """Keys in the order of ``STREAM_TOKEN_KEYS``; the first that outlives the token signs it.

    Raises ConfigError where no key is valid at the start.
    """

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._keys = {key.kid: key for key in keys}
        self._clock = clock
        if not any(key.usable(clock.now()) for key in keys):
            raise ConfigError(
                "STREAM_TOKEN_KEYS has no key that is still valid; put a new one first"
            )

    def expiries(self) -> dict[str, datetime | None]:
        """Return the end of each key by its ``kid``; None: never."""
        return {kid: key.not_after for kid, key in self._keys.items()}

    def key_of(self, token: str, *, ended: bool = False) -> SigningKey:
        """Return the key that ``token`` names, without verifying the token.

        With ``ended`` also one that is no longer valid.

        Raises:
            TokenInvalid: its header cannot be read.
            UnknownKey: it names none of the ring.
            KeyExpired: it names one that is no longer valid.
        """
        key = self._keys.get(jwts.key_id(token) or "")
        if key is None:
            raise UnknownKey
        if not ended and not key.usable(self._clock.now()):
            raise KeyExpired
        return key

    def sign(
        self, claims: Mapping[str, object], *, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        """Sign ``claims`` for ``ttl_s`` seconds; `issue_time` returns ``asked_at``, by default now.

        Raises:
            Unavailable: no key is still valid.
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
        """Return the first key that outlives the token, or else the one that is valid longest.

        The second value is the token's end, in seconds since 1970.
        """
        lives = [(key, min(expires_s, key.ends_s)) for key in self._keys.values()]
        key, until_s = max(lives, key=lambda life: life[1])  # the first of equals
        if until_s <= issued_s:
            raise Unavailable("no stream token key is valid any more", retry_after_s=60)
        return key, until_s


def issue_time(claims: Mapping[str, Any]) -> datetime:
    """Return the time of the request for a token: the claim ``asked_at``, or else ``iat``.

    ``asked_at`` is our own and has fractions; ``iat`` is in whole seconds, so that ``exp - iat`` is the
    requested life. Raises TypeError or ValueError where it is not a NumericDate (RFC 7519, 2).
    """
    value = claims.get("asked_at", claims["iat"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not (math.isfinite(value) and 0 <= value <= jwts.MAX_EXPIRY_S):
        raise ValueError("no time")
    return datetime.fromtimestamp(value, UTC)
