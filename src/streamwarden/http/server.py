"""One port: a WSGI app on waitress, with limits, a clean stop, and problems for its own errors."""

from __future__ import annotations

import atexit
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from waitress import create_server, wasyncore  # type: ignore[import-untyped]  # has no types

from streamwarden.errors import ConfigError
from streamwarden.http.connections import Connection

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_LOG = structlog.get_logger(__name__)

_READ_LIMIT_BYTES = 1024 * 1024
"""Up to here a body is read and then refused by the app: a server that closes the connection while
its client still sends makes the client lose the answer. What is announced larger is not read."""
_HEADER_LIMIT_BYTES = 32 * 1024
_IDLE_S = 60
_LOOP_S = 1.0
_STOPPING_LOOP_S = 0.05
_SWEEP_S = 1.0
_ACCEPTS = 64
_CALM_BELOW = 256
_CALM_EACH_S = 10e-6
"""A turn of the loop looks at every connection, for about a microsecond each. From `_CALM_BELOW` on it
rests ten times as long after each turn: clients that send a byte at a time could otherwise keep it, and
with it the interpreter that the hook shares, busy all the time."""


class PortInUse(ConfigError):
    """Another program listens there; ``port`` and ``name`` tell the operator what to move."""

    code = "port_in_use"

    def __init__(self, *, host: str, port: int, name: str) -> None:
        super().__init__(f"port {port} on {host}, wanted for {name}, is in use by another program")
        self.port = port
        self.name = name


class HttpServer:
    """A WSGI app on its own port, with its own threads.

    ``port`` 0 takes a free one; after `start` the attribute `port` tells which. The event loop uses
    poll, so that it works beyond 1,024 descriptors.
    """

    def __init__(
        self,
        app: WsgiApp,
        host: str,
        port: int,
        *,
        threads: int,
        name: str,
        connection_limit: int = 2048,
    ) -> None:
        self.port = port
        self._app = app
        self._host = host
        self._threads = threads
        self._name = name
        self._connection_limit = connection_limit
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._stop_by: float | None = None  # set once; the loop's thread reads it
        self._stopping = threading.Event()
        self._workers_done = threading.Event()

    def start(self) -> None:
        """Listen and serve on threads of its own.

        Raises:
            PortInUse: another program listens there.
            ConfigError: this host cannot be listened on.
        """
        logging.getLogger("waitress.queue").setLevel(
            logging.ERROR
        )  # a line for each queued request
        listener = _listen(self._host, self.port, self._name)
        self.port = listener.getsockname()[1]
        self._server = self._create(listener)
        self._thread = threading.Thread(target=self._run, name=f"http-{self._name}", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 5.0) -> None:
        """Accept nothing more, let running requests finish, then close every connection.

        Returns within ``deadline_s``, whatever a request still does.
        """
        if self._thread is None or self._server is None:
            return
        started = time.monotonic()
        self._stop_by = started + deadline_s
        self._stopping.set()
        self._server.pull_trigger()
        self._server.task_dispatcher.shutdown(timeout=deadline_s * 0.8)
        self._workers_done.set()  # from here on the loop may close its trigger at any moment
        self._thread.join(max(0.1, started + deadline_s - time.monotonic()))
        if self._thread.is_alive():
            _LOG.warning("http_server_abandoned", server=self._name)
        self._thread = None

    def _create(self, listener: socket.socket) -> Any:  # noqa: ANN401 - waitress has no types
        server = create_server(
            self._app,
            sockets=[listener],
            threads=self._threads,
            asyncore_use_poll=True,
            connection_limit=self._connection_limit,
            channel_timeout=_IDLE_S,
            cleanup_interval=10,
            max_request_header_size=_HEADER_LIMIT_BYTES,
            max_request_body_size=_READ_LIMIT_BYTES + 1,
            log_socket_errors=False,
            expose_tracebacks=False,
            ident=None,
            # X-Forwarded-For is judged by `addresses`, and nothing else reads any such header.
            clear_untrusted_proxy_headers=False,
        )
        server.channel_class = Connection
        return server

    def _run(self) -> None:
        """Run the event loop. Every socket is closed on this thread, none while poll holds it."""
        server = self._server
        sockets: dict[int, Any] = server._map  # noqa: SLF001 - waitress has no public name for it
        sweep_s = time.monotonic() + _SWEEP_S
        while self._stop_by is None:
            wasyncore.loop(timeout=_LOOP_S, use_poll=True, map=sockets, count=1)
            if time.monotonic() >= sweep_s:
                sweep_s = time.monotonic() + _SWEEP_S
                self._end_overdue()
            if len(sockets) >= _CALM_BELOW:
                self._accept_more(sockets)
                self._stopping.wait(len(sockets) * _CALM_EACH_S)
        wasyncore.dispatcher.close(server)  # the listening socket only: workers still need the rest
        while time.monotonic() < self._stop_by and self._busy():
            wasyncore.loop(timeout=_STOPPING_LOOP_S, use_poll=True, map=sockets, count=1)
        self._close_all(sockets)

    def _accept_more(self, sockets: dict[int, Any]) -> None:
        """Take who else waits: waitress accepts one a turn, and turns are rare now."""
        for _ in range(_ACCEPTS):
            before = len(sockets)
            if before >= self._connection_limit:
                return
            self._server.handle_accept()
            if len(sockets) == before:
                return

    def _end_overdue(self) -> None:
        now_s = time.monotonic()
        for connection in list(self._server.active_channels.values()):
            if connection.overdue(now_s):
                connection.give_up()

    def _busy(self) -> bool:
        if not self._workers_done.is_set():
            return True
        channels = list(self._server.active_channels.values())
        for channel in channels:
            channel.close_when_flushed = True
        return bool(channels)

    def _close_all(self, sockets: dict[int, Any]) -> None:
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()  # a plain close would leave the files being sent open
        if self._server.task_dispatcher.threads:
            # An abandoned worker will still write to the trigger's pipe: closed, its number could
            # by then belong to another file. So it stays until the process ends.
            self._server.trigger.del_channel()
            atexit.register(self._server.trigger.close)
        wasyncore.close_all(sockets, ignore_all=True)


def _listen(host: str, port: int, name: str) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        if listener is not None:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host=host, port=port, name=name) from error
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot listen on {host} port {port} for {name}: {reason}") from error
    return listener
