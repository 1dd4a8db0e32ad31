"""A listening socket that can be closed at any time without losing a half-made connection.

In ``asyncio.Server`` (3.11) a connection that is accepted in the turn in which the server is closed
fails an assertion, and its socket is never closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

_log = logging.getLogger(__name__)
_BACKLOG = 512
_PAUSE_S = 0.5  # after a failed accept, most likely out of descriptors


class Listener:
    """Accepts connections on ``host`` and ``port`` (0: any free one), from construction to ``close``.

    Raises:
        OSError: it cannot listen on the address.
    """

    def __init__(self, host: str, port: int, protocol: Callable[[], asyncio.Protocol]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.settimeout(0)
        self.port: int = self._socket.getsockname()[1]
        self._protocol = protocol
        self._joining: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._watch()

    async def close(self) -> None:
        """Stop listening; connections accepted before are established when this returns."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        await asyncio.gather(*self._joining, return_exceptions=True)

    def _watch(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            while True:
                self._join(self._socket.accept()[0])
        except (BlockingIOError, ConnectionAbortedError):
            return  # no more for now
        except OSError as error:
            _log.warning("cannot accept a connection: %s", error)
            self._loop.remove_reader(self._socket)
            self._pause = self._loop.call_later(_PAUSE_S, self._watch)

    def _join(self, client: socket.socket) -> None:
        client.settimeout(0)
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol, client)
        )
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)
