"""The decision of MediaMTX's authentication hook, ``check-stream-pwd``.

Pure and offline: MediaMTX 1.20.1 calls the hook in the one goroutine that manages all its paths, so a
slow answer stalls every stream. A status of 200-299 allows; 401 denies and, where the client sent no
credentials, makes it try again with those of its URL.

It also asks for requests to its own control API, metrics and profiles: those need the secret of
`control_secret`, and no stream token opens them. Their path and protocol are empty, their id is null.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import (
    Refusal,
    StreamAction,
    StreamClaims,
    StreamTokenRefused,
    StreamTokens,
    StreamUse,
)
from streamwarden.mediamtx.control_secret import ControlSecrets

MAX_QUERY_CHARS = 8192
MAX_QUERY_FIELDS = 32
_PROTOCOLS: Mapping[StreamAction, frozenset[str]] = {
    StreamAction.READ: frozenset({"rtsp", "rtsps", "webrtc", "hls"}),
    StreamAction.PUBLISH: frozenset({"rtsp", "rtsps", "webrtc"}),
}
_CONTROL_ACTIONS = frozenset({"api", "metrics", "pprof"})
_OTHER_ACTIONS = _CONTROL_ACTIONS | {"playback"}
_NO_SECRETS = ControlSecrets()


class HookOutcome(StrEnum):
    """The outcome of one call: a closed set, used as a metric's label."""

    ALLOWED = "allowed"
    NO_CREDENTIALS = "no_credentials"
    """Normal: a client with credentials in its URL first connects without them."""
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
    """Started without Postgres: the deny list is unknown, so viewers are refused."""
    PATH_PULLED = "path_pulled"
    """MediaMTX pulls this path itself, so earlier publish links are refused."""
    TOO_MANY_VIEWS = "too_many_views"
    """The viewer, or all viewers of the path, have as many sessions as may be open."""
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a label, no secret
    """A request to MediaMTX's control API, metrics or profiles with another secret than ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDecision:
    """The answer. ``action`` is MediaMTX's own, or ``other`` for an unknown one."""

    allowed: bool
    action: str
    outcome: HookOutcome
    claims: StreamClaims | None = None


class _Refused(Exception):
    def __init__(self, outcome: HookOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def check(
    tokens: StreamTokens,
    body: Mapping[str, object],
    *,
    denials: DenialList | None = None,
    pulled: Container[str] = (),
    control: ControlSecrets = _NO_SECRETS,
) -> HookDecision:
    """Decide one call of the hook. Never raises, for any JSON object.

    Without ``denials`` no token is revoked. Publishing to a path in ``pulled`` is refused. ``control``
    opens the media server's own interfaces; without secrets they are closed.
    """
    label, action = _action(body)
    try:
        if label in _CONTROL_ACTIONS:
            _check_control(control, body)
            return HookDecision(allowed=True, action=label, outcome=HookOutcome.ALLOWED)
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
    """Return the metric's label, and the action, None where no token can allow it."""
    word = _text(body, "action")
    if word in _OTHER_ACTIONS:
        return word, None
    try:
        action = StreamAction(word)
    except ValueError:
        return "other", None
    return action.value, action


def _check_control(control: ControlSecrets, body: Mapping[str, object]) -> None:
    """Only a header counts: a secret in a query would stand in logs."""
    found = {_text(body, "token"), _text(body, "password")} - {""}
    if not found:
        raise _Refused(HookOutcome.NO_CREDENTIALS)
    if len(found) > 1:
        raise _Refused(HookOutcome.AMBIGUOUS_TOKEN)
    if not control.match(found.pop()):
        raise _Refused(HookOutcome.WRONG_SECRET)


def _verified(
    tokens: StreamTokens, body: Mapping[str, object], action: StreamAction
) -> StreamClaims:
    if _text(body, "protocol") not in _PROTOCOLS[action]:
        raise _Refused(HookOutcome.PROTOCOL_DENIED)
    token = _token(body)
    try:
        return tokens.verify(token, path=_text(body, "path"), action=action)
    except StreamTokenRefused as refused:
        raise _Refused(HookOutcome(refused.reason.value)) from None


def _check_denials(denials: DenialList | None, claims: StreamClaims) -> None:
    if denials is None:
        return
    if denials.denies(claims):
        raise _Refused(HookOutcome.REVOKED)
    if not denials.known and claims.use is StreamUse.VIEW:
        # A recording must not end because Postgres is down; a viewer can wait.
        raise _Refused(HookOutcome.DENIALS_UNKNOWN)


def _token(body: Mapping[str, object]) -> str:
    """Return the token from ``token``, ``password`` or the query; two different ones are refused.

    MediaMTX moves ``?token=`` into ``token`` for RTSP and RTMP only; for WHEP and HLS it stays in
    ``query``. The list of sessions shows the query: the token there must be the one that let them in.
    """
    in_query = _query_token(_text(body, "query"))
    found = {_text(body, "token"), _text(body, "password"), in_query} - {""}
    if not found:
        raise _Refused(HookOutcome.NO_CREDENTIALS)
    if len(found) > 1:
        raise _Refused(HookOutcome.AMBIGUOUS_TOKEN)
    return found.pop()


def _query_token(query: str) -> str:
    """Return the query's ``token``; two of them are ambiguous and refused."""
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
    """Return a text field; empty where it is absent or of another type."""
    value = body.get(name)
    return value if isinstance(value, str) else ""
