"""Ends sessions of MediaMTX whose tokens were revoked or have expired.

The loop compares the sessions that exist with the deny list, so a kick that failed, a server that was
down and a session that was just being opened are found by its next run.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

import structlog

from streamwarden.auth.revocation import DenialList, Reason
from streamwarden.auth.stream_tokens import StreamClaims, StreamTokens, StreamUse, stated_claims
from streamwarden.clock import Clock
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaSession
from streamwarden.mediamtx.publishers import PublisherTrail
from streamwarden.metrics.api_metrics import AccessMetrics

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
SOON_S: Final = 0.4
SOON_TIMES: Final = 5
"""Runs after a revocation: for sessions that are being opened, and recorders that get time to stop."""
MAX_SESSIONS: Final = 50_000
LONGEST_PREVIEW: Final = timedelta(hours=1)
GRACE: Final = timedelta(seconds=1.5)
"""A stopped recorder ends its FFmpeg itself, with a whole last segment, within this time. It also holds
for the publisher of its path, without which the recorder would lose its input."""
VIEWS_OF_USER_ON_PATH: Final = 16
VIEWS_OF_USER: Final = 256
VIEWS_ON_PATH: Final = 90
"""Sessions of viewers that may be open. A wall of cameras is a session each; a reload is two for a moment.
On a path there are fewer than in an older ``maxReaders: 100``, so that the recorder has its two places."""
_ALL: Final = ""
_OPENED_WITHIN_S: Final = 1.0
"""Between the hook's answer and the session in the list."""
_UNLISTED_S: Final = 60.0
"""The hook is called before the session is listed; the ids of DESCRIBE are never listed."""
_STOPS_A_RECORDER: Final = frozenset({Reason.CAMERA_RETIRED, Reason.STOPPED})
_MAX_QUERY_FIELDS: Final = 32
_STOP_WITHIN_S: Final = 5.0
_EVENTS: Final = LoopEvents(
    failed="sessions_not_swept", recovered="sessions_swept_again", bug="sweep_failed"
)


class SessionClaims:
    """The claims that the hook allowed, by session id. Thread-safe; bounded.

    It also counts the sessions of viewers: those that the media server listed last, and those allowed
    since. A recorder's are not counted, and never refused.
    """

    def __init__(self, clock: Clock, *, most: int = MAX_SESSIONS) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, StreamClaims]] = OrderedDict()
        self._views = Counter[tuple[str, str]]()
        self._counted_s = clock.monotonic()

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._known)

    def note(self, session_id: str, claims: StreamClaims) -> None:
        """Store a session's claims; beyond the bound the oldest entry is dropped.

        The first claims of an id stay: a later call with the same id opens no session, so it must not
        change whose the open one is.
        """
        with self._lock:
            self._note(session_id, claims)

    def admit_view(self, session_id: str, claims: StreamClaims) -> bool:
        """Store a viewer's claims; return False, and store nothing, where too many sessions are open."""
        with self._lock:
            if session_id not in self._known:
                now_s = self._clock.monotonic()
                if now_s - self._counted_s > _UNLISTED_S:
                    self._count((), now_s - _UNLISTED_S)  # no list, so the recent ones
                views, sub, path = self._views, claims.sub, claims.path
                if (
                    views[sub, path] >= VIEWS_OF_USER_ON_PATH
                    or views[sub, _ALL] >= VIEWS_OF_USER
                    or views[_ALL, path] >= VIEWS_ON_PATH
                ):
                    return False
                self._note(session_id, claims)
            return True

    def claims_of(self, session_id: str) -> StreamClaims | None:
        """Return the claims of a session, None where they are unknown."""
        found = self._known.get(session_id)
        return None if found is None else found[1]

    def keep(self, listed: Collection[str], *, asked_s: float) -> None:
        """Drop the entries that are neither in the list, which was asked for at ``asked_s``, nor recent."""
        oldest_s = self._clock.monotonic() - _UNLISTED_S
        with self._lock:
            gone = [
                session_id
                for session_id, (noted_s, _) in self._known.items()
                if session_id not in listed and noted_s < oldest_s
            ]
            for session_id in gone:
                del self._known[session_id]
            self._count(listed, asked_s - _OPENED_WITHIN_S)

    def _note(self, session_id: str, claims: StreamClaims) -> None:
        if session_id in self._known:
            return
        self._known[session_id] = (self._clock.monotonic(), claims)
        self._add(claims)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def _count(self, listed: Collection[str], since_s: float) -> None:
        self._views.clear()
        self._counted_s = self._clock.monotonic()
        for session_id, (noted_s, claims) in self._known.items():
            if noted_s >= since_s or session_id in listed:
                self._add(claims)

    def _add(self, claims: StreamClaims) -> None:
        if claims.use is StreamUse.VIEW:
            for place in (claims.sub, claims.path), (claims.sub, _ALL), (_ALL, claims.path):
                self._views[place] += 1


@dataclass(frozen=True, slots=True)
class Kick:
    """A session must end for ``reason``; ``use`` is that of its token, or the presumed one."""

    use: StreamUse
    reason: str


def judge_session(
    session: MediaSession,
    claims: StreamClaims | None,
    denials: DenialList,
    now: datetime,
    *,
    stated: StreamClaims | None = None,
) -> Kick | None:
    """Return why the session must end now, None while it may continue.

    ``claims`` are those of its token, None where they are unknown. ``stated`` are then those that its
    query states and that no key of the ring verifies: the hook verified them before the key left the
    ring. Both count only for the session's own path and action. A token in neither place was sent as a
    password or a bearer token before this process started; a recorder's is always in the query, so an
    unknown reader is a user's.
    """
    if session.state not in {"read", "publish"}:
        return None  # not opened yet: the hook's answer is still to come, or just came
    if claims is not None and _belong(claims, session):
        if claims.use is StreamUse.VIEW and claims.expires_at <= now:
            return Kick(claims.use, "expired")
        return _kick(claims.use, denials.kick(claims), now)
    if stated is not None and _belong(stated, session):
        return _judge_stated(session, stated, denials, now)
    use = StreamUse.PUBLISH if session.state == "publish" else StreamUse.VIEW
    denied = denials.kick_unknown(use, session.path, session.created)
    if denied is not None:
        return Kick(use, denied[1])
    return _kick_old_view(use, session, now)


def _judge_stated(
    session: MediaSession, stated: StreamClaims, denials: DenialList, now: datetime
) -> Kick | None:
    """Judge by claims that cannot be verified: they end no recording, and prolong no viewing."""
    if stated.issued_at > session.created:
        stated = replace(stated, issued_at=session.created)  # a token is older than its session
    kick = _kick(stated.use, denials.kick(stated), now)
    if kick is None and stated.use is StreamUse.VIEW and stated.expires_at <= now:
        kick = Kick(stated.use, "expired")
    return kick or _kick_old_view(stated.use, session, now)


def _kick_old_view(use: StreamUse, session: MediaSession, now: datetime) -> Kick | None:
    old = use is StreamUse.VIEW and session.created <= now - LONGEST_PREVIEW
    return Kick(use, "expired") if old else None


def _kick(use: StreamUse, denied: tuple[datetime, str] | None, now: datetime) -> Kick | None:
    if denied is None:
        return None
    since, reason = denied
    waits = use is not StreamUse.VIEW and reason in _STOPS_A_RECORDER
    # abs: the clock of denials may be ahead of a machine's clock that was set back.
    return None if waits and abs(now - since) < GRACE else Kick(use, reason)


def _belong(claims: StreamClaims, session: MediaSession) -> bool:
    """Return whether a token with these claims can have opened the session."""
    return claims.path == session.path and claims.action.value == session.state


def _publisher(session: MediaSession, claims: StreamClaims | None) -> str | None:
    return claims.sub if claims is not None and _belong(claims, session) else None


def token_in_query(query: str) -> str | None:
    """Return the one token in a session's query, None where there is none or more than one."""
    try:
        fields = parse_qsl(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return None
    found = [value for name, value in fields if name == "token"]
    return found[0] if len(found) == 1 else None


class SessionKicker:
    """The loop, on a thread of its own, which is the only one that uses ``server``."""

    def __init__(
        self,
        *,
        server: MediaMtxClient,
        claims: SessionClaims,
        tokens: StreamTokens,
        denials: DenialList,
        clock: Clock,
        metrics: AccessMetrics,
        publishers: PublisherTrail | None = None,
    ) -> None:
        self._server = server
        self._publishers = publishers
        self._claims = claims
        self._tokens = tokens
        self._denials = denials
        self._clock = clock
        self._metrics = metrics
        self._hurried = threading.Event()
        self._soon = 0
        self._thread = ReconcileLoop(
            "session-kicker",
            self._turn,
            events=_EVENTS,
            on_failure=metrics.sweep_failed,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._thread.stop()
        self._server.close()

    def wake(self) -> None:
        """Run now, and `SOON_TIMES` soon after. Any thread; returns at once."""
        self._hurried.set()
        self._thread.wake()

    def sweep(self) -> int:
        """Judge every session once; return how many were ended.

        Raises:
            Unavailable: the media server does not answer.
        """
        ended = 0
        asked_s = self._clock.monotonic()
        sessions = self._server.sessions()
        self._claims.keep({session.id for session in sessions}, asked_s=asked_s)
        publishing: list[tuple[MediaSession, str | None]] = []
        for session in sessions:
            claims, stated = self._claims_of(session)
            if session.state == "publish":
                publishing.append((session, _publisher(session, claims or stated)))
            kick = judge_session(session, claims, self._denials, self._clock.now(), stated=stated)
            if kick is not None and self._server.kick(session):
                ended += 1
                self._metrics.kicked(kick.use.value, kick.reason)
                log.info(
                    "session_kicked", use=kick.use.value, reason=kick.reason, path=session.path
                )
        if self._publishers is not None:
            self._publishers.seen(publishing)
        return ended

    def _claims_of(self, session: MediaSession) -> tuple[StreamClaims | None, StreamClaims | None]:
        """Return the session's claims, and those that its token states where they are unknown."""
        claims, stated = self._claims.claims_of(session.id), None
        if claims is None and (token := token_in_query(session.query)) is not None:
            claims = self._tokens.recall(token)
            if claims is not None and _belong(claims, session):
                self._claims.note(session.id, claims)  # opened before this process was started
            stated = stated_claims(token) if claims is None else None
        return claims, stated

    def _turn(self) -> float:
        if self._hurried.is_set():
            self._hurried.clear()
            self._soon = SOON_TIMES
        usual_s = SOON_S if self._soon else EVERY_S
        self._soon = max(0, self._soon - 1)
        began_s = self._clock.monotonic()
        self.sweep()
        return pause_s(usual_s, took_s=self._clock.monotonic() - began_s)
