"""The registry of published paths and open sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from streamwarden.devkit.relay.auth_hook import Authenticator
from streamwarden.devkit.relay.faults import FaultAction, FaultTable
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.path_config import PathConfigs
from streamwarden.devkit.relay.pulls import Pulls
from streamwarden.devkit.relay.session import RelaySession
from streamwarden.devkit.relay.stream import PublishedStream, StreamClient

_log = logging.getLogger(__name__)


class Hub:
    """The relay's registry. Used only on the event loop's thread."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        limits: RelayLimits,
        auth_failure_delay_s: float,
    ) -> None:
        self.authenticator = authenticator
        self.limits = limits
        self.configs = PathConfigs()
        self.pulls = Pulls(self)
        self.auth_failure_delay_s = auth_failure_delay_s
        self.faults = FaultTable()
        self.streams: dict[str, PublishedStream] = {}
        self._sessions: dict[UUID, tuple[RelaySession, StreamClient]] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def sessions(self) -> list[RelaySession]:
        """List the open sessions, oldest first."""
        return sorted(
            (session for session, _ in self._sessions.values()), key=lambda one: one.created
        )

    def open(self, session: RelaySession, client: StreamClient) -> None:
        """Add a session."""
        self._sessions[session.id] = (session, client)
        self.changed()

    def close(self, session: RelaySession) -> None:
        """Remove a session."""
        self._sessions.pop(session.id, None)
        self.changed()

    def configured(self, name: str) -> None:
        """Apply a path's new configuration; a publisher under the old one is disconnected."""
        config = self.configs.of(name)
        if self.pulls.set(name, config):
            if (stream := self.streams.get(name)) is not None:
                self.unpublish(stream)
                stream.publisher.finish()
            self.changed()

    def publish(self, stream: PublishedStream) -> None:
        """Put ``stream`` on its path; the earlier publisher is disconnected.

        MediaMTX does so too (``overridePublisher``, on by default).
        """
        before = self.streams.get(stream.path)
        self.streams[stream.path] = stream
        if before is not None:
            before.end()
            before.publisher.finish()
        _log.info("path %s is published", stream.path)
        self.changed()

    def unpublish(self, stream: PublishedStream) -> None:
        """End ``stream``; free its path unless another publisher has taken it."""
        if self.streams.get(stream.path) is stream:
            del self.streams[stream.path]
            _log.info("path %s is no longer published", stream.path)
        stream.end()
        self.changed()

    def kick(self, session_id: UUID) -> bool:
        """Disconnect a session; False if there is none with that id."""
        entry = self._sessions.get(session_id)
        if entry is not None:
            entry[1].finish()
        return entry is not None

    def act(self, path: str | None, action: FaultAction) -> int:
        """Commit a one-time fault on one path or on all; return the number of connections affected."""
        hit = [
            client
            for stream in tuple(self.streams.values())
            if path in {None, stream.path}
            for client in (tuple(stream.readers) if action.hits_readers else (stream.publisher,))
        ]
        for client in hit:
            if action.resets:
                client.reset()
            else:
                client.finish()
        return len(hit)

    def changed(self) -> None:
        """Wake all `until` calls."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition`` is true; it is evaluated after every change."""
        while not condition():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)
