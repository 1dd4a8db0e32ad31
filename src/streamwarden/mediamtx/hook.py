"""MediaMTX's authentication hook: the decision behind ``check-stream-pwd``.

Pure and offline, because MediaMTX 1.20.1 asks inside the one goroutine that manages all its paths:
a slow answer stalls every stream. An answer in 200-299 allows, 401 denies and, where no credential
was shown at all, makes the client try again with those of its URL.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import parse_qsl

from streamwarden.auth.stream_tokens import (
    Refusal,
    StreamAction,
    StreamClaims,
    StreamTokenRefused,
    StreamUse,
)

MAX_QUERY_CHARS = 8192


MAX_QUERY_FIELDS = 32


_PROTOCOLS: Mapping[StreamAction, frozenset[str]] = {
    StreamAction.READ: frozenset({"rtsp", "rtsps", "webrtc", "hls"}),
    StreamAction.PUBLISH: frozenset({"rtsp", "rtsps", "webrtc"}),
}


_OTHER_ACTIONS = frozenset({"playback", "api", "metrics", "pprof"})


class HookOutcome(StrEnum):
    """What was decided and why: a closed set, used as a metric's label."""

    ALLOWED = "allowed"
    NO_CREDENTIALS = "no_credentials"
    """Ordinary: a client with credentials in its URL calls once without them."""
    ACTION_DENIED = "action_denied"
    PROTOCOL_DENIED = "protocol_denied"
    AMBIGUOUS_TOKEN = "ambiguous_token"  # noqa: S105 - a label, no secret
    BAD_REQUEST = "bad_request"
    MALFORMED = Refusal.MALFORMED.value
    UNKNOWN_KEY = Refusal.UNKNOWN_KEY.value
    KEY_EXPIRED = Refusal.KEY_EXPIRED.value
    BAD_SIGNATURE = Refusal.BAD_SIGNATURE.value
    WRONG_AUDIENCE = Refusal.WRONG_AUDIENCE.value
    BAD_CLAIMS = Refusal.BAD_CLAIMS.value
    EXPIRED = Refusal.EXPIRED.value
    NOT_YET_VALID = Refusal.NOT_YET_VALID.value
    WRONG_PATH = Refusal.WRONG_PATH.value
    WRONG_ACTION = Refusal.WRONG_ACTION.value
    REVOKED = "revoked"
    DENIALS_UNKNOWN = "denials_unknown"
    """Started without Postgres: nobody can say what is denied, so nobody watches."""
    PATH_PULLED = "path_pulled"
    """The media server pulls this path itself; an earlier publish link leads nowhere."""


class Verifier(Protocol):
    """What the hook needs of the stream tokens."""

    def verify(self, token: str, *, path: str, action: StreamAction) -> StreamClaims:
        """Return the claims, or raise StreamTokenRefused."""


class Denials(Protocol):
    """What the hook needs of the deny list."""

    @property
    def known(self) -> bool:
        """Whether it was ever read."""

    def denies(self, claims: StreamClaims) -> bool:
        """Tell whether the token was revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDecision:
    """The answer. ``action`` is MediaMTX's word, or ``other`` for one that it does not have."""

    allowed: bool
    action: str
    outcome: HookOutcome
    claims: StreamClaims | None = None


class _Refused(Exception):
    def __init__(self, outcome: HookOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def check(
    tokens: Verifier,
    body: Mapping[str, object],
    *,
    denials: Denials | None = None,
    pulled: Container[str] = (),
) -> HookDecision:
    """Decide about one call of the hook. Never raises, whatever the JSON object holds.

    Without ``denials`` nothing is revoked; nobody publishes to a path of ``pulled``.
    """
    label, action = _action(body)
    try:
        if action is None:
            raise _Refused(HookOutcome.ACTION_DENIED)  # noqa: TRY301 - one way out for all refusals
        claims = _verified(tokens, body, action)
        _check_denials(denials, claims)
        if action is StreamAction.PUBLISH and claims.path in pulled:
            raise _Refused(HookOutcome.PATH_PULLED)  # noqa: TRY301 - likewise
    except _Refused as refused:
        return HookDecision(allowed=False, action=label, outcome=refused.outcome)
    return HookDecision(allowed=True, action=label, outcome=HookOutcome.ALLOWED, claims=claims)


def _action(body: Mapping[str, object]) -> tuple[str, StreamAction | None]:
    """Return the metric's label, and the action where a token can allow it at all."""
    word = _text(body, "action")
    if word in _OTHER_ACTIONS:
        return word, None
    try:
        action = StreamAction(word)
    except ValueError:
        return "other", None
    return action.value, action


def _verified(tokens: Verifier, body: Mapping[str, object], action: StreamAction) -> StreamClaims:
    if _text(body, "protocol") not in _PROTOCOLS[action]:
        raise _Refused(HookOutcome.PROTOCOL_DENIED)
    token = _token(body)
    try:
        return tokens.verify(token, path=_text(body, "path"), action=action)
    except StreamTokenRefused as refused:
        raise _Refused(HookOutcome(refused.reason.value)) from None


def _check_denials(denials: Denials | None, claims: StreamClaims) -> None:
    if denials is None:
        return
    if denials.denies(claims):
        raise _Refused(HookOutcome.REVOKED)
    if not denials.known and claims.use is StreamUse.VIEW:
        # A recording must not end because a database is away; watching can wait for it.
        raise _Refused(HookOutcome.DENIALS_UNKNOWN)


def _token(body: Mapping[str, object]) -> str:
    """Take the token from where MediaMTX puts it: ``token``, ``password``, else the raw query.

    MediaMTX lifts ``?token=`` into ``token`` for RTSP and RTMP only; for WHEP and HLS it stays in
    ``query``.
    """
    in_query = _query_token(_text(body, "query"))
    token = _text(body, "token") or _text(body, "password") or in_query
    if not token:
        raise _Refused(HookOutcome.NO_CREDENTIALS)
    return token


def _query_token(query: str) -> str:
    """Return the query's ``token``; one that is named twice says two things and is refused."""
    if len(query) > MAX_QUERY_CHARS:
        raise _Refused(HookOutcome.BAD_REQUEST)
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise _Refused(HookOutcome.BAD_REQUEST) from None
    tokens = [value for name, value in fields if name == "token"]
    if len(tokens) > 1:
        raise _Refused(HookOutcome.AMBIGUOUS_TOKEN)
    return tokens[0] if tokens else ""


def _text(body: Mapping[str, object], name: str) -> str:
    """Return a text field; null, absent and any other type count as empty."""
    value = body.get(name)
    return value if isinstance(value, str) else ""
