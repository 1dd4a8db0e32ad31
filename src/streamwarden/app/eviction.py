"""Ends sessions of the media server that may not go on: sweeps over what is, not over what happened.

So a kick that failed, a server that was away and a session that slipped in are found by the next sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from streamwarden.app.sweeping import Events, SweepThread, rest_s
from streamwarden.auth.sessions import SessionBook, SessionJudge
from streamwarden.clients.mediamtx import MediaSession
from streamwarden.clock import Clock
from streamwarden.metrics.guard import GuardMetrics

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
SOON_S: Final = 0.4
SOON_TIMES: Final = 5
"""After a revocation: sessions that were just being let in, and recorders that had time to stop."""
_STOP_WITHIN_S: Final = 5.0
_EVENTS: Final = Events(
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


class Evictor:
    """A thread of its own, which alone talks to the media server."""

    def __init__(
        self,
        *,
        server: MediaServer,
        judge: SessionJudge,
        book: SessionBook,
        clock: Clock,
        metrics: GuardMetrics,
    ) -> None:
        self._server = server
        self._judge = judge
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._hurried = threading.Event()
        self._soon = 0
        self._thread = SweepThread(
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
        return rest_s(usual_s, looked_s=self._clock.monotonic() - began_s)
