"""Validation of requests against their responder's declaration, before the responder runs.

JSON is read strictly by RFC 8259: the extensions of Python's parser are refused.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import falcon
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamwarden.auth.play_tokens import PlayClaims, PlayTokens
from streamwarden.auth.users import Unauthenticated, User
from streamwarden.errors import InvalidInput
from streamwarden.http.middleware import BODY_LIMIT_BYTES
from streamwarden.http.models import Model, parse_id
from streamwarden.http.operations import Access, operation_of
from streamwarden.http.problems import InternalTokenRefused
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, RateLimits, client_address

_M = TypeVar("_M", bound=Model)
_T = TypeVar("_T")
_NAME_CHARS = 64
_ERRORS_SHOWN = 3
MAX_DEPTH = 16
"""Deeper than any body that is declared, and far from the interpreter's own limit."""


def parse_json(raw: bytes) -> object:
    """Return the value of JSON text in UTF-8.

    Raises InvalidInput for anything else, for repeated names, NaN and infinities, text that UTF-8 or
    Postgres cannot hold, and nesting beyond `MAX_DEPTH`.
    """
    try:
        value: object = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        # Without the cause's text: it may quote the body.
        raise InvalidInput("the body is not valid JSON", field="body") from error
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_constant(_name: str) -> object:
    raise ValueError("not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("too large a number")
    return value


def _check(value: object, depth: int) -> None:
    if depth < 0:
        raise ValueError("nested too deeply")
    match value:
        case str():
            if "\0" in value:
                raise ValueError("a NUL character")
            value.encode()  # raises for a lone surrogate
        case list():
            for item in value:
                _check(item, depth - 1)
        case dict():
            for name, item in value.items():
                _check(name, depth - 1)
                _check(item, depth - 1)


class UserVerifier(Protocol):
    """Verifies bearer tokens: `UserTokens` by a shared secret, `ProviderTokens` by a provider's keys."""

    def verify(self, token: str) -> User:
        """Return the user; raise Unauthenticated."""


class RequestValidator:
    """Middleware: checks credentials, then the path, the query and the body; a refusal names the field."""

    def __init__(
        self,
        *,
        users: UserVerifier | None,
        internal_tokens: Sequence[str],
        players: PlayTokens | None = None,
        rate_limits: RateLimits | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._users = users
        self._players = players
        self._internal_tokens = tuple(token.encode() for token in internal_tokens)
        self._rate_limits = rate_limits
        self._proxies = proxies

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Check the request; raise the error to answer with."""
        declared = operation_of(resource, req.method)
        if declared is None:
            return  # no such method: falcon answers 405 or OPTIONS
        self._admit(req, declared.access)
        if declared.rate_limit is not None and self._rate_limits is not None:
            sub = subject_of(req)
            self._rate_limits.call(declared.rate_limit, sub)
            req.context.charge = partial(self._rate_limits.charge, declared.rate_limit, sub)
        _read_path(params)
        if declared.query is not None:
            req.context.query = _validated(declared.query, req.params)
        if declared.body is not None:
            req.context.body = _validated(
                declared.body, _json_object(req, any_type=declared.any_type)
            )

    def _admit(self, req: falcon.Request, access: Access) -> None:
        match access:
            case Access.BEARER:
                self._admit_user(req)
            case Access.PLAYER:
                self._admit_player(req)
            case Access.INTERNAL:
                self._check_internal(req.get_header("X-Internal-Token") or "")
            case Access.OPEN:
                pass

    def _admit_user(self, req: falcon.Request) -> None:
        if self._users is None:
            raise AssertionError("the operation needs a user, and the app has no UserVerifier")
        token = _bearer(req)
        try:
            req.context.user = self._users.verify(token)
        except Unauthenticated:
            # Counted after the token was checked: a valid one passes in any case.
            if self._rate_limits is not None:
                self._rate_limits.failed_sign_in(client_address(req, self._proxies))
            raise

    def _admit_player(self, req: falcon.Request) -> None:
        if self._players is None:
            raise AssertionError("a player's operation in an app without play tokens")
        shown: object = req.params.get("token")
        if req.get_header("Authorization") or not isinstance(shown, str):
            self._admit_user(req)
        else:
            req.context.claims = self._players.verify(shown)

    def _check_internal(self, shown: str) -> None:
        # latin-1: the encoding that WSGI decodes header text with.
        given = shown.encode("latin-1", "replace")
        # Every token is compared, so that the time does not tell which one matched.
        matches = [hmac.compare_digest(given, token) for token in self._internal_tokens]
        if not any(matches):
            raise InternalTokenRefused("X-Internal-Token is missing or wrong")


def charge(req: falcon.Request, calls: int) -> None:
    """Count an operation with a rate limit as so many more calls, for what it has read."""
    counted: Callable[[int], None] | None = getattr(req.context, "charge", None)
    if counted is not None and calls > 0:
        counted(calls)


def subject_of(req: falcon.Request) -> str:
    """Return the id of the user who calls, by bearer or by play token."""
    claims = claims_of(req)
    return user_of(req).sub if claims is None else claims.sub


def user_of(req: falcon.Request) -> User:
    """Return the user of an operation that requires a bearer token."""
    return _typed(req.context.user, User)


def claims_of(req: falcon.Request) -> PlayClaims | None:
    """Return the play token's claims, None for a call with a bearer token (see `user_of`)."""
    shown: PlayClaims | None = getattr(req.context, "claims", None)
    return shown


def query_of(req: falcon.Request, model: type[_M]) -> _M:
    """Return the checked query."""
    return _typed(req.context.query, model)


def body_of(req: falcon.Request, model: type[_M]) -> _M:
    """Return the checked body."""
    return _typed(req.context.body, model)


def _typed(value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"the operation declares no {kind.__name__}")
    return value


def _bearer(req: falcon.Request) -> str:
    scheme, _, token = (req.get_header("Authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("a bearer token is needed: Authorization: Bearer ...")
    return token.strip()


def _read_path(params: dict[str, Any]) -> None:
    for name, text in params.items():
        if name.endswith("_id"):
            try:
                params[name] = parse_id(name, text)
            except ValueError as error:
                raise InvalidInput(str(error), field=name) from None


def _json_object(req: falcon.Request, *, any_type: bool) -> dict[str, Any]:
    raw = _body_bytes(req)
    if not raw:
        return {}  # a POST without a body is a POST with {}
    if not any_type and not _is_json(req.content_type or ""):
        raise falcon.HTTPUnsupportedMediaType
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object", field="body")
    return value


def _body_bytes(req: falcon.Request) -> bytes:
    raw: bytes = req.bounded_stream.read(BODY_LIMIT_BYTES + 1)
    if len(raw) > BODY_LIMIT_BYTES:
        raise falcon.HTTPContentTooLarge
    return raw


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().replace('"', "").removeprefix("charset=")
    return kind.strip().lower() == "application/json" and charset in {"", "utf-8", "utf8"}


def _validated(model: type[_M], value: object) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _named(error) from None


def _named(error: ValidationError) -> InvalidInput:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_name(each['loc'])}: {_say(each)}" for each in found[:_ERRORS_SHOWN]]
    return InvalidInput("; ".join(shown), field=_name(found[0]["loc"]))


def _name(location: tuple[int | str, ...]) -> str:
    text = ".".join(str(part) for part in location) or "body"
    return "".join(c for c in text[:_NAME_CHARS] if c.isprintable())


def _say(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "missing":
        return "is required"
    return error["msg"].removeprefix("Value error, ").replace("Input should be", "should be", 1)
