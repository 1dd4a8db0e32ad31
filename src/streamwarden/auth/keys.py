"""The ring of keys that sign stream tokens, as ``STREAM_TOKEN_KEYS`` writes it.

``kid:secret[@YYYY-MM-DD],...``: the first signs, the others still verify. With ``@`` a key is used
through that day, UTC. To rotate, put a new key first and date the old one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from streamwarden.auth import jwts
from streamwarden.errors import ConfigError

NAME = "STREAM_TOKEN_KEYS"
MAX_KEYS = 16
_ENTRY = re.compile(
    r"(?:(?P<kid>[A-Za-z0-9_-]{1,32}):)?"
    r"(?P<secret>[A-Za-z0-9+/=_.~-]+)"
    r"(?:@(?P<until>\d{4}-\d{2}-\d{2}))?"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. ``not_after`` is the first moment at which it counts for nothing; None: never."""

    kid: str
    secret: bytes = field(repr=False)
    not_after: datetime | None = None

    @property
    def ends_s(self) -> int:
        """When the key ends, in seconds since 1970."""
        return jwts.MAX_EXPIRY_S if self.not_after is None else int(self.not_after.timestamp())

    def usable(self, now: datetime) -> bool:
        """Tell whether the key still signs and verifies at ``now``."""
        return self.not_after is None or now < self.not_after


def parse_keys(text: str) -> tuple[SigningKey, ...]:
    """Read ``STREAM_TOKEN_KEYS``; raise ConfigError, which never repeats a secret."""
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
