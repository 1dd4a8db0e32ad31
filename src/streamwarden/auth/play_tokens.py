"""Play tokens: for a ``<video>`` or an HLS player, which cannot send an Authorization header.

Signed with the stream tokens' keys but another audience, so that neither is accepted as the other. Bound
to one camera, to a time range or the live stream, and to a user. The permission is checked when the
token is signed; ``docs/design/0007-play.md`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from streamwarden.auth import jwts
from streamwarden.auth.keys import (
    KeyExpired,
    KeyRing,
    SignedToken,
    SigningKey,
    UnknownKey,
    issue_time,
)
from streamwarden.auth.users import Unauthenticated
from streamwarden.clock import Clock
from streamwarden.model import TimeRange

AUDIENCE = "play"
MAX_PLAY_TOKEN_CHARS = 2048
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayClaims:
    """The claims of a verified token. ``live``: the live stream; ``recorded`` None: no recordings.

    ``whole``: only segments that lie entirely in ``recorded``, as for a grant with a time range.
    """

    camera_id: UUID
    sub: str
    live: bool
    recorded: TimeRange | None
    whole: bool = False
    issued_at: datetime
    expires_at: datetime


class PlayTokens:
    """Signs and verifies play tokens. Without leeway: one role signs and verifies, with one clock."""

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._ring = KeyRing(keys, clock)
        self._clock = clock

    def sign(
        self,
        sub: str,
        camera_id: UUID,
        *,
        live: bool,
        recorded: TimeRange | None,
        ttl_s: int,
        whole: bool = False,
        asked_at: datetime | None = None,
    ) -> SignedToken:
        """Sign a token for ``sub`` and ``camera_id`` for ``ttl_s`` seconds.

        ``asked_at`` is `DenialList.moment` before the permission was looked up, as for stream tokens.
        """
        claims: dict[str, object] = {
            "aud": AUDIENCE,
            "camera": str(camera_id),
            "live": live,
            "sub": sub,
        }
        if recorded is not None:
            claims |= {"from": _milliseconds(recorded.from_), "to": _milliseconds(recorded.to)}
            claims |= {"whole": True} if whole else {}
        return self._ring.sign(claims, ttl_s=ttl_s, asked_at=asked_at)

    def verify(self, token: str) -> PlayClaims:
        """Return the claims; the caller compares them with the request.

        Raises:
            Unauthenticated: the token is refused.
        """
        if len(token) > MAX_PLAY_TOKEN_CHARS:
            raise _refused()
        try:
            key = self._ring.key_of(token)
            claims = jwts.decode(
                token,
                key.secret,
                audience=AUDIENCE,
                now_s=self._clock.now().timestamp(),
                require=("jti", "iat", "camera", "live"),
            )
            return _read(claims)
        except (jwts.TokenInvalid, UnknownKey, KeyExpired, ValueError, TypeError, OverflowError):
            raise _refused() from None


def _read(claims: Mapping[str, Any]) -> PlayClaims:
    recorded = None
    if "from" in claims or "to" in claims:
        recorded = TimeRange(_moment(claims.get("from")), _moment(claims.get("to")))
    return PlayClaims(
        camera_id=UUID(str(claims["camera"])),
        sub=claims["sub"],
        live=claims["live"] is True,
        recorded=recorded,
        whole=claims.get("whole", False) is not False,
        issued_at=issue_time(claims),
        expires_at=datetime.fromtimestamp(float(claims["exp"]), UTC),
    )


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a time in milliseconds")
    return _EPOCH + value * _MILLISECOND


def _refused() -> Unauthenticated:
    return Unauthenticated("the play token is not valid or has expired")
