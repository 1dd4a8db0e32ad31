"""Stream tokens, which MediaMTX's hook accepts: for one path, one action and one use.

The API signs them with keys of their own, not with the users' secret.
``docs/design/0005-token-life.md`` says how long each use lives and what ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
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
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.model import STREAM_PATH

AUDIENCE = "rtsp"
MAX_STREAM_TOKEN_CHARS = 2048
"""A usual token has about 500; the rest is for the longest user's id."""


class StreamAction(StrEnum):
    """The action at the media server."""

    READ = "read"
    PUBLISH = "publish"


class StreamUse(StrEnum):
    """The use of a token, which decides about its life."""

    RECORD = "record"
    VIEW = "view"
    PUBLISH = "publish"


class Refusal(StrEnum):
    """The reason of a refusal: a closed set, used as a metric's label."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    KEY_EXPIRED = "key_expired"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    BAD_CLAIMS = "bad_claims"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_PATH = "wrong_path"
    WRONG_ACTION = "wrong_action"


class StreamTokenRefused(Exception):
    """The token does not allow the action, for ``reason``."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClaims:
    """The claims of a verified token."""

    use: StreamUse
    action: StreamAction
    path: str
    sub: str
    jti: str
    kid: str
    issued_at: datetime
    expires_at: datetime


MAX_LIFE_S: Mapping[StreamUse, int] = {
    StreamUse.RECORD: 86_400,
    StreamUse.VIEW: 366 * 86_400,
    StreamUse.PUBLISH: 366 * 86_400,
}
"""The longest life of each use, and so of a denial."""


_ACTION_OF_USE: Mapping[StreamUse, StreamAction] = {
    StreamUse.RECORD: StreamAction.READ,
    StreamUse.VIEW: StreamAction.READ,
    StreamUse.PUBLISH: StreamAction.PUBLISH,
}


class StreamTokens:
    """Signs and verifies stream tokens with a key ring.

    Without leeway: the same role signs and verifies, with one clock. Raises ConfigError where no key is
    valid at the start.
    """

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._ring = KeyRing(keys, clock)
        self._clock = clock

    def key_expiries(self) -> dict[str, datetime | None]:
        """Return the end of each key by its ``kid``; None: never."""
        return self._ring.expiries()

    def sign_record(
        self, camera_id: UUID, path: str, *, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        """Sign the read token of a camera's recorder; ``asked_at`` as for `sign_view`."""
        return self._sign(StreamUse.RECORD, f"recorder:{camera_id}", path, ttl_s, asked_at)

    def sign_view(
        self, user: str, path: str, *, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        """Sign the read token of a user's preview.

        ``asked_at`` is `DenialList.moment` before the permission was looked up, so that a withdrawal in
        between denies this token too (``docs/design/0009-revocation.md``).
        """
        return self._sign(StreamUse.VIEW, user, path, ttl_s, asked_at)

    def sign_publish(
        self, user: str, path: str, *, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        """Sign a camera's publish token, in the name of the user who asked for it."""
        return self._sign(StreamUse.PUBLISH, user, path, ttl_s, asked_at)

    def verify(self, token: str, *, path: str, action: StreamAction) -> StreamClaims:
        """Return the claims if the token allows ``action`` on exactly ``path``.

        Offline, and repeatable with the same token: one RTSP read calls the hook at DESCRIBE and at
        SETUP. Raises StreamTokenRefused.
        """
        read = self._decode(token, now_s=self._clock.now().timestamp())
        if read.path != path:
            raise StreamTokenRefused(Refusal.WRONG_PATH)
        if read.action is not action:
            raise StreamTokenRefused(Refusal.WRONG_ACTION)
        return read

    def recall(self, token: str) -> StreamClaims | None:
        """Return the claims of a token that our keys signed, expired or not; None for any other.

        A key of the ring counts here also after its last day.

        Only to identify the user of a session that was opened with the token, not to allow anything.
        """
        try:
            return self._decode(token, now_s=0.0, ended_keys=True)
        except StreamTokenRefused:
            return None

    def _decode(self, token: str, *, now_s: float, ended_keys: bool = False) -> StreamClaims:
        if len(token) > MAX_STREAM_TOKEN_CHARS:
            raise StreamTokenRefused(Refusal.MALFORMED)
        try:
            key = self._key_of(token, ended_keys=ended_keys)
            claims = jwts.decode(
                token, key.secret, audience=AUDIENCE, now_s=now_s, require=("jti", "iat")
            )
        except jwts.TokenInvalid as invalid:
            raise StreamTokenRefused(Refusal(invalid.fault.value)) from None
        return _read(claims, key.kid)

    def _key_of(self, token: str, *, ended_keys: bool) -> SigningKey:
        try:
            return self._ring.key_of(token, ended=ended_keys)
        except UnknownKey:
            raise StreamTokenRefused(Refusal.UNKNOWN_KEY) from None
        except KeyExpired:
            raise StreamTokenRefused(Refusal.KEY_EXPIRED) from None

    def _sign(
        self, use: StreamUse, sub: str, path: str, ttl_s: int, asked_at: datetime | None = None
    ) -> SignedToken:
        if not STREAM_PATH.fullmatch(path):
            raise InvalidInput("the path has characters that a path may not have", field="path")
        if not jwts.is_subject(sub):
            raise InvalidInput("the user's id is empty, too long or not printable", field="sub")
        if not 1 <= ttl_s <= MAX_LIFE_S[use]:
            raise InvalidInput(f"a token lives 1 to {MAX_LIFE_S[use]} seconds", field="ttl")
        claims = {
            "aud": AUDIENCE,
            "action": _ACTION_OF_USE[use].value,
            "use": use.value,
            "path": path,
            "sub": sub,
        }
        return self._ring.sign(claims, ttl_s=ttl_s, asked_at=asked_at)


def stated_claims(token: str) -> StreamClaims | None:
    """Return the claims that a token states, unverified; None where it is not written as ours are.

    They allow nothing. The session kicker uses them for sessions that were opened with a key that has
    left the ring since.
    """
    if len(token) > MAX_STREAM_TOKEN_CHARS:
        return None
    try:
        claims = jwts.unverified_claims(token)
        if claims.get("aud") != AUDIENCE or not jwts.is_subject(claims.get("sub")):
            return None
        return _read(claims, jwts.key_id(token) or "")
    except (jwts.TokenInvalid, StreamTokenRefused, KeyError, TypeError, ValueError, OverflowError):
        return None


def _read(claims: Mapping[str, Any], kid: str) -> StreamClaims:
    try:
        use = StreamUse(claims["use"])
        action = StreamAction(claims["action"])
        path, jti = claims["path"], claims["jti"]
        issued_at = issue_time(claims)
    except (KeyError, ValueError, TypeError):
        raise StreamTokenRefused(Refusal.BAD_CLAIMS) from None
    if _ACTION_OF_USE[use] is not action or not (
        isinstance(path, str) and STREAM_PATH.fullmatch(path)
    ):
        raise StreamTokenRefused(Refusal.BAD_CLAIMS)
    expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
    return StreamClaims(
        use=use,
        action=action,
        path=path,
        sub=claims["sub"],
        jti=jti,
        kid=kid,
        issued_at=issued_at,
        expires_at=expires_at,
    )
