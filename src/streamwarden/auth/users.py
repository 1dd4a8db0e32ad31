"""Users' bearer tokens, verified with a shared secret or with an identity provider's public keys.

A thread fetches the provider's keys, not the requests. PyJWT's own client is not used: it fetches
within the request, limits neither the size of the response nor how often an unknown ``kid`` causes a
fetch, and drops its keys after five minutes even when the provider cannot be reached.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.auth import jwts
from streamwarden.auth.jwts import JwksInvalid, PublicKey, parse_jwks
from streamwarden.auth.keys import UnknownKey
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, StreamwardenError, Unavailable

log = structlog.get_logger(__name__)

LEEWAY_S = 5.0
"""The identity provider's clock may differ; both are assumed to follow NTP."""
DEFAULT_TTL_S = 86_400
MAX_ROLES = 256
REFRESH_S: Final = 300.0
"""The interval between fetches: a key that the provider withdraws is accepted for this long."""
RETRY_FIRST_S: Final = 5.0
RETRY_MOST_S: Final = 60.0
ASK_AGAIN_S: Final = 10.0
"""The shortest interval between fetches for an unknown ``kid``: any caller can invent one."""
WAIT_S: Final = 1.0
"""The longest wait of a request for a key that is being fetched."""
MAX_WAITING: Final = 4
"""Requests that wait at once; others get 503. They occupy threads of the API."""
MAX_BYTES: Final = 256 * 1024
"""The largest accepted JWK Set; real ones have a few thousand bytes."""
_CONNECT_S, _READ_S, _WHOLE_S = 2.0, 3.0, 10.0
_CHUNK_BYTES: Final = 16 * 1024
_OK: Final = 200
_DETAIL: Mapping[jwts.TokenFault, str] = {
    jwts.TokenFault.MALFORMED: "the bearer token is not a JWT",
    jwts.TokenFault.BAD_SIGNATURE: "the bearer token is not signed by a key that is trusted here",
    jwts.TokenFault.WRONG_AUDIENCE: "the bearer token is for another audience",
    jwts.TokenFault.BAD_CLAIMS: "the bearer token lacks a usable exp, aud or sub",
    jwts.TokenFault.EXPIRED: "the bearer token has expired",
    jwts.TokenFault.NOT_YET_VALID: "the bearer token is not yet valid",
}


class Unauthenticated(StreamwardenError):
    """The request has no valid token."""

    code = "unauthenticated"
    status = 401


class IdentityProviderUnavailable(Unavailable):
    """The provider's keys cannot be fetched, and the last ones are too old."""

    code = "identity_provider_unavailable"


@dataclass(frozen=True, slots=True)
class User:
    """The caller; ``sub`` is the id that the identity provider gave them."""

    sub: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The claims that a user's token must have. ``issuer`` None: any.

    ``roles_claim`` is a claim's name or a dotted path into nested claims (``realm_access.roles``).
    """

    audience: str
    roles_claim: str
    issuer: str | None = None


class ProviderTokens:
    """Verifies users' tokens with the public keys of an identity provider."""

    def __init__(self, keys: ProviderKeys, expected: Expected, clock: Clock) -> None:
        self._keys = keys
        self._expected = expected
        self._clock = clock

    def verify(self, token: str) -> User:
        """Return the user.

        Raises:
            Unauthenticated: the token is refused; the message repeats nothing of it.
            Unavailable: the provider's keys cannot be fetched.
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
    """Verifies users' tokens with a shared secret, and signs them for the CLI and the demo.

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
        """Return the user; raise Unauthenticated, which repeats nothing of the token."""
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


class ProviderKeys:
    """The keys of one provider, kept fresh by a thread. `find` and `check` are thread-safe.

    ``fetch`` returns the JWK Set in bounded time and size, or raises Unavailable. Keys older than
    ``max_age_s`` are not used, so this is the longest outage of the provider without effect.
    """

    def __init__(
        self,
        fetch: Callable[[], bytes],
        *,
        algorithms: Collection[str],
        max_age_s: float,
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._algorithms = frozenset(algorithms)
        self._max_age_s = max_age_s
        self._clock = clock
        self._changed = threading.Condition()
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching = False
        self._failures = 0
        self._wanted = False
        self._waiting = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; returns at once, also while the provider is down."""
        self._thread = threading.Thread(target=self._run, name="identity-provider", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """Stop the thread; a fetch that is under way is left to its timeouts."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(deadline_s)

    def find(self, kid: str) -> PublicKey:
        """Return the key; waits at most `WAIT_S`, and only if a fetch is running or due.

        Raises:
            UnknownKey: the provider has no such key.
            IdentityProviderUnavailable: the current keys are not known.
        """
        with self._changed:
            if (key := self._valid_keys().get(kid)) is not None:
                return key
            self._wanted = True
            self._changed.notify_all()
            fetched = self._await_fetch() if self._may_ask() else True
            if (key := self._valid_keys().get(kid)) is not None:
                return key
            if self._valid_keys() and fetched and not self._failures:
                raise UnknownKey
            raise IdentityProviderUnavailable("the identity provider's keys cannot be fetched")

    def check(self) -> None:
        """Raise IdentityProviderUnavailable unless there are valid keys."""
        with self._changed:
            if not self._valid_keys():
                raise IdentityProviderUnavailable("the identity provider's keys cannot be fetched")

    # Called with the lock held

    def _valid_keys(self) -> Mapping[str, PublicKey]:
        return {} if self._too_old() else self._keys

    def _too_old(self) -> bool:
        fetched_s = self._fetched_s
        return fetched_s is None or self._clock.monotonic() - fetched_s > self._max_age_s

    def _may_ask(self) -> bool:
        tried_s = self._tried_s
        if self._fetching or tried_s is None:
            return True
        return self._clock.monotonic() - tried_s >= ASK_AGAIN_S

    def _await_fetch(self) -> bool:
        """Wait for the fetch that is under way or about to start; False if it does not end in time."""
        if self._waiting >= MAX_WAITING:
            raise IdentityProviderUnavailable(
                "the identity provider's keys are being fetched", retry_after_s=1
            )
        seen, failed = self._fetched_s, self._failures
        self._waiting += 1
        try:
            return self._changed.wait_for(
                lambda: self._stopping or (self._fetched_s, self._failures) != (seen, failed),
                WAIT_S,
            )
        finally:
            self._waiting -= 1

    def _due_in_s(self) -> float:
        if self._tried_s is None:
            return 0.0
        pause_s = REFRESH_S
        if self._failures:
            pause_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        if self._wanted:
            pause_s = min(pause_s, ASK_AGAIN_S)
        return max(0.0, self._tried_s + pause_s - self._clock.monotonic())

    # The thread

    def _run(self) -> None:
        while self._await_due():
            try:
                keys = parse_jwks(self._fetch(), self._algorithms)
            except (Unavailable, JwksInvalid) as error:
                log.warning("identity_provider_keys_not_fetched", error=str(error))
                self._note(None)
            except Exception:  # edge of a thread: every sign-in depends on it
                log.exception("identity_provider_keys_not_fetched")
                self._note(None)
            else:
                self._note(keys)

    def _await_due(self) -> bool:
        """Wait until the next fetch is due; False when stopping."""
        with self._changed:
            while not self._stopping and (due_in_s := self._due_in_s()) > 0:
                self._changed.wait(due_in_s)
            self._fetching = not self._stopping
            self._tried_s = self._clock.monotonic()
            self._wanted = False
            return not self._stopping

    def _note(self, keys: Mapping[str, PublicKey] | None) -> None:
        with self._changed:
            self._fetching = False
            self._tried_s = self._clock.monotonic()
            if keys is None:
                self._failures += 1
            else:
                if keys.keys() != self._keys.keys():
                    log.info("identity_provider_keys", kids=sorted(keys))
                self._keys, self._fetched_s, self._failures = keys, self._tried_s, 0
            self._changed.notify_all()


class JwksClient:
    """Fetches a JWK Set from one URL, without redirects and without the environment's proxy."""

    def __init__(self, url: str, *, whole_s: float = _WHOLE_S) -> None:
        self._url = url
        self._whole_s = whole_s
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=1, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        )

    def fetch(self) -> bytes:
        """Return the document, unparsed.

        Raises:
            Unavailable: no response within the limits of time and size.
        """
        ends_s = time.monotonic() + self._whole_s
        try:
            response = self._pool.request(
                "GET",
                self._url,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                return _read(response, ends_s)
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            raise Unavailable(f"no answer: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _reason(error: Exception) -> str:
    """Return what a certificate lacks, else the type only: the text may quote the response."""
    inner: object = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {inner.verify_message} (see SSL_CERT_FILE)"
        inner = next(
            (each for each in getattr(inner, "args", ()) if isinstance(each, Exception)), None
        )
    return type(error).__name__


def _read(response: urllib3.BaseHTTPResponse, ends_s: float) -> bytes:
    if response.status != _OK:
        raise Unavailable(f"it answers with status {response.status}")
    found = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        found += chunk
        if len(found) > MAX_BYTES:
            raise Unavailable(f"it answers with more than {MAX_BYTES} bytes")
        if time.monotonic() > ends_s:
            raise Unavailable("it takes too long")
    return bytes(found)


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
    """Return the roles: a text or a list of texts; anything else gives no role."""
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
