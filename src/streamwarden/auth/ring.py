"""The ring of stream token keys at work: which one signs, which one a token was signed with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from streamwarden.auth import jwts
from streamwarden.auth.keys import SigningKey
from streamwarden.clock import Clock
from streamwarden.errors import ConfigError, Unavailable


class UnknownKey(Exception):
    """The token names no key of the ring."""


class KeyExpired(Exception):
    """The token's key counts for nothing any more."""


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

    def signing_key(self, *, issued_s: int, expires_s: int) -> tuple[SigningKey, int]:
        """Choose the first key that outlives the token, else the one that lasts longest.

        The second value is when the token ends, in seconds since 1970.
        """
        lives = [(key, min(expires_s, key.ends_s)) for key in self._keys.values()]
        key, until_s = max(lives, key=lambda life: life[1])  # the first of equals
        if until_s <= issued_s:
            raise Unavailable("no stream token key is valid any more", retry_after_s=60)
        return key, until_s
