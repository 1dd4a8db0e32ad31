"""Empties a path at the media server before it becomes another camera's, or another owner's.

A denial refuses new sessions; who publishes or reads already would stay until the session kicker's next
run, and until then be recorded and watched as somebody else's camera. So the path is emptied while the
call that gives it away waits: docs/design/0009-revocation.md, Paths that change hands.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaServerUnavailable
from streamwarden.storage.cameras import SourceRepository

log = structlog.get_logger(__name__)

WITHIN_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.05
_RETRY_AFTER_S: Final = 5


class PathNotEmptied(Unavailable):
    """The media server does not answer, so who is on the path cannot be disconnected."""

    code = "path_not_emptied"


class PathEmptier:
    """Ends the sessions of one path at a time. Thread-safe; ``server`` is used by nothing else.

    Without ``server`` (no MEDIAMTX_API_URL) sessions cannot be ended: the log says so, each time.
    """

    def __init__(
        self, server: MediaMtxClient | None, table: SourceRepository, clock: Clock
    ) -> None:
        self._server = server
        self._table = table
        self._clock = clock
        self._turn = threading.Lock()

    def empty(self, path: str, *, keeps_source: bool = False) -> None:
        """End every session on ``path``, and stop pulling it unless it ``keeps_source``.

        Its tokens must have been denied before.

        Raises:
            PathNotEmptied: the media server does not answer, or not within `WITHIN_S`.
        """
        if self._server is None:
            log.warning("path_not_emptied", path=path, missing="MEDIAMTX_API_URL")
            return
        until_s = self._clock.monotonic() + WITHIN_S
        if not self._turn.acquire(timeout=WITHIN_S):
            raise PathNotEmptied("another path is being emptied", retry_after_s=_RETRY_AFTER_S)
        try:
            self._empty(self._server, path, until_s, keeps_source=keeps_source)
        except MediaServerUnavailable as error:
            raise PathNotEmptied(
                f"who is on this path cannot be disconnected: {error}",
                retry_after_s=_RETRY_AFTER_S,
            ) from error
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close the connection."""
        if self._server is not None:
            self._server.close()

    def _empty(
        self, server: MediaMtxClient, path: str, until_s: float, *, keeps_source: bool
    ) -> None:
        if not keeps_source and path in self._table.paths_set():
            server.forget(path)
            self._table.forget_path(path)
        while True:
            there = [session for session in server.sessions() if session.path == path]
            if not there:
                return
            if self._clock.monotonic() > until_s:
                raise MediaServerUnavailable("the media server does not end its sessions")
            for session in there:
                if server.kick(session):
                    log.info("path_emptied", path=path, kind=session.kind, state=session.state)
            threading.Event().wait(_LOOK_EVERY_S)
