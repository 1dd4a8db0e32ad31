"""An HTTP server on waitress: one port, with limits on every connection and an orderly stop.

waitress's own refusals (a malformed or too large request) are answered with problem details too.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from http import HTTPStatus
from io import BytesIO
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

import structlog
from waitress import create_server, wasyncore  # type: ignore[import-untyped]  # has no types
from waitress.buffers import ReadOnlyFileBasedBuffer  # type: ignore[import-untyped]  # likewise
from waitress.channel import (  # type: ignore[import-untyped]  # has no types
    ClientDisconnected,
    HTTPChannel,
)
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]  # likewise
from waitress.task import (  # type: ignore[import-untyped]  # likewise
    ErrorTask,
    ThreadedTaskDispatcher,
    WSGITask,
)

from streamwarden.errors import ConfigError
from streamwarden.http.fair_queue import FairQueue
from streamwarden.http.middleware import REQUEST_ID_HEADER, SECURITY_HEADERS, request_id_from
from streamwarden.http.problems import PROBLEM_JSON, Problem, encode
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, neighbourhood

REQUEST_S: Final = 20.0
"""Longest time for a request to arrive, its body included: 64 KiB in that time is 26 kbit/s."""
TAKING_S: Final = 120.0
TAKING_BYTES: Final = 32 * 1024
"""A client that reads less of a response within `TAKING_S` is disconnected. It holds a connection and no
thread, so that a telephone in a tunnel gets its whole file."""
UNSENT_BYTES: Final = 128 * 1024
"""What waits in the kernel for a slow client. With more, its reading would show only once in minutes."""
_WRAPPED_FROM_BYTES = 32 * 1024
"""A larger piece of a body is sent from where it is; a smaller one is copied to what is before it."""
WAITING_AT_MOST: Final = 256
WAITING_OF_CLIENT: Final = 96
"""Threads of a port that wait for clients, or for one, beside its usual ones. One costs a stack and a
megabyte."""
_RESERVED = {"/healthz": 1, "/readyz": 1, "/metrics": 1}
"""Addresses of every port with threads of their own: monitoring must see a port that is busy."""
_TCP_NOTSENT_LOWAT = 25
"""linux/tcp.h; Python has no name for it before 3.12."""
_DRAIN_READS = 16
_FOLDED = re.compile(rb"\n[ \t]")
_ONE_ONLY = (b"content-length", b"transfer-encoding", b"host")


class StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Refuses requests that two servers in a row may parse differently (RFC 9112, 5.2, 6.1 and 6.3).

    waitress prefers Transfer-Encoding to Content-Length, unfolds folded lines, joins repeated fields
    and ignores a transfer coding in HTTP/1.0. A proxy in front of it may read other requests there.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Check the raw header lines, then parse them; raise ParsingError."""
        if _FOLDED.search(header_plus):
            raise ParsingError("a header field is folded")
        names = [line.partition(b":")[0].strip().lower() for line in header_plus.split(b"\n")[1:]]
        if any(names.count(name) > 1 for name in _ONE_ONLY):
            raise ParsingError("a header field comes twice that may come once")
        if b"transfer-encoding" in names:
            if b"content-length" in names:
                raise ParsingError("Transfer-Encoding and Content-Length contradict each other")
            if not header_plus.partition(b"\n")[0].rstrip().endswith(b"HTTP/1.1"):
                raise ParsingError("Transfer-Encoding is of HTTP/1.1")
        super().parse_header(header_plus)


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers waitress's own refusals with problem details."""

    def execute(self) -> None:
        """Answer, then close the connection."""
        request_id = request_id_from(self.request.headers.get("X_REQUEST_ID"))
        problem = Problem.of_status(self.request.error.code)
        body = encode(problem, request_id)
        self.status = f"{problem.status} {problem.title}"
        self.response_headers += _headers(request_id)
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class OneRequestTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers a request; closes after it where the client has sent more than that one."""

    def start(self) -> None:
        """Begin the answer."""
        super().start()
        if self.channel.sent_too_much:
            self.set_close_on_finish()


class BoundedChannel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection with limits on the time of a request to arrive and of a response to leave.

    One request is read at a time. What a client sends after it, before the answer, is dropped, and the
    connection closed after the answer (RFC 9112, 9.3.2: a client sends it again). waitress reads nothing
    while an answer waits, and without a second request no thread waits for a client that does not read.
    """

    request: Any
    sent_continue: bool
    error_task_class = ProblemTask
    task_class = OneRequestTask
    parser_class = StrictParser

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - waitress's own
        now = time.monotonic()
        self._began_s: float | None = now  # a connection is made to send a request
        self._taking_since_s = now
        self._taken_bytes = 0
        self.progress_s = now
        """When it was opened, or the client last took a part of an answer."""
        self.sent_too_much = False
        super().__init__(*arguments, **named)
        self.neighbourhood = neighbourhood(self.addr[0])
        with contextlib.suppress(OSError):  # it may have been closed by now
            self.socket.setsockopt(socket.SOL_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def readable(self) -> bool:
        """Whether a request may be read: none is being answered."""
        return not self.requests and bool(super().readable())

    def received(self, data: bytes) -> bool:
        """Take one request's data, and note when a request began that is not complete yet."""
        before = self.request
        taken = self._receive_one(data)
        if self.request is None:
            self._began_s = None
        elif self.request is not before or self._began_s is None:
            self._began_s = time.monotonic()
        return taken

    def _receive_one(self, data: bytes) -> bool:
        """Do as waitress's ``received``, for one request."""
        with self.requests_lock:
            if not data or self.will_close or self.close_when_flushed or self.requests:
                return False
            while data and not self.requests:
                begun: Any = self.request or self.parser_class(self.adj)
                self.request = begun
                data = data[begun.received(data) :]
                if begun.expect_continue and begun.headers_finished and not self.sent_continue:
                    self.send_continue()
                if begun.completed:
                    self.sent_continue = False
                    self.request = None
                    if not begun.empty:
                        self.sent_too_much = bool(data.strip(b"\r\n"))
                        self.requests.append(begun)
                        self.server.add_task(self)
        return True

    def write_soon(self, data: Any) -> int:  # noqa: ANN401 - waitress's own
        """Queue data. A large piece is not copied: many answers of one asset take its memory once."""
        if isinstance(data, bytes) and len(data) >= _WRAPPED_FROM_BYTES:
            data = ReadOnlyFileBasedBuffer(BytesIO(data))
            data.prepare()
        return int(super().write_soon(data))

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for a client that is behind; meanwhile another thread does the work of this one."""
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return
        dispatcher = self.server.task_dispatcher
        if not dispatcher.replace_waiting():
            self.will_close = True
            raise ClientDisconnected
        try:
            super()._flush_outbufs_below_high_watermark()
        finally:
            dispatcher.waited()

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 - waitress's
        """Send, and count the bytes that the client has taken."""
        sent = int(super().send(data, do_close=do_close))
        self._taken_bytes += sent
        if sent:
            self.progress_s = time.monotonic()
        return sent

    def overdue(self, now_s: float) -> bool:
        """Return whether a limit is exceeded. The event loop calls this about once a second."""
        if not self.total_outbufs_len:
            self._taking_since_s, self._taken_bytes = now_s, 0
        elif now_s - self._taking_since_s >= TAKING_S:
            if self._taken_bytes < TAKING_BYTES:
                return True
            self._taking_since_s, self._taken_bytes = now_s, 0
        return self._began_s is not None and now_s - self._began_s >= REQUEST_S

    def give_up(self) -> None:
        """Close; a client that has only begun a request is answered 408 first."""
        begun = self.request is not None and not self.requests and not self.total_outbufs_len
        if begun and self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.send(_TOO_SLOW)
        self.handle_close()

    def handle_close(self) -> None:
        """Read the pending data, then close: with unread data the kernel resets, and the answer is lost."""
        connection: socket.socket | None = (
            self.socket
        )  # None once closed; waitress calls again then
        with contextlib.suppress(OSError):  # no more data, or the client has gone
            for _ in range(_DRAIN_READS):
                if connection is None or not connection.recv(65536):
                    break
        super().handle_close()


def _headers(request_id: str) -> list[tuple[str, str]]:
    return [
        ("Content-Type", PROBLEM_JSON),
        (REQUEST_ID_HEADER, request_id),
        ("Cache-Control", "no-store"),
        *SECURITY_HEADERS.items(),
    ]


def _written(status: int) -> bytes:
    """Return a complete response with a problem; it needs nothing of the request."""
    problem, request_id = Problem.of_status(status), "-"
    body = encode(problem, request_id)
    fields = [*_headers(request_id), ("Content-Length", str(len(body))), ("Connection", "close")]
    lines = [f"HTTP/1.1 {problem.status} {problem.title}", *(f"{n}: {text}" for n, text in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


_TOO_SLOW: Final = _written(HTTPStatus.REQUEST_TIMEOUT)


class ReservingDispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """waitress's threads, and for each address in ``reserved`` some that serve nothing else.

    However long all other requests take, the media server's hook and the health check find a thread. A
    thread that waits for its client is replaced while it does.
    """

    threads: set[Any]
    queue: FairQueue
    queue_cv: threading.Condition

    def __init__(
        self, reserved: Mapping[str, int], *, most_of_client: int, proxies: Proxies = NO_PROXIES
    ) -> None:
        super().__init__()
        self._proxies = proxies
        self.queue = FairQueue(most_of_client, client_of=self._client, changed=self.queue_cv)
        self._reserved = {path: ThreadedTaskDispatcher() for path in reserved}
        for path, threads in reserved.items():
            self._reserved[path].set_thread_count(threads)
        self._usual = 0
        self._waiting = 0
        self._waiting_of = Counter[Hashable]()
        self._counting = threading.Lock()

    def _client(self, task: Any) -> tuple[str, str]:  # noqa: ANN401 - a channel
        """Return whose turn a request takes: a client's address, and the token that it shows.

        So users behind one proxy or page have a turn each. With invented tokens a client has more turns,
        for refusals, which are quick; play tokens, of which a user may have many, do not count.
        """
        headers = task.requests[0].headers if task.requests else {}
        address = self._proxies.client(task.addr[0], headers.get("X_FORWARDED_FOR", ""))
        return neighbourhood(address), headers.get("AUTHORIZATION", "")

    def start(self, threads: int) -> None:
        """Start the threads for all other addresses."""
        self._usual = threads
        self.set_thread_count(threads)

    def replace_waiting(self) -> bool:
        """Start a thread in place of the calling one, which is about to wait for its client.

        Return False where too many wait already.
        """
        client = self.queue.client()
        with self._counting:
            if self._waiting >= WAITING_AT_MOST or self._waiting_of[client] >= WAITING_OF_CLIENT:
                return False
            self._waiting += 1
            self._waiting_of[client] += 1
            if self._usual:
                self.set_thread_count(self._usual + self._waiting)
        self.queue.leave_early()
        return True

    def waited(self) -> None:
        """End a thread: the calling one works again."""
        client = self.queue.client()
        with self._counting:
            self._waiting -= 1
            self._waiting_of[client] -= 1
            if not self._waiting_of[client]:
                del self._waiting_of[client]
            if self._usual:
                self.set_thread_count(self._usual + self._waiting)

    def add_task(self, task: Any) -> None:  # noqa: ANN401 - a channel
        """Queue a channel whose first request is to be answered."""
        request = task.requests[0] if task.requests else None
        # A request that was refused while it was read has no path.
        reserved = self._reserved.get(getattr(request, "path", ""))
        if reserved is not None:
            reserved.add_task(task)
        else:
            super().add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:  # noqa: FBT001, FBT002 - waitress's
        """End all threads; those that have not ended in time remain in ``threads``."""
        with self._counting:
            self._usual = 0
        by = time.monotonic() + timeout
        for one in self._reserved.values():
            one.set_thread_count(0)
        done = bool(super().shutdown(cancel_pending, timeout))
        for path, one in self._reserved.items():
            done = bool(one.shutdown(cancel_pending, max(0.0, by - time.monotonic()))) and done
            self.threads = self.threads | {(path, each) for each in one.threads}
        return done


WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


log = structlog.get_logger(__name__)


_READ_LIMIT_BYTES = 1024 * 1024
"""Up to this size a body is read and then refused by the app: a client loses the answer if the server
closes the connection while the client still sends. A body announced as larger is not read."""
_HEADER_LIMIT_BYTES = 32 * 1024
_IDLE_S = 60
_LOOP_S = 1.0
_IDLE_LOOP_S = 30.0
"""Without a connection nothing can be overdue; a new one, or the stop, wakes the loop."""
_OWN_SOCKETS = 2
"""Those of a server without connections: it listens on one, and is woken by the other."""
_STOPPING_LOOP_S = 0.05
_OVERDUE_CHECK_S = 1.0
_ACCEPTS = 64
_THROTTLE_FROM = 256
_THROTTLE_EACH_S = 10e-6
"""One turn of the loop looks at every connection, for about a microsecond each. From `_THROTTLE_FROM`
connections on, the loop pauses ten times as long after each turn. Otherwise clients that send a byte at
a time could keep it busy all the time, and with it the interpreter that the hook shares."""


class PortInUse(ConfigError):
    """Another program listens there; ``port`` and ``name`` say which of our ports must move."""

    code = "port_in_use"

    def __init__(self, *, host: str, port: int, name: str) -> None:
        super().__init__(f"port {port} on {host}, wanted for {name}, is in use by another program")
        self.port = port
        self.name = name


class HttpServer:
    """A WSGI app on its own port, with its own threads.

    With ``port`` 0 the system picks a free one; after `start` the attribute `port` holds it. The event
    loop uses poll, which works beyond 1,024 descriptors.

    ``reserved`` names addresses with threads that serve nothing else, beside those of every port. Where a
    client's address has more than ``address_limit`` connections, or all together more than
    ``connection_limit``, the one is closed that has had the longest time without progress, of the address
    with the most: a newcomer always gets in. Behind one of the ``proxies`` are many clients, so it may have
    as many as all together. A client takes at most ``threads_of_client`` at once, half unless given,
    and clients take turns.
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
        address_limit: int = 512,
        reserved: Mapping[str, int] = MappingProxyType({}),
        proxies: Proxies = NO_PROXIES,
        threads_of_client: int | None = None,
    ) -> None:
        self.port = port
        self._app = app
        self._host = host
        self._threads = threads
        self._name = name
        self._connection_limit = connection_limit
        self._address_limit = address_limit
        self._reserved = {**_RESERVED, **reserved}
        self._proxies = proxies
        self._threads_of_client = threads_of_client or max(1, threads // 2)
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._stop_by: float | None = None  # set once; the loop's thread reads it
        self._stopping = threading.Event()
        self._workers_done = threading.Event()

    def start(self) -> None:
        """Listen, and serve on threads of this server.

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
        """Stop accepting, let running requests finish, then close every connection.

        Returns within ``deadline_s``; a request that takes longer is abandoned.
        """
        if self._thread is None or self._server is None:
            return
        started = time.monotonic()
        self._stop_by = started + deadline_s
        self._stopping.set()
        self._server.pull_trigger()
        self._server.task_dispatcher.shutdown(timeout=deadline_s * 0.8)
        self._workers_done.set()  # from here on the loop may close its trigger at any time
        self._thread.join(max(0.1, started + deadline_s - time.monotonic()))
        if self._thread.is_alive():
            log.warning("http_server_abandoned", server=self._name)
        self._thread = None

    def _create(self, listener: socket.socket) -> Any:  # noqa: ANN401 - waitress has no types
        dispatcher = ReservingDispatcher(
            self._reserved, most_of_client=self._threads_of_client, proxies=self._proxies
        )
        dispatcher.start(self._threads)
        server = create_server(
            self._app,
            sockets=[listener],
            threads=self._threads,
            asyncore_use_poll=True,
            # Ours is below: with waitress's own nobody gets in while a few hold all connections.
            connection_limit=2 * self._connection_limit,
            outbuf_high_watermark=1024 * 1024,
            _dispatcher=dispatcher,
            channel_timeout=_IDLE_S,
            cleanup_interval=10,
            max_request_header_size=_HEADER_LIMIT_BYTES,
            max_request_body_size=_READ_LIMIT_BYTES + 1,
            log_socket_errors=False,
            expose_tracebacks=False,
            ident=None,
            # `rate_limit.Proxies` judges X-Forwarded-For, and nothing else reads any such header.
            clear_untrusted_proxy_headers=False,
        )
        server.channel_class = BoundedChannel
        return server

    def _run(self) -> None:
        """Run the event loop. Sockets are closed on this thread only, never while poll uses them."""
        server = self._server
        sockets: dict[int, Any] = server._map  # noqa: SLF001 - waitress has no public name for it
        check_s = time.monotonic() + _OVERDUE_CHECK_S
        while self._stop_by is None:
            waits_s = _LOOP_S if len(sockets) > _OWN_SOCKETS else _IDLE_LOOP_S
            wasyncore.loop(timeout=waits_s, use_poll=True, map=sockets, count=1)
            if time.monotonic() >= check_s:
                check_s = time.monotonic() + _OVERDUE_CHECK_S
                self._end_overdue()
            self._make_room()
            if len(sockets) >= _THROTTLE_FROM:
                self._accept_more(sockets)
                self._stopping.wait(len(sockets) * _THROTTLE_EACH_S)
        wasyncore.dispatcher.close(
            server
        )  # the listening socket only: workers still need the others
        while time.monotonic() < self._stop_by and self._busy():
            wasyncore.loop(timeout=_STOPPING_LOOP_S, use_poll=True, map=sockets, count=1)
        self._close_all(sockets)

    def _accept_more(self, sockets: dict[int, Any]) -> None:
        """Accept more connections: waitress accepts one a turn, and turns are rare while throttled."""
        for _ in range(_ACCEPTS):
            before = len(sockets)
            if before >= self._connection_limit:
                return
            self._server.handle_accept()
            if len(sockets) == before:
                return

    def _make_room(self) -> None:
        """Close the connections beyond the limits, of those with the most the longest without progress."""
        channels = list(self._server.active_channels.values())
        if len(channels) <= self._address_limit:
            return
        counts = Counter(channel.neighbourhood for channel in channels)
        shared = {
            channel.neighbourhood: self._proxies.trust(channel.addr[0])
            for channel in {channel.neighbourhood: channel for channel in channels}.values()
        }
        excess = Counter(
            {key: n - self._address_limit for key, n in counts.items() if not shared[key]}
        )
        total = len(channels) - sum(n for n in excess.values() if n > 0)
        while total > self._connection_limit:
            most = max(counts, key=lambda key: counts[key] - max(0, excess[key]))
            excess[most] = max(0, excess[most]) + 1
            total -= 1
        for channel in sorted(channels, key=attrgetter("progress_s")):
            if excess[channel.neighbourhood] > 0:
                excess[channel.neighbourhood] -= 1
                channel.handle_close()

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
            channel.handle_close()  # a plain close would leave open the files that are being sent
        if self._server.task_dispatcher.threads:
            # An abandoned worker still writes to the trigger's pipe. Were it closed, its descriptor
            # could by then belong to another file. So it stays open until the process ends.
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
