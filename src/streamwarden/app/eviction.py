"""Ends sessions of the media server that may not go on: sweeps over what is, not over what happened.

So a kick that failed, a server that was away and a session that slipped in are found by the next sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from streamwarden.auth.sessions import SessionBook, SessionJudge
from streamwarden.clients.mediamtx import MediaSession
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.metrics.guard import GuardMetrics

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
SOON_S: Final = 0.4
SOON_TIMES: Final = 5
"""After a revocation: sessions that were just being let in, and recorders that had time to stop."""
_SHARE: Final = 20
"""A sweep over very many sessions takes no more than this part of the time."""
_AGAIN_S: Final = (0.5, 1.0, 2.0, 5.0)
_STOP_WITHIN_S: Final = 5.0


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
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="evictor", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)
        self._server.close()

    def wake(self) -> None:
        """Look now, and a few times soon. Any thread; returns at once."""
        self._woken.set()

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

    def _run(self) -> None:
        soon = 0
        while not self._stopping.is_set():
            if self._woken.is_set():
                self._woken.clear()
                soon = SOON_TIMES
            began_s = self._clock.monotonic()
            pause_s = self._attempt()
            if pause_s is None:
                took_s = self._clock.monotonic() - began_s
                pause_s = max(SOON_S if soon else EVERY_S, _SHARE * took_s)
            soon = max(0, soon - 1)
            self._woken.wait(pause_s)

    def _attempt(self) -> float | None:
        """Sweep; return how long to wait before the next try where that failed."""
        try:
            self.sweep()
        except Unavailable as error:
            self._metrics.sweep_failed()
            if self._failures == 0:
                log.warning("sessions_not_swept", detail=str(error))
            self._failures += 1
            return _AGAIN_S[min(self._failures, len(_AGAIN_S)) - 1]
        except Exception:
            log.exception("sweep_failed")
            return _AGAIN_S[-1]
        if self._failures:
            log.info("sessions_swept_again", failures=self._failures)
        self._failures = 0
        return None
