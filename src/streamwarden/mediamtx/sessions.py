"""Which session of the media server was opened with which token, and whether it may go on. Pure.

Ends sessions of the media server that may not go on: sweeps over what is, not over what happened.

So a kick that failed, a server that was away and a session that slipped in are found by the next sweep.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import parse_qsl

import structlog

from streamwarden.auth.revocation import DenialList, Reason
from streamwarden.auth.stream_tokens import StreamClaims, StreamUse
from streamwarden.clock import Clock
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.control_api import MediaSession
from streamwarden.metrics.api_metrics import AccessMetrics

MOST_SESSIONS: Final = 50_000


_UNLISTED_S: Final = 60.0
"""The hook is asked before the session is listed; DESCRIBE's ids, the connections', never are."""


LONGEST_PREVIEW: Final = timedelta(hours=1)


GRACE: Final = timedelta(seconds=1.5)
"""A stopped recorder ends its FFmpeg itself, with its last segment whole; this is its time for it.

Also of what publishes to it: the recorder loses its picture with that.
"""


_STOPS_A_RECORDER: Final = frozenset({Reason.CAMERA_RETIRED, Reason.STOPPED})


_MAX_QUERY_FIELDS: Final = 32


class Session(Protocol):
    """A session as the media server lists it."""

    @property
    def id(self) -> str: ...  # noqa: D102 - MediaMTX's names
    @property
    def state(self) -> str: ...  # noqa: D102 - likewise
    @property
    def path(self) -> str: ...  # noqa: D102 - likewise
    @property
    def query(self) -> str: ...  # noqa: D102 - likewise
    @property
    def created(self) -> datetime: ...  # noqa: D102 - likewise


class Recaller(Protocol):
    """What is needed of the stream tokens."""

    def recall(self, token: str) -> StreamClaims | None:
        """Return what a token says, expired or not."""


@dataclass(frozen=True, slots=True)
class Kick:
    """Why a session must end; ``use`` is its token's, or what it is taken for."""

    use: StreamUse
    reason: str


class SessionClaims:
    """The claims that the hook has allowed, by the id it was asked with. Any thread; bounded."""

    def __init__(self, clock: Clock, *, most: int = MOST_SESSIONS) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, StreamClaims]] = OrderedDict()

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._known)

    def note(self, session_id: str, claims: StreamClaims) -> None:
        """Remember who opens a session; beyond the bound the oldest entry goes."""
        with self._lock:
            self._known[session_id] = (self._clock.monotonic(), claims)
            self._known.move_to_end(session_id)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def claims_of(self, session_id: str) -> StreamClaims | None:
        """Return what the session was opened with."""
        found = self._known.get(session_id)
        return None if found is None else found[1]

    def keep(self, listed: Collection[str]) -> None:
        """Forget what is not listed and not quite new."""
        oldest_s = self._clock.monotonic() - _UNLISTED_S
        with self._lock:
            gone = [
                session_id
                for session_id, (noted_s, _) in self._known.items()
                if session_id not in listed and noted_s < oldest_s
            ]
            for session_id in gone:
                del self._known[session_id]


class SessionJudge:
    """Says of each session whether it may go on."""

    def __init__(
        self, *, book: SessionClaims, tokens: Recaller, denials: DenialList, clock: Clock
    ) -> None:
        self._book = book
        self._tokens = tokens
        self._denials = denials
        self._clock = clock

    def judge(self, session: Session) -> Kick | None:
        """Return why the session must end now, None while it may go on."""
        if session.state not in {"read", "publish"}:
            return None  # not yet anything; the hook has still to be asked, or was just
        claims = self._book.claims_of(session.id) or self._from_query(session.query)
        if claims is None:
            return self._judge_unknown(session)
        if claims.use is StreamUse.VIEW and claims.expires_at <= self._clock.now():
            return Kick(claims.use, "expired")
        denied = self._denials.kick(claims)
        if denied is None or self._has_time(claims.use, *denied):
            return None
        return Kick(claims.use, denied[1])

    def _has_time(self, use: StreamUse, since: datetime, reason: str) -> bool:
        waits = use is not StreamUse.VIEW and reason in _STOPS_A_RECORDER
        # Either way: the clock of rules may be ahead of a machine's clock that was set back.
        return waits and abs(self._clock.now() - since) < GRACE

    def _from_query(self, query: str) -> StreamClaims | None:
        try:
            fields = parse_qsl(query, max_num_fields=_MAX_QUERY_FIELDS)
        except ValueError:
            return None
        tokens = [value for name, value in fields if name == "token"]
        return self._tokens.recall(tokens[0]) if len(tokens) == 1 else None

    def _judge_unknown(self, session: Session) -> Kick | None:
        """Judge a session whose token was sent as a password or a bearer before we were started.

        A recorder's is always in the query, so a reader is a user's.
        """
        publishes = session.state == "publish"
        use = StreamUse.PUBLISH if publishes else StreamUse.VIEW
        denied = self._denials.kick_unknown(use, session.path, session.created)
        if denied is not None:
            return Kick(use, denied[1])
        if not publishes and session.created + LONGEST_PREVIEW <= self._clock.now():
            return Kick(use, "expired")
        return None


log = structlog.get_logger(__name__)


EVERY_S: Final = 2.0


SOON_S: Final = 0.4


SOON_TIMES: Final = 5
"""After a revocation: sessions that were just being let in, and recorders that had time to stop."""


_STOP_WITHIN_S: Final = 5.0


_EVENTS: Final = LoopEvents(
    failed="sessions_not_swept", recovered="sessions_swept_again", bug="sweep_failed"
)


class MediaServer(Protocol):
    """The media server's control API; every call raises Unavailable."""

    def sessions(self) -> Sequence[MediaSession]:
        """Return every session."""

    def kick(self, session: MediaSession, /) -> bool:
        """End a session; False where it is gone already."""

    def close(self) -> None:
        """Close the connection."""


class SessionKicker:
    """A thread of its own, which alone talks to the media server."""

    def __init__(
        self,
        *,
        server: MediaServer,
        judge: SessionJudge,
        book: SessionClaims,
        clock: Clock,
        metrics: AccessMetrics,
    ) -> None:
        self._server = server
        self._judge = judge
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._hurried = threading.Event()
        self._soon = 0
        self._thread = ReconcileLoop(
            "evictor",
            self._turn,
            events=_EVENTS,
            on_failure=metrics.sweep_failed,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._thread.stop()
        self._server.close()

    def wake(self) -> None:
        """Look now, and a few times soon. Any thread; returns at once."""
        self._hurried.set()
        self._thread.wake()

    def sweep(self) -> int:
        """Look at every session once; return how many were ended.

        Raises:
            Unavailable: the media server does not answer.
        """
        ended = 0
        sessions = self._server.sessions()
        self._book.keep({session.id for session in sessions})
        for session in sessions:
            kick = self._judge.judge(session)
            if kick is not None and self._server.kick(session):
                ended += 1
                self._metrics.kicked(kick.use.value, kick.reason)
                log.info(
                    "session_kicked", use=kick.use.value, reason=kick.reason, path=session.path
                )
        return ended

    def _turn(self) -> float:
        if self._hurried.is_set():
            self._hurried.clear()
            self._soon = SOON_TIMES
        usual_s = SOON_S if self._soon else EVERY_S
        self._soon = max(0, self._soon - 1)
        began_s = self._clock.monotonic()
        self.sweep()
        return pause_s(usual_s, took_s=self._clock.monotonic() - began_s)
