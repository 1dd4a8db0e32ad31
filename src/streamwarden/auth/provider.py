"""The identity provider's keys, kept at hand: fetched by a thread of its own, never by a request.

PyJWT's own client is not used: it fetches within the request, without a bound on the answer's size or
on how often an unknown ``kid`` makes it ask, and forgets its keys when they are five minutes old,
whether the provider can be reached or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog

from streamwarden.auth.jwks import JwksInvalid, PublicKey, parse_jwks
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable

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
