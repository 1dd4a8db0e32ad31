"""Who calls: users' bearer tokens, signed with a shared secret or with a provider's published keys.

The identity provider's keys, kept at hand: fetched by a thread of its own, never by a request.

PyJWT's own client is not used: it fetches within the request, without a bound on the answer's size or
on how often an unknown ``kid`` makes it ask, and forgets its keys when they are five minutes old,
whether the provider can be reached or not.


Fetches an identity provider's keys: one GET, bounded in time and size, nothing followed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.auth import jwts
from streamwarden.auth.jwts import JwksInvalid, PublicKey, parse_jwks
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, StreamwardenError, Unavailable

_LOG = structlog.get_logger(__name__)


REFRESH_S: Final = 300.0
"""How often the keys are fetched anew: a key that the provider withdraws counts that long."""


RETRY_FIRST_S: Final = 5.0


RETRY_MOST_S: Final = 60.0


ASK_AGAIN_S: Final = 10.0
"""An unknown ``kid`` makes us ask the provider at most so often: anyone can make one up."""


WAIT_S: Final = 1.0
"""How long a request waits for a key that is being fetched."""


MAX_WAITING: Final = 4
"""So many requests wait at once; the others are told to come again. They share the API's threads."""


class UnknownKey(Exception):
    """The provider has published no such key."""


class IdentityProviderUnavailable(Unavailable):
    """The provider's keys cannot be had, and those that we had are too old."""

    code = "identity_provider_unavailable"


class ProviderKeys:
    """The keys of one provider. Any thread may ask; `start` and `stop` are the owner's.

    ``fetch`` returns the document and raises Unavailable; it is bounded in time and size by itself.
    Keys older than ``max_age_s`` are believed no longer: so long an outage is survived.
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
        """Begin to fetch; returns at once, the provider may come later."""
        self._thread = threading.Thread(target=self._run, name="identity-provider", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """End the thread; one that is still fetching is left to its own timeouts."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(deadline_s)

    def find(self, kid: str) -> PublicKey:
        """Return the key; a request waits at most `WAIT_S`, and only for one that may be new.

        Raises:
            UnknownKey: the provider has no such key.
            IdentityProviderUnavailable: nobody can tell now.
        """
        with self._changed:
            if (key := self._believed().get(kid)) is not None:
                return key
            self._wanted = True
            self._changed.notify_all()
            news = self._await_news() if self._may_ask() else True
            if (key := self._believed().get(kid)) is not None:
                return key
            if self._believed() and news and not self._failures:
                raise UnknownKey
            raise IdentityProviderUnavailable("the identity provider's keys cannot be had")

    def check(self) -> None:
        """Raise IdentityProviderUnavailable unless there are keys that are believed."""
        with self._changed:
            if not self._believed():
                raise IdentityProviderUnavailable("the identity provider's keys cannot be had")

    # With the lock held

    def _believed(self) -> Mapping[str, PublicKey]:
        return {} if self._too_old() else self._keys

    def _too_old(self) -> bool:
        fetched_s = self._fetched_s
        return fetched_s is None or self._clock.monotonic() - fetched_s > self._max_age_s

    def _may_ask(self) -> bool:
        tried_s = self._tried_s
        if self._fetching or tried_s is None:
            return True
        return self._clock.monotonic() - tried_s >= ASK_AGAIN_S

    def _await_news(self) -> bool:
        """Wait for the fetch that is under way or begins now; False if it does not end in time."""
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
                _LOG.warning("identity_provider_keys_not_fetched", error=str(error))
                self._note(None)
            except Exception:  # noqa: BLE001 - an edge: every sign-in depends on this thread
                _LOG.exception("identity_provider_keys_not_fetched")
                self._note(None)
            else:
                self._note(keys)

    def _await_due(self) -> bool:
        """Wait until it is time to fetch; False when there will be no next time."""
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
                    _LOG.info("identity_provider_keys", kids=sorted(keys))
                self._keys, self._fetched_s, self._failures = keys, self._tried_s, 0
            self._changed.notify_all()


LEEWAY_S = 5.0
"""The identity provider has its own clock; both are taken to follow NTP."""


DEFAULT_TTL_S = 86_400


MAX_ROLES = 256


class Unauthenticated(StreamwardenError):
    """The caller has shown no token that we believe."""

    code = "unauthenticated"
    status = 401


@dataclass(frozen=True, slots=True)
class User:
    """Who calls; ``sub`` is whatever the identity provider calls them."""

    sub: str
    roles: frozenset[str] = frozenset()


class KeySource(Protocol):
    """Knows a provider's keys."""

    def find(self, kid: str) -> PublicKey:
        """Return the key; raise UnknownKey, or Unavailable where nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a user's token must say. ``issuer`` None: any, for only one holds the key.

    ``roles_claim`` is a claim's name or a dotted path into nested claims (``realm_access.roles``).
    """

    audience: str
    roles_claim: str
    issuer: str | None = None


class ProviderTokens:
    """Verifies users' tokens with the keys that an identity provider publishes."""

    def __init__(self, keys: KeySource, expected: Expected, clock: Clock) -> None:
        self._keys = keys
        self._expected = expected
        self._clock = clock

    def verify(self, token: str) -> User:
        """Return who the token speaks for.

        Raises:
            Unauthenticated: it repeats nothing of the token.
            Unavailable: the provider's keys cannot be had.
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
    """Verifies users' tokens, and signs them for the operators' tool and the demo.

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
        """Return who the token speaks for; raise Unauthenticated, which repeats nothing of it."""
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


_DETAIL: Mapping[jwts.TokenFault, str] = {
    jwts.TokenFault.MALFORMED: "the bearer token is not a JWT",
    jwts.TokenFault.BAD_SIGNATURE: "the bearer token is not signed by a key that is trusted here",
    jwts.TokenFault.WRONG_AUDIENCE: "the bearer token is for another audience",
    jwts.TokenFault.BAD_CLAIMS: "the bearer token lacks a usable exp, aud or sub",
    jwts.TokenFault.EXPIRED: "the bearer token has expired",
    jwts.TokenFault.NOT_YET_VALID: "the bearer token is not yet valid",
}


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
    """Read the roles; what is not a text or a list of texts gives none, for deny is the default."""
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


MAX_BYTES: Final = 256 * 1024
"""Of a JWK Set; real ones have a few thousand."""


_CONNECT_S, _READ_S, _WHOLE_S = 2.0, 3.0, 10.0


_CHUNK_BYTES: Final = 16 * 1024


_OK: Final = 200


class JwksClient:
    """Asks one URL. No redirect is followed and no proxy of the environment used."""

    def __init__(self, url: str, *, whole_s: float = _WHOLE_S) -> None:
        self._url = url
        self._whole_s = whole_s
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=1, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        )

    def fetch(self) -> bytes:
        """Return the document, whatever it holds.

        Raises:
            Unavailable: it cannot be had, in time and in size.
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
            # Its name only: the text may quote what the other side sent.
            raise Unavailable(f"no answer: {type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _read(response: urllib3.BaseHTTPResponse, ends_s: float) -> bytes:
    if response.status != _OK:
        raise Unavailable(f"it answers with status {response.status}")
    found = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        found += chunk
        if len(found) > MAX_BYTES:
            raise Unavailable(f"it answers with more than {MAX_BYTES} bytes")
        if time.monotonic() > ends_s:
            raise Unavailable("it does not come to an end")
    return bytes(found)
